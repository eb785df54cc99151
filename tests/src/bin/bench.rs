//! Throughput, from the HTTP door to a worker's acknowledgement, beside two
//! hand-written ways on the same machine in the same minute.
//!
//! The shape: batches of `CloudEvents` over HTTP, the order saga in WebAssembly, one
//! command for each event, the host's own queue, workers that lease and
//! acknowledge; every commit is synced to the disk. The load generator shares the
//! machine, so its bodies are made before the clock starts, and of the messages it
//! reads only how many there are.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use sagabox_tests::bench_baseline::{self, Way};
use sagabox_tests::client::{BATCH, Client};
use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;

const QUEUE: &str = "InitializeOrder";
const LEASE_MAX: usize = 1000;
/// How long a worker waits for its next messages.
const LEASE_WAIT: Duration = Duration::from_millis(500);
const LEASE_HELD: Duration = Duration::from_mins(1);
/// Without any progress for this long, the run has failed.
const STALLED: Duration = Duration::from_mins(1);
/// Handled before the clock starts: caches, connections, the first compilation.
const WARM_UP: usize = 2_000;

#[derive(Clone, Copy)]
struct Settings {
    events: usize,
    batch: usize,
    connections: usize,
    workers: usize,
    rounds: usize,
}

const USAGE: &str =
    "usage: bench [--events N] [--batch N] [--connections N] [--workers N] [--rounds N]

  --events       events of one round (100000)
  --batch        events of one request, and of a transaction of the hand-written batched way (500)
  --connections  requests under way at a time (4)
  --workers      workers that lease and acknowledge (2)
  --rounds       how often everything is measured; the median counts (3)";

fn settings() -> Result<Settings> {
    let mut settings =
        Settings { events: 100_000, batch: 500, connections: 4, workers: 2, rounds: 3 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let field = match name.as_str() {
            "--events" => &mut settings.events,
            "--batch" => &mut settings.batch,
            "--connections" => &mut settings.connections,
            "--workers" => &mut settings.workers,
            "--rounds" => &mut settings.rounds,
            _ => bail!("{USAGE}"),
        };
        let value = arguments.next().with_context(|| format!("{name} needs a number"))?;
        *field = value.parse().with_context(|| format!("{name} {value}"))?;
        ensure!(*field > 0, "{name} must be at least 1");
    }
    Ok(settings)
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let settings = settings()?;
    let mut host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    measure_host(&client, "warm", &Settings { events: WARM_UP, ..settings }).await?;
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..settings.rounds {
        rates[0].push(measure_host(&client, &format!("r{round}"), &settings).await?);
        for (rates, way) in rates[1..].iter_mut().zip(ways(&settings)) {
            rates.push(bench_baseline::measure(way).await?);
        }
    }
    client.assert_no_dead_letters().await;
    host.terminate().await;
    ensure!(host.ended().await.success(), "the host did not end with status 0");
    print_report(&settings, &rates);
    Ok(())
}

/// The hand-written ways. The slow one gets fewer events: its rate does not depend on them.
fn ways(settings: &Settings) -> [Way; 2] {
    let row_by_row = Way { events: settings.events.div_ceil(10), batch: None };
    [row_by_row, Way { events: settings.events, batch: Some(settings.batch) }]
}

/// Events per second from the first request to the last acknowledgement.
async fn measure_host(client: &Client, run: &str, settings: &Settings) -> Result<f64> {
    let bodies = Arc::new(bodies(run, settings)?);
    let next = Arc::new(AtomicUsize::new(0));
    let settled = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..settings.connections {
        tasks.spawn(send(client.clone(), Arc::clone(&bodies), Arc::clone(&next)));
    }
    for _ in 0..settings.workers {
        tasks.spawn(work(client.clone(), Arc::clone(&settled), settings.events));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task of the load generator")??;
    }
    let elapsed = start.elapsed();
    let settled = settled.load(Ordering::Relaxed);
    ensure!(settled == settings.events, "{settled} commands for {} events", settings.events);
    Ok(rate(settings.events, elapsed))
}

