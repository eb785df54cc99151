//! Tests of undeliverable commands: the event reaches the instance that sent the command, also
//! if that was its last decision, and no other instance. If the plugin handles it, no operator
//! is needed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;

use super::plan::event;
use super::small::{COMMAND, dead_letters, start_with, until};
use crate::engine::{Action, Engine, Resolution, Settings};
use crate::model::Retention;
use crate::model::{
    Absent, Correlation, DeadLetter, DeadLetterStatus, Decision, Effect, Event, Failure,
    InstanceStatus, Key, Manifest, Message, MessageKind, OptionalPart, Outgoing, PluginName, Role,
    Source, State, Subscription, reserved,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::store::memory::MemoryStore;
use crate::seams::transport::{DeliveryError, Sink, Transport};

const PLUGIN: &str = "orders";
const REFUND: &str = "refund";

/// Sends a command when it starts, and a refund if that cannot be delivered. `lasting`
/// instances are not complete before their refund is sent.
struct Orders(Manifest);

impl Orders {
    fn new() -> Self {
        let subscription = |event_type: &str, key, effect| Subscription {
            event_type: event_type.to_owned(),
            source: Source::Any,
            key,
            effect,
            absent: Absent::Ignore,
        };
        let order = Correlation::Pointer("/order".to_owned());
        Self(Manifest {
            name: PLUGIN.into(),
            role: Role::ProcessManager,
            version: "1".into(),
            description: String::new(),
            subscriptions: vec![
                subscription("place", order.clone(), Effect::Start),
                subscription("end", order, Effect::Handle),
                subscription(
                    reserved::COMMAND_UNDELIVERABLE,
                    Correlation::Instance,
                    Effect::Handle,
                ),
            ],
            commands: [COMMAND, REFUND].map(str::to_owned).into(),
            events: std::collections::BTreeSet::new(),
            lookups: std::collections::BTreeSet::new(),
            streams: false,
            state_version: 1,
            optional: OptionalPart::default(),
        })
    }
}

impl Handler for Orders {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        let starts = call.event.event_type == "place";
        let message = Outgoing {
            kind: MessageKind::Command,
            event_type: if starts { COMMAND } else { REFUND }.to_owned(),
            subject: None,
            datacontenttype: "application/json".to_owned(),
            extensions: Vec::new(),
            data: Bytes::from_static(b"{}"),
        };
        if call.event.event_type == "end" {
            return Ok(Reply::Decided(Decision { complete: true, ..Decision::default() }));
        }
        let lasts = call.key.as_str().starts_with("lasting");
        let before = call.state.as_ref().map_or(0, |state| state.data.len());
        Ok(Reply::Decided(Decision {
            state: Some(Bytes::from("x".repeat(before + 1))),
            messages: vec![message],
            complete: !(starts && lasts) && call.key.as_str() != "reopened",
            ..Decision::default()
        }))
    }

    fn migrate(&self, state: &State, _: u32) -> Result<Bytes, String> {
        Ok(state.data.clone())
    }
}

/// Refuses every message permanently, after this long.
struct Refusing(Duration);

#[async_trait]
impl Transport for Refusing {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        tokio::time::sleep(self.0).await;
        let refused = || Err(DeliveryError::Permanent("planted".to_owned()));
        messages.iter().map(|_| refused()).collect()
    }

    fn batch_max(&self) -> usize {
        1
    }
}

async fn place(engine: &Engine, keys: &[&str]) {
    let events = keys.iter().map(|key| event("place", key, &json!({"order": key})));
    engine.offer(events.collect()).await.expect("the store in memory takes it");
}

fn refunds(store: &MemoryStore) -> usize {
    let is_refund = |message: &&Arc<Message>| message.event.event_type == REFUND;
    store.look(|tables| tables.messages.values().filter(is_refund).count())
}

fn status(store: &MemoryStore, key: &str) -> Option<InstanceStatus> {
    let row = (PluginName::from(PLUGIN), Key::from(key));
    store.look(|tables| tables.instances.get(&row).map(|instance| instance.status))
}

#[tokio::test(start_paused = true)]
async fn a_refused_command_is_compensated_also_if_it_was_the_last() {
    // With instances in memory, and with instances that are read from the store each time.
    for instance_bytes_max in [64 << 20, 0] {
        let store = MemoryStore::new();
        let settings = Settings { instance_bytes_max, ..Settings::default() };
        let handler = Arc::new(Orders::new());
        let engine = start_with(
            &store,
            handler,
            Some(Sink::new(Arc::new(Refusing(Duration::ZERO)))),
            settings,
        )
        .await;
        place(&engine, &["lasting-1", "ended-1", "lasting-2", "ended-2", "reopened"]).await;
        until("the refunds", Duration::from_secs(10), || refunds(&store) == 5).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(refunds(&store), 5, "each is compensated once");
        for key in ["lasting-1", "ended-1", "lasting-2", "ended-2"] {
            assert_eq!(status(&store, key), Some(InstanceStatus::Completed), "{key}");
        }
        let reopened = status(&store, "reopened");
        assert_eq!(reopened, Some(InstanceStatus::Running), "its decision says so");
        let compensated =
            |dead_letter: &DeadLetter| dead_letter.status == DeadLetterStatus::Compensated;
        assert!(dead_letters(&store).iter().all(compensated), "each refusal was handled");
        assert_eq!(dead_letters(&store).len(), 5);
        engine.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_reaches_no_later_instance_of_the_same_key_and_its_dead_letter_says_why() {
    let store = MemoryStore::new();
    let retention = Retention {
        finished: Some(Duration::from_secs(1)),
        interval: Duration::from_millis(100),
        ..Retention::default()
    };
    let settings = Settings { retention, ..Settings::default() };
    let slow = Sink::new(Arc::new(Refusing(Duration::from_secs(60))));
    let engine = start_with(&store, Arc::new(Orders::new()), Some(slow), settings).await;
    let start = |id: &str| event("place", id, &json!({"order": "lasting"}));
    let end = Event { event_type: "end".to_owned(), ..start("end") };
    engine.offer(vec![start("first"), end]).await.expect("it is taken");
    let long = Duration::from_secs(30);
    until("the removal", long, || status(&store, "lasting").is_none()).await;
    engine.offer(vec![start("second")]).await.expect("it is taken");
    until("the refusal", Duration::from_secs(90), || dead_letters(&store).len() == 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(refunds(&store), 0, "the second instance was refused nothing");
    let dead_letter = dead_letters(&store).remove(0);
    assert_eq!(dead_letter.status, DeadLetterStatus::Open);
    assert_eq!(dead_letter.reason, "planted; its instance was removed before it could be notified");

    let (by, reason) = ("ada".to_owned(), "a test".to_owned());
    let skip = Resolution { action: Action::Skip, by, reason, batch: None };
    engine.resolve(dead_letter.id, skip).await.expect("it is open");
    until("the refund", Duration::from_secs(90), || refunds(&store) == 1).await;
    let second = dead_letters(&store).remove(1);
    assert_eq!(second.status, DeadLetterStatus::Compensated);
    engine.drain().await;
}
