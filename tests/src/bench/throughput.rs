//! The scenarios `saga` and `process-manager`: how much goes through, and what it costs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use super::by_hand::{ByHand, Keeps};
use super::in_process::{self, Way};
use super::load::{self, Load, Outcome, Target};
use super::process::Usage;
use super::report::{Spread, compared, micros_each, rate};
use super::settings::Settings;
use super::shapes::{SAGA, Shape};
use crate::host::Host;

/// Handled before the clock starts: caches, connections, the first calls.
pub const WARM_UP: usize = 2_000;
/// A service that waits for the lock of a checkpoint would rather wait than fail.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What the host and its database spent on all measured events.
#[derive(Default)]
struct Cost {
    events: usize,
    cpu: Duration,
    threads: BTreeMap<String, Duration>,
    written_bytes: u64,
    database_bytes: u64,
}

/// # Errors
/// If a run fails.
pub async fn measure(shape: Shape, settings: &Settings) -> Result<String> {
    let mut host = Host::builder().plugin(shape.plugin).start().await;
    let [same, lean] = Keeps::ALL;
    let by_hand = [ByHand::start(same).await?, ByHand::start(lean).await?];
    let has_service = shape.queues == SAGA.queues;
    run(Target::of(&host), shape, "warm", WARM_UP, settings).await?;
    if has_service {
        for service in &by_hand {
            run(service.target, shape, "warm", WARM_UP, settings).await?;
        }
    }
    let ways = ways(shape, settings);
    let mut ours = Spread::default();
    let mut services = [Spread::default(), Spread::default()];
    let mut others = ways.map(|_| Spread::default());
    let mut cost = Cost::default();
    for round in 0..settings.rounds {
        let name = format!("r{round}");
        let before = (Usage::of(host.process())?, checkpointed_bytes(&host.store()).await?);
        let outcome = run(Target::of(&host), shape, &name, settings.events, settings).await?;
        cost.add(settings.events, &Usage::of(host.process())?.since(&before.0));
        cost.database_bytes += checkpointed_bytes(&host.store()).await?.saturating_sub(before.1);
        ours.push(rate(settings.events, outcome.elapsed));
        if has_service {
            for (rates, service) in services.iter_mut().zip(&by_hand) {
                let outcome = run(service.target, shape, &name, settings.events, settings).await?;
                rates.push(rate(settings.events, outcome.elapsed));
            }
        }
        for (rates, way) in others.iter_mut().zip(ways) {
            rates.push(in_process::measure(way).await?);
        }
    }
    host.client().assert_no_dead_letters().await;
    host.stop().await;
    let mut rows = vec![("Sagabox", ours.clone())];
    if has_service {
        rows.extend([same.name(), lean.name()].into_iter().zip(services));
    }
    let [row_by_row, batched] = others;
    rows.push(("by hand, in process: a transaction for each event", row_by_row));
    rows.push(("by hand, in process: a statement a table for each batch", batched));
    Ok(render(&rows, &cost))
}

/// The hand-written ways. The slow one gets fewer events: its rate does not depend on them.
fn ways(shape: Shape, settings: &Settings) -> [Way; 2] {
    let row_by_row = Way { shape, events: settings.events.div_ceil(10).min(20_000), batch: None };
    [row_by_row, Way { shape, events: settings.events, batch: Some(settings.batch) }]
}

/// # Errors
/// If the load fails.
pub async fn run(
    target: Target,
    shape: Shape,
    name: &str,
    events: usize,
    settings: &Settings,
) -> Result<Outcome> {
    let load = Load {
        requests: shape.batches(name, events, settings.batch),
        connections: settings.connections,
        queues: shape.queues,
        workers: settings.workers,
        messages: events,
    };
    load::run(target, load).await
}

/// The size of the database when all that was written ahead is in it.
async fn checkpointed_bytes(store: &Path) -> Result<u64> {
    let options = SqliteConnectOptions::new().filename(store).busy_timeout(BUSY_TIMEOUT);
    let mut db = SqliteConnection::connect_with(&options).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut db).await?;
    db.close().await?;
    Ok(std::fs::metadata(store)?.len())
}

impl Cost {
    fn add(&mut self, events: usize, usage: &Usage) {
        self.events += events;
        self.cpu += usage.cpu;
        self.written_bytes += usage.written_bytes;
        for (name, cpu) in &usage.threads {
            *self.threads.entry(name.clone()).or_default() += *cpu;
        }
    }

    fn micros(&self, cpu: Duration) -> String {
        micros_each(cpu, self.events)
    }
}

fn render(rows: &[(&str, Spread)], cost: &Cost) -> String {
    let events = cost.events as u64;
    let rows = rows.iter().enumerate().map(|(index, (name, rates))| {
        let more = match index {
            0 => [
                cost.micros(cost.cpu),
                (cost.database_bytes / events).to_string(),
                (cost.written_bytes / events).to_string(),
            ],
            _ => ["", "", ""].map(str::to_owned),
        };
        (*name, rates, more)
    });
    let header = ["CPU µs/event", "database bytes/event", "written bytes/event"];
    let mut text = compared(header, rows);
    text.push_str("\nCPU µs/event by kind of thread:");
    let mut threads: Vec<(&String, &Duration)> = cost.threads.iter().collect();
    threads.sort_by(|a, b| b.1.cmp(a.1));
    for (name, cpu) in threads {
        let _ = write!(text, " {name} {},", cost.micros(*cpu));
    }
    text.pop();
    text.push('\n');
    text
}
