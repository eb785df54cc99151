//! The seams of the engine in a simulated world: a store, plugins, lookups and an outside
//! that fail as the world's choices say.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sagabox_engine::model::{AnswerValue, Failure, Manifest, Message, PluginName, State};
use sagabox_engine::seams::handler::{Call, Handler, Reply};
use sagabox_engine::seams::lookup::{Lookup, Unanswered};
use sagabox_engine::seams::store::faulty::{CommitFault, Faults};
use sagabox_engine::seams::transport::{DeliveryError, Transport};

use super::answers::look_up;
use super::history::name_of;
use super::schedule::Taken;
use super::world::{World, count};
use crate::io::locks::lock;

/// What fails in passing fails so often at most.
const FAILURES_MAX: u32 = 3;
/// So many commits may fail, and so often may the host die: whatever the odds, a run ends.
const FAILING_COMMITS_MAX: u64 = 500;
const CRASHES_MAX: u64 = 20;
/// The longest that a part of a call of a slow store takes.
const STORE_DELAY_MS_MAX: u64 = 4;
/// A lookup takes at most so long.
const LOOKUP_MS_MAX: u64 = 20;

// ---- the store ------------------------------------------------------------------------

pub(crate) struct StoreFaults(pub Arc<World>);

impl Faults for StoreFaults {
    fn delay(&self) -> Duration {
        let Self(world) = self;
        if !world.slow {
            return Duration::ZERO;
        }
        let calls = (&world.commits, &world.reads);
        let name = format!(
            "delay {} {}",
            calls.0.load(Ordering::Relaxed),
            calls.1.load(Ordering::Relaxed)
        );
        Duration::from_millis(world.choices.between(&name, &(0..=STORE_DELAY_MS_MAX)))
    }

    fn commit(&self) -> Option<CommitFault> {
        let Self(world) = self;
        let number = count(&world.commits);
        let (now, odds) = (world.now(), &world.simulation.disturbances);
        if number > FAILING_COMMITS_MAX {
            return None;
        }
        let name = format!("crash {number}");
        if world.crashes.load(Ordering::Relaxed) < CRASHES_MAX
            && world.choices.happens(&name, odds.crashes, now, || "the host dies".to_owned())
        {
            count(&world.crashes);
            world.crash.notify_one();
        }
        let name = format!("commit {number}");
        let (fault, describe) = match world.choices.between(&format!("{name} how"), &(0..=2)) {
            0 => (CommitFault::Refused, "a commit is refused"),
            1 => (CommitFault::Lost, "a commit is lost without a confirmation"),
            _ => (CommitFault::Written, "a commit is written without a confirmation"),
        };
        let fails = world.choices.happens(&name, odds.commits, now, || describe.to_owned());
        fails.then_some(fault)
    }

    fn read(&self) -> bool {
        let Self(world) = self;
        let name = format!("read {}", count(&world.reads));
        let odds = world.simulation.disturbances.reads;
        world.choices.happens(&name, odds, world.now(), || "a read of the store fails".to_owned())
    }
}

// ---- the plugins ----------------------------------------------------------------------

/// A plugin whose calls fail in passing.
pub(crate) struct Disturbed {
    handler: Arc<dyn Handler>,
    world: Arc<World>,
}

impl Disturbed {
    pub(crate) fn all(
        handlers: Vec<Arc<dyn Handler>>,
        world: &Arc<World>,
    ) -> Vec<Arc<dyn Handler>> {
        let disturbed = handlers.into_iter().map(|handler| {
            Arc::new(Self { handler, world: Arc::clone(world) }) as Arc<dyn Handler>
        });
        disturbed.collect()
    }
}

impl Handler for Disturbed {
    fn manifest(&self) -> &Manifest {
        self.handler.manifest()
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        let plugin = &self.manifest().name;
        if call.attempt <= FAILURES_MAX {
            let name = format!(
                "call {plugin} {} {} {} {}",
                call.event.source, call.event.id, call.key, call.attempt
            );
            let odds = self.world.simulation.disturbances.calls;
            let describe = || format!("{plugin} fails in passing on {}", name_of(&call.event));
            if self.world.choices.happens(&name, odds, call.now, describe) {
                return Err(Failure::Transient("it failed in passing".to_owned()));
            }
        }
        self.handler.handle(call)
    }

    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
        self.handler.migrate(state, to)
    }
}

// ---- lookups --------------------------------------------------------------------------

/// Answers from what is given, after a while, and now and then not at once.
pub(crate) struct Known(pub Arc<World>);

#[async_trait]
impl Lookup for Known {
    async fn ask(
        &self,
        plugin: &PluginName,
        name: &str,
        key: &str,
    ) -> Result<AnswerValue, Unanswered> {
        let Self(world) = self;
        let asked = format!("lookup {plugin} {name} {key}");
        let wait = world.choices.between(&format!("{asked} waits"), &(0..=LOOKUP_MS_MAX));
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let odds = world.simulation.disturbances.lookups;
        // Once for each key: a second question for it is answered.
        let describe = || format!("the lookup `{name}` fails in passing");
        let fails = world.choices.happens(&asked, odds, world.now(), describe);
        if fails && world.fails_first(&asked) {
            return Err(Failure::Transient("it failed in passing".to_owned()).into());
        }
        look_up(&world.simulation.given.lookups, name, key)
    }
}

// ---- the outside ----------------------------------------------------------------------

/// Takes commands, once each, though they may come several times; and answers.
pub(crate) struct Outside {
    world: Arc<World>,
    attempts: Mutex<BTreeMap<String, u32>>,
}

impl Outside {
    #[must_use]
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self { world: Arc::clone(world), attempts: Mutex::default() }
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        lock(&self.attempts)
    }

    fn take(&self, message: &Message) -> Result<(), DeliveryError> {
        let world = &self.world;
        let (id, event_type) = (&message.event.id, &message.event.event_type);
        let attempt = *self.attempts().entry(id.clone()).and_modify(|n| *n += 1).or_insert(1);
        let now = world.now();
        let failed = || DeliveryError::Transient {
            reason: "it failed in passing".to_owned(),
            retry_after: None,
        };
        let odds = match attempt <= FAILURES_MAX {
            true => world.simulation.disturbances.deliveries,
            false => super::choices::Odds::NEVER,
        };
        let name = format!("delivery {id} {attempt}");
        let is_lost = world.choices.between(&format!("{name} how"), &(0..=1)) == 0;
        let describe = || match is_lost {
            true => format!("{event_type} is not delivered at once"),
            false => format!("{event_type} is delivered without a confirmation"),
        };
        let fails = world.choices.happens(&name, odds, now, describe);
        if fails && is_lost {
            return Err(failed());
        }
        match world.took(message, now) {
            Taken::Refused(reason) => Err(DeliveryError::Permanent(reason)),
            Taken::Done if fails => Err(failed()),
            Taken::Done => Ok(()),
        }
    }
}

#[async_trait]
impl Transport for Outside {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        messages.iter().map(|message| self.take(message)).collect()
    }

    fn batch_max(&self) -> usize {
        3
    }

    fn in_flight(&self) -> usize {
        2
    }
}
