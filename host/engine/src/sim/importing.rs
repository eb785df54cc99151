//! Tests that import an instance from another host. `holding.rs` attacks imports beside holds,
//! claims and crashes; here are timers, refusals, and an import that loses its race.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::plan::event;
use super::scripts::{manifest, subscription};
use super::small;
use super::world::START;
use crate::engine::{Engine, ImportError, Settings};
use crate::model::{
    Absent, Action, Decision, DecisionSummary, Effect, Event, Failure, Import, ImportedInstance,
    ImportedState, ImportedTimer, InstanceStatus, Key, Manifest, Octets, Resolution, Role, State,
    Timestamp, reserved,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::store::memory::MemoryStore;

const PLUGIN: &str = "notes";
const LONGEST: Duration = Duration::from_secs(60);

/// Its state is a text: the types of the events that it has decided.
struct Notes(Manifest);

impl Notes {
    fn served() -> Arc<dyn Handler> {
        let subscriptions = vec![
            subscription("open", "/key", Effect::Start, Absent::Ignore),
            subscription("add", "/key", Effect::Handle, Absent::Ignore),
            subscription(reserved::TIMER_FIRED, "", Effect::Handle, Absent::Ignore),
        ];
        Arc::new(Self(manifest(PLUGIN, Role::ProcessManager, subscriptions, 0)))
    }
}

impl Handler for Notes {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        let before = call.state.as_ref().map(|state| state.data.clone()).unwrap_or_default();
        let before = String::from_utf8_lossy(&before).into_owned();
        let state = Some(Bytes::from(format!("{before} {}", call.event.event_type)));
        Ok(Reply::Decided(Decision { state, ..Decision::default() }))
    }

    /// It knows states of all versions that begin with an `s`.
    fn migrate(&self, state: &State, _: u32) -> Result<Bytes, String> {
        match state.data.starts_with(b"s") {
            true => Ok(state.data.clone()),
            false => Err("it begins with another character".to_owned()),
        }
    }
}

fn import(state: &'static str, claims: &[&str], timers: &[(&str, u64)]) -> Import {
    let timer = |(name, due): &(&str, u64)| ImportedTimer {
        name: (*name).into(),
        due: Timestamp(START + due),
        data: Octets(Bytes::new()),
    };
    // A version that the plugin has to migrate.
    let state = ImportedState { version: 77, data: Octets(state.into()) };
    Import {
        by: "ada".to_owned(),
        reason: "the other host ends".to_owned(),
        instance: ImportedInstance {
            started_at: Timestamp(5),
            decisions: 3,
            state: Some(state),
            keys: claims.iter().map(|key| Key::from(*key)).collect(),
            timers: timers.iter().map(timer).collect(),
        },
    }
}

async fn start(store: &MemoryStore, instance_bytes_max: usize) -> Engine {
    let settings = Settings { instance_bytes_max, ..Settings::default() };
    small::start_with(store, Notes::served(), None, settings).await
}

fn of(key: &str, event_type: &str) -> Event {
    event(event_type, &format!("{event_type}-{key}"), &json!({"key": key}))
}

fn state(store: &MemoryStore, key: &str) -> Option<String> {
    store.look(|tables| {
        let own = tables.instances.values().find(|own| own.key.as_str() == key)?;
        let state = own.state.as_ref()?;
        Some(String::from_utf8_lossy(&state.data).into_owned())
    })
}

async fn until_state(store: &MemoryStore, key: &str, expected: &str) {
    let is_so = || state(store, key).as_deref() == Some(expected);
    small::until(&format!("the state of {key} is {expected}"), LONGEST, is_so).await;
}

