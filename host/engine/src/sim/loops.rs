//! Tests of plugins that answer their own events: the host ends the loop with a dead letter that
//! says why, and the other plugins continue.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;

use super::plan::event;
use super::world::START;
use crate::engine::{Action, Engine, OfferError, Parts, Resolution, Settings};
use crate::model::{
    Absent, AnswerValue, Correlation, Decision, Due, Effect, Failure, Manifest, MessageKind,
    OptionalPart, Outgoing, PluginName, Role, Source, State, Subscription, TimerChange, Timestamp,
    reserved,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::Store;
use crate::seams::store::faulty::{FaultRates, FaultyStore};
use crate::seams::store::memory::{MemoryStore, Tables};

/// A plugin that makes the same decision for every event.
struct Echo {
    manifest: Manifest,
    decision: Decision,
}

impl Handler for Echo {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&self, _: &Call) -> Result<Reply, Failure> {
        Ok(Reply::Decided(self.decision.clone()))
    }

    fn migrate(&self, _: &State, _: u32) -> Result<Bytes, String> {
        Err("there is one version".to_owned())
    }
}

impl Echo {
    fn of(role: Role, types: &[&str], decision: Decision) -> Arc<dyn Handler> {
        let subscription = |event_type: &&str| Subscription {
            event_type: (*event_type).to_owned(),
            source: Source::Any,
            key: match event_type.starts_with(reserved::PREFIX) {
                true => Correlation::Instance,
                false => Correlation::Pointer("/order".to_owned()),
            },
            effect: match role {
                Role::ProcessManager => Effect::StartOrHandle,
                _ => Effect::Handle,
            },
            absent: Absent::Ignore,
        };
        let manifest = Manifest {
            name: "echo".into(),
            role,
            version: "1.0.0".into(),
            description: String::new(),
            subscriptions: types.iter().map(subscription).collect(),
            commands: BTreeSet::new(),
            events: BTreeSet::new(),
            lookups: BTreeSet::new(),
            streams: false,
            state_version: 1,
            optional: OptionalPart::default(),
        };
        Arc::new(Self { manifest, decision })
    }

    /// Answers each `ping` with `count` further ones.
    fn pings(count: usize) -> Arc<dyn Handler> {
        let ping = Outgoing {
            kind: MessageKind::Event,
            event_type: "ping".to_owned(),
            subject: None,
            datacontenttype: "application/json".to_owned(),
            extensions: Vec::new(),
            data: json!({"order": "o1"}).to_string().into(),
        };
        let decision = Decision { messages: vec![ping; count], ..Decision::default() };
        Self::of(Role::Reactor, &["ping"], decision)
    }

    /// Sets a timer whenever one has fired.
    fn ticks(after: Duration) -> Arc<dyn Handler> {
        let millis = u64::try_from(after.as_millis()).unwrap();
        let set =
            TimerChange::Set { name: "tick".into(), due: Due::After(millis), data: Bytes::new() };
        let decision = Decision { timers: vec![set], ..Decision::default() };
        Self::of(Role::ProcessManager, &["ping", reserved::TIMER_FIRED], decision)
    }
}

struct Missing;

#[async_trait]
impl Lookup for Missing {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        Ok(AnswerValue::Missing)
    }
}

async fn start(store: Arc<dyn Store>, handler: Arc<dyn Handler>, settings: Settings) -> Engine {
    let begin = tokio::time::Instant::now();
    let parts = Parts {
        store,
        handlers: vec![handler],
        canaries: Vec::new(),
        lookup: Arc::new(Missing),
        sinks: HashMap::new(),
        routes: BTreeMap::new(),
        clock: Arc::new(move || Timestamp(START).after(begin.elapsed())),
        settings: Settings { shards: 0, ..settings },
    };
    Engine::start(parts).await.unwrap()
}

fn ping(name: &str) -> crate::model::Event {
    event("ping", name, &json!({"order": "o1"}))
}

/// Waits in simulated time until the tables have this property.
async fn until(store: &MemoryStore, what: impl Fn(&Tables) -> bool) {
    let holds = async {
        while !store.look(&what) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), holds).await.expect("it comes to be so");
}

fn settled(tables: &Tables) -> bool {
    let head = tables.log.keys().next_back().map_or(0, |head| head.0);
    tables.plugins.values().all(|plugin| head > 0 && plugin.cursor.settled >= head)
        && tables.timers.is_empty()
}

