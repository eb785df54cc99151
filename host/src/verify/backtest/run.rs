//! One run: the plugins in the host's own engine, on one thread and in virtual time.
//!
//! The clock stands still while anything is to do, and goes to the next time at which something
//! happens when nothing is. So a decision is made at the time of its event, a timer fires exactly
//! when it is due, and what comes of both is decided before the next event arrives. What is due at
//! the time of an event comes before the event.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sagabox_engine::Clock;
use sagabox_engine::engine::{self, Engine, Parts};
use sagabox_engine::model::{Event, Retention, SinkName, Timestamp};
use sagabox_engine::seams::handler::Handler;
use sagabox_engine::seams::store::memory::MemoryStore;
use sagabox_engine::seams::transport::Sink;
use sagabox_engine::sim::{Timeline, failing_on_panic};
use tokio::time::Instant;

use super::findings::Findings;
use super::outside::{Outside, World};
use crate::plugins::wasm::{Instances, LoadedPlugin};
use crate::verify::event_log::{EventLog, Happening};

/// Events that arrive at one time are offered in groups of so many: far below what waits for a
/// commit at most.
const GROUP: usize = 1_000;
const NEVER: Duration = Duration::from_hours(24 * 365 * 1_000);

/// A log, and the plugins that it is tried on.
pub struct Backtest<'b> {
    pub plugins: &'b [LoadedPlugin],
    pub log: &'b EventLog,
    pub outside: &'b Outside,
    /// For what chance decides of the answers.
    pub seed: u64,
    /// Retries and limits, as a host has them.
    pub settings: &'b engine::Settings,
    /// When it ends.
    pub until: Timestamp,
}

/// Why a backtest comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BacktestError {
    /// What is wrong with the answers that were given.
    #[error("{0}")]
    Answers(String),
    /// The host is broken.
    #[error("{0}")]
    Host(String),
}

impl Backtest<'_> {
    /// # Errors
    /// See [`BacktestError`].
    pub fn run(&self) -> Result<Findings, BacktestError> {
        let timeline = Timeline::new(self.log.begins_at());
        let world = World::new(self.outside, self.seed, &timeline);
        let store = MemoryStore::new();
        let handlers: Vec<Arc<dyn Handler>> =
            self.plugins.iter().map(|plugin| plugin.restarted(Instances::Used)).collect();
        let manifests = handlers.iter().map(|handler| handler.manifest().clone()).collect();
        let run = async |clock: Clock| {
            let parts = self.parts(&world, handlers, &store, &clock);
            self.drive(&world, &timeline, parts, &clock).await
        };
        let refused = failing_on_panic(|| timeline.live(std::future::pending(), run));
        let refused = refused.map_err(BacktestError::Host)?;
        let findings = match world.mistake() {
            Some(mistake) => Err(BacktestError::Answers(mistake)),
            None => {
                let refused = refused.unwrap_or_default();
                Ok(store.look(|tables| Findings::of(tables, manifests, refused)))
            }
        };
        // Millions of rows take a while to free, which nothing waits for.
        std::thread::spawn(move || drop(store));
        findings
    }

    fn parts(
        &self,
        world: &Arc<World>,
        handlers: Vec<Arc<dyn Handler>>,
        store: &MemoryStore,
        clock: &Clock,
    ) -> Parts {
        let sink = SinkName::from("outside");
        let answered = self.outside.commands().into_iter();
        Parts {
            store: Arc::new(store.clone()),
            handlers,
            canaries: Vec::new(),
            lookup: Arc::clone(world) as _,
            // A command without an answer stays in the queue of its type.
            routes: answered.map(|command| (command, sink.clone())).collect(),
            sinks: HashMap::from([(sink, Sink::new(Arc::clone(world) as _))]),
            clock: Arc::clone(clock),
            settings: engine::Settings {
                shards: 0,
                // The clock is never set.
                date_check_max: NEVER,
                // All is in memory anyway.
                instance_bytes_max: usize::MAX,
                held_bytes_max: usize::MAX,
                timers_in_memory_max: usize::MAX,
                backlog_max: u64::MAX,
                retention: Retention {
                    duplicates: None,
                    history: None,
                    finished: None,
                    interval: NEVER,
                },
                ..self.settings.clone()
            },
        }
    }

    /// Lets everything arrive, and returns what operators asked in vain.
    async fn drive(
        &self,
        world: &World,
        timeline: &Timeline,
        parts: Parts,
        clock: &Clock,
    ) -> Result<Vec<String>, String> {
        let (begins, begins_at) = (Instant::now(), self.log.begins_at());
        let engine = Engine::start(parts).await.map_err(|error| error.to_string())?;
        let (mut place, mut refused) = (0, Vec::new());
        while world.mistake().is_none() {
            let arrives = self.log.arrivals.get(place).map(|arrival| arrival.at);
            let next = arrives.into_iter().chain(world.next()).min();
            let next = next.filter(|next| *next <= self.until);
            let at = next.unwrap_or(self.until);
            let wakes = begins + Duration::from_millis(at.0.saturating_sub(begins_at.0));
            tokio::select! {
                biased;
                () = world.sooner.notified() => continue,
                () = tokio::time::sleep_until(wakes) => {}
            }
            timeline.idle().await;
            if next.is_none() {
                match world.next().is_some_and(|next| next <= self.until) {
                    true => continue,
                    false => break,
                }
            }
            place = self.arrive(&engine, place, clock(), &mut refused).await?;
            offer(&engine, world.take_due(clock())).await?;
        }
        engine.drain().await;
        Ok(refused)
    }

    /// Offers what has arrived by now, and returns how far the log is.
    async fn arrive(
        &self,
        engine: &Engine,
        mut place: usize,
        now: Timestamp,
        refused: &mut Vec<String>,
    ) -> Result<usize, String> {
        let mut events = Vec::new();
        while let Some(arrival) = self.log.arrivals.get(place)
            && arrival.at <= now
        {
            place += 1;
            match &arrival.what {
                Happening::Event(event) => events.push(Event::clone(event)),
                Happening::Operator { ends, plugin, key, by, reason } => {
                    offer(engine, std::mem::take(&mut events)).await?;
                    let asked = match ends {
                        true => engine.end(plugin, key, by, reason).await,
                        false => engine.cancel(plugin, key, by, reason).await,
                    };
                    refused.extend(asked.err().map(|why| format!("{}: {why}", now.to_rfc3339())));
                }
            }
        }
        offer(engine, events).await?;
        Ok(place)
    }
}

async fn offer(engine: &Engine, mut events: Vec<Event>) -> Result<(), String> {
    while !events.is_empty() {
        let rest = events.split_off(events.len().min(GROUP));
        let group = std::mem::replace(&mut events, rest);
        engine.offer(group).await.map_err(|error| format!("the host takes no event: {error}"))?;
    }
    Ok(())
}