#[tokio::test(start_paused = true)]
async fn an_imported_instance_continues_with_its_state_its_keys_and_its_timers() {
    for instance_bytes_max in [64 << 20, 0] {
        let store = MemoryStore::new();
        let engine = start(&store, instance_bytes_max).await;
        let import = import("s", &["claimed"], &[("late", 0), ("later", 20_000)]);
        engine.import(&PLUGIN.into(), &"k".into(), &import, None).await.unwrap();
        // What was due while no host had the instance fires at once.
        until_state(&store, "k", "s sagabox.timer.fired").await;
        store.look(|tables| {
            let own = tables.instances.values().next().unwrap();
            assert_eq!(own.status, InstanceStatus::Running);
            assert_eq!(own.started_at, Timestamp(5), "it began on the other host");
            let first = tables.decisions.values().next().unwrap();
            let summary = DecisionSummary::from_json(&first.summary).unwrap();
            assert_eq!(summary.imported.unwrap(), import.clone().noted());
            assert_eq!(first.state.as_ref().map(|state| state.version), Some(77));
        });
        engine.drain().await;
        let engine = start(&store, instance_bytes_max).await;
        engine.offer(vec![of("claimed", "add")]).await.unwrap();
        until_state(&store, "k", "s sagabox.timer.fired add").await;
        // The clock of each engine begins anew, so the second timer is as far away as before.
        until_state(&store, "k", "s sagabox.timer.fired add sagabox.timer.fired").await;
        engine.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_imported_is_refused_with_a_reason() {
    let store = MemoryStore::new();
    let engine = start(&store, 64 << 20).await;
    let plugin = PLUGIN.into();
    let refused = async |key: &str, import: &Import| {
        engine.import(&PLUGIN.into(), &key.into(), import, None).await.unwrap_err().to_string()
    };
    let first = import("s", &[], &[]);
    let unknown = engine.import(&"other".into(), &"k".into(), &first, None).await;
    assert_eq!(unknown, Err(ImportError::NotLoaded("other".to_owned())));
    assert!(refused("", &first).await.contains("a key has 1 to"));
    let long = "k".repeat(Key::BYTES_MAX + 1);
    assert!(refused("k", &import("s", &[&long], &[])).await.contains("a key has 1 to"));
    let of = |version, data: &'static str| State { version, data: data.into() };
    let own = Notes::served().manifest().state_version;
    assert_eq!(engine.read_state(&plugin, &of(77, "s")), Ok(of(own, "s")), "it is converted");
    assert_eq!(engine.read_state(&plugin, &of(own, "s")), Ok(of(own, "s")));
    for version in [own, 77] {
        let unreadable = engine.read_state(&plugin, &of(version, "x")).unwrap_err().to_string();
        let expected =
            format!("cannot read the state of version {version}: it begins with another");
        assert!(unreadable.contains(&expected), "{unreadable}");
    }
    engine.import(&plugin, &"k".into(), &first, None).await.unwrap();
    until_state(&store, "k", "s").await;
    let exists = refused("k", &import("s2", &[], &[])).await;
    assert!(exists.contains("has an instance `k` already, which is running"), "{exists}");
    // One that is over is not replaced either.
    engine.end(&plugin, &"k".into(), "ada", "test").await.unwrap();
    let is_ended =
        || store.look(|tables| tables.instances.values().all(|own| !own.status.is_running()));
    small::until("it is ended", LONGEST, is_ended).await;
    assert!(refused("k", &first).await.contains("which is ended"));
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_instance_of_the_same_moment_is_imported_once() {
    let store = MemoryStore::new();
    let engine = start(&store, 64 << 20).await;
    let first = import("s", &[], &[]);
    // Both find no instance, and both are appended before the plugin comes to the first.
    let (plugin, key) = (PLUGIN.into(), "k".into());
    let both = tokio::join!(
        engine.import(&plugin, &key, &first, None),
        engine.import(&plugin, &key, &first, None)
    );
    let repeated = [&both.0, &both.1].into_iter().filter(|one| {
        matches!(one, Err(ImportError::Repeated { .. } | ImportError::Exists { .. }))
    });
    assert_eq!(repeated.count(), 1, "{both:?}");
    until_state(&store, "k", "s").await;
    engine.drain().await;
    assert_eq!(small::dead_letters(&store), []);
}

/// An event starts an instance between the look for one and the turn of the import: the import is
/// a dead letter, which keeps no key waiting and has no effect.
#[tokio::test(start_paused = true)]
async fn an_import_that_comes_second_is_a_dead_letter_and_keeps_nothing_waiting() {
    let store = MemoryStore::new();
    let engine = start(&store, 64 << 20).await;
    let import = import("s", &["claimed"], &[("late", 0)]);
    let (plugin, key) = (PLUGIN.into(), "k".into());
    let (sent, imported) = tokio::join!(
        engine.offer(vec![of("k", "open")]),
        engine.import(&plugin, &key, &import, None)
    );
    sent.unwrap();
    imported.unwrap();
    engine.offer(vec![of("k", "add")]).await.unwrap();
    until_state(&store, "k", " open add").await;
    let dead_letters = small::dead_letters(&store);
    assert_eq!(dead_letters.len(), 1);
    assert!(
        dead_letters[0].reason.contains("k has an instance already"),
        "{}",
        dead_letters[0].reason
    );
    assert_eq!(dead_letters[0].key, None);
    let claims: BTreeSet<_> = store.look(|tables| tables.claims.clone().into_iter().collect());
    assert!(claims.is_empty());
    // The instance that is there ends; then an operator redrives the import.
    engine.end(&plugin, &key, "ada", "test").await.unwrap();
    let is_ended =
        || store.look(|tables| tables.instances.values().all(|own| !own.status.is_running()));
    small::until("it is ended", LONGEST, is_ended).await;
    let (by, reason) = ("ada".to_owned(), "test".to_owned());
    let action = Action::Redrive { edited: None };
    let resolution = Resolution { action, by, reason, batch: None };
    engine.resolve(dead_letters[0].id, resolution).await.unwrap();
    // The one that ended is still there, so the import is dead once more.
    small::until("it is dead again", LONGEST, || small::dead_letters(&store).len() == 2).await;
    engine.drain().await;
}
