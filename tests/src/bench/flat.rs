//! The scenario `flat`: what a store that is full already costs. Throughput on a
//! fresh and on a filled store in the same minutes, memory, and the time of a start.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::http::{Connection, Request, get};
use super::load::{self, Load, Target};
use super::process;
use super::report::{Spread, mebibytes, rate, rate_cells, ratio, table};
use super::settings::Settings;
use super::shapes::{PROCESS_MANAGER, SAGA, batches, checkout_completed, checkout_initiated};
use super::throughput;
use crate::host::Host;

/// Events of a fill that are made at once: their requests must fit into memory.
const FILL_STEP: usize = 100_000;
const COMMANDS_OF_A_START: &[&str] = &["CheckoutGuestAccount"];
const COMMANDS_OF_AN_END: &[&str] = &["CompleteGroupCheckout"];
const READY_PAUSE: Duration = Duration::from_millis(2);

/// # Errors
/// If a run fails.
pub async fn measure(settings: &Settings) -> Result<String> {
    let mut fresh = start().await;
    let mut full = start().await;
    let empty = Started::measure(&mut full).await?;
    let filling = Instant::now();
    fill(Target::of(&full), settings).await?;
    let filling = filling.elapsed();
    let filled_memory = process::memory(full.process())?;
    let filled = Started::measure(&mut full).await?;
    let rates = rounds(&fresh, &full, settings).await?;
    let highest = process::memory(full.process())?.1;
    full.client().assert_no_dead_letters().await;
    full.stop().await;
    fresh.stop().await;

    let mut text = throughput_table(&rates);
    text.push('\n');
    text.push_str(&table(
        &["host", "start to /readyz s", "resident MiB", "highest MiB"],
        &[
            empty.row("empty store", empty.memory),
            filled.row("filled store, just started", filled.highest),
            filled.row("filled store, after the rounds", highest),
        ],
    ));
    text.push_str(&format!(
        "\n{} events in the log, {} running instances, filled through HTTP in {:.0} s \
         ({:.0} events/s, {} MiB resident at the end)\n",
        settings.log,
        settings.instances,
        filling.as_secs_f64(),
        rate(settings.log, filling),
        mebibytes(filled_memory.0),
    ));
    Ok(text)
}

/// What a start costs, on the store as it is.
struct Started {
    until_ready: Duration,
    memory: u64,
    highest: u64,
}

impl Started {
    async fn measure(host: &mut Host) -> Result<Self> {
        let until_ready = restart(host).await?;
        let (memory, highest) = process::memory(host.process())?;
        Ok(Self { until_ready, memory, highest })
    }

    fn row(&self, name: &str, highest: u64) -> Vec<String> {
        let until_ready = format!("{:.2}", self.until_ready.as_secs_f64());
        vec![name.to_owned(), until_ready, mebibytes(self.memory), mebibytes(highest)]
    }
}

/// Events in a second, for the fresh and the filled store: of a saga, and of running instances.
type Rates = [[Spread; 2]; 2];

async fn rounds(fresh: &Host, full: &Host, settings: &Settings) -> Result<Rates> {
    let ending = settings.events.min(settings.instances / settings.rounds);
    ensure!(ending > 0, "--instances: at least one for each round");
    let mut rates = Rates::default();
    for round in 0..settings.rounds {
        for (rates, host) in rates.iter_mut().zip([fresh, full]) {
            let name = format!("r{round}");
            let outcome =
                throughput::run(Target::of(host), SAGA, &name, settings.events, settings).await?;
            rates[0].push(rate(settings.events, outcome.elapsed));
        }
        // The filled store ends instances that have waited since it was filled, from all
        // over it; the fresh one as many that were just started.
        let young = round * ending..(round + 1) * ending;
        start_instances(Target::of(fresh), "fresh", young.clone(), settings).await?;
        let old = (0..ending).map(|n| n * settings.rounds + round);
        let elapsed = end_instances(Target::of(full), "fill", old, ending, settings).await?;
        rates[1][1].push(rate(ending, elapsed));
        let elapsed = end_instances(Target::of(fresh), "fresh", young, ending, settings).await?;
        rates[0][1].push(rate(ending, elapsed));
    }
    Ok(rates)
}

fn throughput_table(rates: &Rates) -> String {
    let mut rows = Vec::new();
    for (which, what) in ["saga", "process manager: events of running instances"].iter().enumerate()
    {
        for (store, name) in ["fresh", "filled"].iter().enumerate() {
            let mut row = vec![format!("{what}, {name} store")];
            row.extend(rate_cells(&rates[store][which]));
            row.push(ratio(rates[store][which].median(), rates[0][which].median()));
            rows.push(row);
        }
    }
    let header = ["throughput", "events/s", "slowest", "fastest", "of the fresh"];
    table(&header, &rows)
}

async fn start() -> Host {
    Host::builder().plugin(SAGA.plugin).plugin(PROCESS_MANAGER.plugin).start().await
}

/// Ends the host, and starts it again: how long until it is ready.
///
/// # Errors
/// If it does not answer.
pub async fn restart(host: &mut Host) -> Result<Duration> {
    host.stop().await;
    let start = Instant::now();
    host.start().await;
    let mut connection = Connection::open(Target::of(host).address).await?;
    while connection.call(&get("/readyz")).await?.status != 200 {
        tokio::time::sleep(READY_PAUSE).await;
    }
    Ok(start.elapsed())
}

/// Through the host itself: what it writes then is what it writes in production.
async fn fill(target: Target, settings: &Settings) -> Result<()> {
    let instances = settings.instances;
    start_instances(target, "fill", 0..instances, settings).await?;
    let mut left = settings.log - instances;
    let mut step = 0;
    while left > 0 {
        let events = left.min(FILL_STEP);
        throughput::run(target, SAGA, &format!("fill{step}"), events, settings).await?;
        (left, step) = (left - events, step + 1);
    }
    Ok(())
}

/// # Errors
/// If a run fails.
pub async fn start_instances(
    target: Target,
    name: &str,
    instances: std::ops::Range<usize>,
    settings: &Settings,
) -> Result<()> {
    let end = instances.end;
    for first in instances.step_by(FILL_STEP) {
        let these = first..end.min(first + FILL_STEP);
        let count = these.len();
        let events = these.map(|n| checkout_initiated(name, n));
        let requests = batches(events, settings.batch);
        run(target, requests, COMMANDS_OF_A_START, count, settings).await?;
    }
    Ok(())
}

/// # Errors
/// If a run fails.
pub async fn end_instances(
    target: Target,
    name: &str,
    instances: impl Iterator<Item = usize>,
    count: usize,
    settings: &Settings,
) -> Result<Duration> {
    let events = instances.map(|n| checkout_completed(name, n));
    let requests = batches(events, settings.batch);
    run(target, requests, COMMANDS_OF_AN_END, count, settings).await
}

async fn run(
    target: Target,
    requests: Vec<Request>,
    queues: &'static [&'static str],
    messages: usize,
    settings: &Settings,
) -> Result<Duration> {
    let (connections, workers) = (settings.connections, settings.workers);
    Ok(load::run(target, Load { requests, connections, queues, workers, messages }).await?.elapsed)
}