fn bodies(run: &str, settings: &Settings) -> Result<Vec<bytes::Bytes>> {
    let numbers: Vec<usize> = (0..settings.events).collect();
    numbers
        .chunks(settings.batch)
        .map(|batch| {
            let events: Vec<_> = batch
                .iter()
                .map(|n| cart_finalized(&format!("{run}-{n}"), &format!("cart-{run}-{n}")))
                .collect();
            Ok(serde_json::to_vec(&events)?.into())
        })
        .collect()
}

/// Sends body after body. A host that says it is busy is asked again, as it asks for.
async fn send(
    client: Client,
    bodies: Arc<Vec<bytes::Bytes>>,
    next: Arc<AtomicUsize>,
) -> Result<()> {
    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
        loop {
            let response = client.post_events(BATCH, body.clone()).await?;
            match response.status().as_u16() {
                202 => break,
                429 => tokio::time::sleep(Duration::from_millis(20)).await,
                status => bail!("{status} {}", response.text().await?),
            }
        }
    }
    Ok(())
}

/// Leases and acknowledges until all are settled.
async fn work(client: Client, settled: Arc<AtomicUsize>, events: usize) -> Result<()> {
    let lease = format!(
        r#"{{"max":{LEASE_MAX},"wait_ms":{},"duration_ms":{}}}"#,
        LEASE_WAIT.as_millis(),
        LEASE_HELD.as_millis()
    );
    let mut progress = Instant::now();
    while settled.load(Ordering::Relaxed) < events {
        let answer = call(&client, "lease", lease.clone()).await?;
        let (id, messages) = read_lease(&answer)?;
        if messages == 0 {
            let n = settled.load(Ordering::Relaxed);
            ensure!(progress.elapsed() < STALLED, "stalled: {n} of {events} commands came");
            continue;
        }
        call(&client, "acknowledge", format!(r#"{{"lease":{id}}}"#)).await?;
        settled.fetch_add(messages, Ordering::Relaxed);
        progress = Instant::now();
    }
    Ok(())
}

async fn call(client: &Client, verb: &str, body: String) -> Result<bytes::Bytes> {
    let request = client
        .request(Method::POST, &format!("/queues/{QUEUE}/{verb}"))
        .header("content-type", "application/json")
        .body(body);
    let response = request.send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    ensure!(status.is_success(), "{verb}: {status} {}", String::from_utf8_lossy(&body));
    Ok(body)
}

/// The lease as it was written, and how many messages it has. What is in them is skipped.
fn read_lease(answer: &[u8]) -> Result<(String, usize)> {
    #[derive(serde::Deserialize)]
    struct Answer {
        lease: serde_json::Value,
        messages: Vec<serde::de::IgnoredAny>,
    }
    let answer: Answer = serde_json::from_slice(answer).context("the answer to a lease")?;
    Ok((answer.lease.to_string(), answer.messages.len()))
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown to three digits")]
fn rate(events: usize, elapsed: Duration) -> f64 {
    events as f64 / elapsed.as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn print_report(settings: &Settings, rates: &[Vec<f64>; 3]) {
    let Settings { events, batch, connections, workers, rounds } = settings;
    println!("{}", machine());
    println!(
        "{events} events a round in requests of {batch}, {connections} connections, \
         {workers} workers leasing up to {LEASE_MAX}; median of {rounds} rounds; SQLite, synchronous=FULL"
    );
    println!();
    let names = [
        "Sagabox: HTTP, deduplication, WebAssembly, outbox, queue, acknowledgement",
        "by hand: one statement a row, a transaction for each event, no HTTP",
        "by hand: one statement a table for each batch, no HTTP",
    ];
    let medians = rates.clone().map(median);
    println!("| way | events/s | slowest | fastest | Sagabox is |");
    println!("|---|---:|---:|---:|---:|");
    for ((name, rates), rate) in names.iter().zip(rates).zip(medians) {
        let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let fastest = rates.iter().copied().fold(0.0, f64::max);
        let ratio = medians[0] / rate;
        println!("| {name} | {rate:.0} | {slowest:.0} | {fastest:.0} | {ratio:.2} x |");
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    format!(
        "{} {}, {} cores ({}), memory {}; the load generator runs on the same machine",
        std::env::consts::OS,
        std::env::consts::ARCH,
        cores,
        field(&cpu, "model name").unwrap_or_else(|| "unknown".to_owned()),
        field(&memory, "MemTotal").unwrap_or_else(|| "unknown".to_owned()),
    )
}