fn reasons(tables: &Tables) -> Vec<String> {
    let open =
        tables.dead_letters.values().filter(|dead_letter| dead_letter.status.is_unresolved());
    open.map(|dead_letter| dead_letter.reason.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_answers_itself_ends_in_a_dead_letter() {
    let store = MemoryStore::new();
    let settings = Settings { hops_max: 20, ..Settings::default() };
    let engine = start(Arc::new(store.clone()), Echo::pings(1), settings.clone()).await;
    engine.offer(vec![ping("a")]).await.unwrap();
    until(&store, settled).await;
    assert_eq!(store.look(|tables| tables.log.len()), 21, "the sender's, and 20 of the plugin");
    let dead_letters = store.look(reasons);
    assert_eq!(dead_letters.len(), 1);
    assert!(
        dead_letters[0].contains("the event is 20 hops from an event of a sender"),
        "{dead_letters:?}"
    );
    engine.drain().await;

    // A restart does not count from zero again. An operator who raises the limit can redrive the
    // dead letter.
    let settings = Settings { hops_max: 22, ..settings };
    let engine = start(Arc::new(store.clone()), Echo::pings(1), settings).await;
    let id = store.look(|tables| *tables.dead_letters.keys().next().unwrap());
    let (by, reason) = ("ada".to_owned(), "two more".to_owned());
    let action = Action::Redrive { edited: None };
    engine.resolve(id, Resolution { action, by, reason, batch: None }).await.unwrap();
    until(&store, |tables| settled(tables) && tables.log.len() == 23).await;
    let dead_letters = store.look(reasons);
    assert!(dead_letters.len() == 1 && dead_letters[0].contains("22 hops"), "{dead_letters:?}");
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_multiply_are_bounded_in_their_number() {
    let store = MemoryStore::new();
    let settings = Settings { hops_max: 60, ..Settings::default() };
    let engine = start(Arc::new(store.clone()), Echo::pings(3), settings).await;
    engine.offer(vec![ping("a")]).await.unwrap();
    let head = |tables: &Tables| tables.log.keys().next_back().map_or(0, |head| head.0);
    until(&store, |tables| head(tables) > 0 && settled(tables)).await;
    let events = store.look(|tables| tables.log.len());
    // An answer with three events adds nine hops, so there are six rounds of answers.
    assert_eq!(events, (0..=6).map(|n| 3_usize.pow(n)).sum::<usize>());
    assert!(store.look(reasons).iter().all(|reason| reason.starts_with("hop limit: ")));
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_loop_of_timers_ends_if_it_is_tight() {
    for (after, goes_on) in [(0, false), (999, false), (1_000, true), (60_000, true)] {
        let store = MemoryStore::new();
        let settings = Settings { hops_max: 10, ..Settings::default() };
        let ticks = Echo::ticks(Duration::from_millis(after));
        let engine = start(Arc::new(store.clone()), ticks, settings).await;
        engine.offer(vec![ping("a")]).await.unwrap();
        if goes_on {
            tokio::time::sleep(Duration::from_millis(30 * after)).await;
            until(&store, |tables| tables.log.len() > 25).await;
            assert_eq!(store.look(reasons), [""; 0], "after {after} ms");
        } else {
            until(&store, |tables| !reasons(tables).is_empty()).await;
            assert_eq!(store.look(|tables| tables.log.len()), 11, "after {after} ms");
        }
        engine.drain().await;
    }
}

/// Events of plugins count toward the backlog like events of senders: while it is too long,
/// senders get `Busy`, and they can continue afterwards.
#[tokio::test(start_paused = true)]
async fn what_plugins_make_counts_at_the_door() {
    let store = MemoryStore::new();
    let delay_max = Duration::from_millis(2);
    let rates =
        FaultRates { refused: 0, unknown_written: 0, unknown_lost: 0, read_failed: 0, delay_max };
    let settings = Settings { backlog_max: 20, hops_max: 60, ..Settings::default() };
    let faulty = Arc::new(FaultyStore::new(store.clone(), rates, 1));
    let engine = start(faulty, Echo::pings(3), settings).await;
    engine.offer(vec![ping("a")]).await.unwrap();
    let mut refused = 0;
    let accepted = async {
        let mut n = 0;
        loop {
            n += 1;
            let other = event("other", &n.to_string(), &json!({}));
            match engine.offer(vec![other]).await {
                Err(OfferError::Busy { .. }) => refused += 1,
                Ok(_) if refused > 0 => return,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), accepted).await.expect("senders can go on");
    assert!(refused > 0);
    engine.drain().await;
}
