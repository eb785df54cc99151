//! Tests that a dead letter has the log of the call that failed, whatever made it fail, and no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::plan::event;
use super::scripts::{manifest, subscription};
use super::small;
use crate::engine::{Engine, Settings};
use crate::model::{
    Absent, Action, DeadLetter, DeadLetterStatus, Decision, Effect, Failure, Key, KeyChange,
    Manifest, Question, Resolution, Role, State,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::store::memory::MemoryStore;

const LONGEST: Duration = Duration::from_secs(600);

/// Logs what it does, and fails as the event's type says.
struct Talker(Manifest, AtomicBool);

const TYPES: [&str; 4] = ["permanent", "transient", "refused", "asks"];

impl Talker {
    fn served() -> Arc<Self> {
        let own = |name| subscription(name, "/key", Effect::StartOrHandle, Absent::Ignore);
        let subscriptions = TYPES.into_iter().map(own).collect();
        let manifest = manifest("talker", Role::ProcessManager, subscriptions, 0);
        Arc::new(Self(manifest, AtomicBool::new(true)))
    }
}

impl Handler for Talker {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        let failed = || "planted".to_owned();
        match call.event.event_type.as_str() {
            "permanent" => Err(Failure::Permanent(failed())),
            "transient" => Err(Failure::Transient(failed())),
            // The engine refuses an empty key.
            "refused" => {
                let keys = vec![KeyChange::Claim(Key::from(""))];
                Ok(Reply::Decided(Decision { keys, ..Decision::default() }))
            }
            // It asks once more a question that is answered.
            _ => {
                let (name, key) = ("stock".to_owned(), "s".to_owned());
                Ok(Reply::Need(vec![Question::Lookup { name, key }]))
            }
        }
    }

    fn handle_with_log(&self, call: &Call) -> (Result<Reply, Failure>, String) {
        let (attempt, answers) = (call.attempt, call.answers.len());
        let log = match self.1.load(Ordering::Relaxed) {
            true => format!("info attempt {attempt} with {answers} answers"),
            false => String::new(),
        };
        (self.handle(call), log)
    }

    fn migrate(&self, state: &State, _: u32) -> Result<Bytes, String> {
        Ok(state.data.clone())
    }
}

async fn start(store: &MemoryStore, handler: &Arc<Talker>) -> Engine {
    let settings = Settings { attempts_max: 3, ..Settings::default() };
    small::start_with(store, Arc::clone(handler) as _, None, settings).await
}

fn log_of(dead_letters: &[DeadLetter], key: &str) -> Option<String> {
    let own =
        dead_letters.iter().find(|own| own.key.as_ref().is_some_and(|own| own.as_str() == key));
    own.and_then(|own| own.log.as_deref()).map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_has_the_log_of_the_last_call() {
    let store = MemoryStore::new();
    let engine = start(&store, &Talker::served()).await;
    let events = TYPES.map(|name| event(name, name, &json!({"key": name})));
    engine.offer(events.into()).await.unwrap();
    let count = TYPES.len();
    small::until("all are dead", LONGEST, || small::dead_letters(&store).len() == count).await;
    let dead_letters = small::dead_letters(&store);
    for (key, expected) in [
        ("permanent", "info attempt 1 with 0 answers"),
        ("transient", "info attempt 3 with 0 answers"),
        ("refused", "info attempt 1 with 0 answers"),
        ("asks", "info attempt 1 with 1 answers"),
    ] {
        assert_eq!(log_of(&dead_letters, key).as_deref(), Some(expected), "{key}");
    }
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_redrive_that_fails_without_a_log_leaves_none() {
    let store = MemoryStore::new();
    let handler = Talker::served();
    let engine = start(&store, &handler).await;
    engine.offer(vec![event("permanent", "1", &json!({"key": "k"}))]).await.unwrap();
    small::until("it is dead", LONGEST, || small::dead_letters(&store).len() == 1).await;
    assert!(log_of(&small::dead_letters(&store), "k").is_some());
    handler.1.store(false, Ordering::Relaxed);
    let (by, reason) = ("ada".to_owned(), "test".to_owned());
    let resolution =
        Resolution { action: Action::Redrive { edited: None }, by, reason, batch: None };
    engine.resolve(small::dead_letters(&store)[0].id, resolution).await.unwrap();
    let is_open = || {
        let dead_letters = small::dead_letters(&store);
        dead_letters[0].status == DeadLetterStatus::Open && dead_letters[0].attempts == 2
    };
    small::until("it is dead again", LONGEST, is_open).await;
    assert_eq!(log_of(&small::dead_letters(&store), "k"), None);
    engine.drain().await;
}
