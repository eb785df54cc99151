//! The scenarios `one-sender` and `steady`: how long an event takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::by_hand::{ByHand, Keeps};
use super::http::{Connection, Request};
use super::load::{self, Target, acknowledge, cart_numbers, lease_request, offer, read_lease};
use super::report::{millis, percentile, ratio, table};
use super::settings::Settings;
use super::shapes::SAGA;
use crate::host::Host;

/// Longer than any event takes on a machine that works.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections of the steady sender: enough that none is waited for.
const STEADY_CONNECTIONS: usize = 64;
/// Before the steady clock starts, so that the workers wait already.
const STEADY_LEAD: Duration = Duration::from_millis(100);
const WARM_UP: usize = 50;

const NAMES: [&str; 2] = ["Sagabox", "by hand, a service over HTTP that stores the same"];

/// # Errors
/// If a run fails.
pub async fn one_sender(settings: &Settings) -> Result<String> {
    let mut host = Host::builder().plugin(SAGA.plugin).start().await;
    let by_hand = ByHand::start(Keeps::Records).await?;
    let targets = [Target::of(&host), by_hand.target];
    let mut latencies = [Vec::new(), Vec::new()];
    for target in targets {
        one_by_one(target, "warm", WARM_UP).await?;
    }
    for round in 0..settings.rounds {
        for (latencies, target) in latencies.iter_mut().zip(targets) {
            latencies.extend(one_by_one(target, &format!("r{round}"), settings.samples).await?);
        }
    }
    host.stop().await;
    let ours = Percentiles::of(&mut latencies[0]);
    let rows = NAMES
        .iter()
        .zip(&mut latencies)
        .map(|(name, latencies)| Percentiles::of(latencies).row((*name).to_owned(), &ours));
    Ok(render("request to leased command", &rows.collect::<Vec<_>>()))
}

pub struct Percentiles([Duration; 3]);

impl Percentiles {
    pub fn of(latencies: &mut [Duration]) -> Self {
        Self([500, 990, 1000].map(|at| percentile(latencies, at)))
    }

    fn row(&self, name: String, ours: &Self) -> Vec<String> {
        let ratio = |at: usize| ratio(ours.0[at].as_secs_f64(), self.0[at].as_secs_f64());
        let figures = self.0.map(millis);
        [name].into_iter().chain(figures).chain([ratio(0), ratio(1)]).collect()
    }

    /// How many times the other's these are.
    pub fn compared(&self, name: String, other: &Self) -> Vec<String> {
        let times = |at: usize| ratio(self.0[at].as_secs_f64(), other.0[at].as_secs_f64());
        [name].into_iter().chain(self.0.map(millis)).chain([times(0), times(1)]).collect()
    }
}

fn render(what: &str, rows: &[Vec<String>]) -> String {
    let header = [what, "p50 ms", "p99 ms", "longest ms", "Sagabox's p50 is", "its p99 is"];
    table(&header, rows)
}

/// One event after another: a worker waits already when it is sent. What it takes to
/// acknowledge is not counted.
///
/// # Errors
/// If a run fails.
pub async fn one_by_one(target: Target, run: &str, count: usize) -> Result<Vec<Duration>> {
    let queue = SAGA.queues[0];
    let mut sender = Connection::open(target.address).await?;
    let mut worker = Connection::open(target.address).await?;
    let waiting = lease_request(queue, PATIENCE);
    let mut latencies = Vec::with_capacity(count);
    for request in SAGA.singles(run, count) {
        worker.send(&waiting).await?;
        let start = Instant::now();
        let came = async {
            let answer = worker.receive().await?;
            anyhow::Ok((start.elapsed(), read_lease(answer.body)?))
        };
        let (sent, came) = tokio::join!(offer(&mut sender, &request), came);
        sent?;
        let (latency, (lease, messages)) = came?;
        ensure!(messages == 1, "{messages} commands came of one event");
        acknowledge(&mut worker, queue, &lease).await?;
        latencies.push(latency);
    }
    Ok(latencies)
}

#[derive(Default)]
pub struct Steady {
    pub answered: Vec<Duration>,
    pub leased: Vec<Duration>,
}

/// # Errors
/// If a run fails.
pub async fn steady(settings: &Settings) -> Result<String> {
    let mut host = Host::builder().plugin(SAGA.plugin).start().await;
    let by_hand = ByHand::start(Keeps::Records).await?;
    let targets = [Target::of(&host), by_hand.target];
    let mut measured = [Steady::default(), Steady::default()];
    for target in targets {
        scheduled(target, "warm", WARM_UP, settings.rate).await?;
    }
    for round in 0..settings.rounds {
        for (measured, target) in measured.iter_mut().zip(targets) {
            let count = settings.rate * settings.seconds;
            let run = scheduled(target, &format!("r{round}"), count, settings.rate).await?;
            measured.answered.extend(run.answered);
            measured.leased.extend(run.leased);
        }
    }
    host.stop().await;
    let measured = measured
        .map(|mut run| [Percentiles::of(&mut run.answered), Percentiles::of(&mut run.leased)]);
    let mut rows = Vec::new();
    for (name, percentiles) in NAMES.iter().zip(&measured) {
        for (index, what) in ["202", "leased command"].iter().enumerate() {
            rows.push(percentiles[index].row(format!("{name}: {what}"), &measured[0][index]));
        }
    }
    Ok(render("from when the event was due to be sent to", &rows))
}

/// Sends at a fixed rate, whether the answers come or not, and counts from when an
/// event was due: what waits behind a slow answer is counted as slow too.
///
/// # Errors
/// If a request fails.
pub async fn scheduled(target: Target, run: &str, count: usize, rate: usize) -> Result<Steady> {
    let requests = Arc::new(SAGA.singles(run, count));
    let start = Instant::now() + STEADY_LEAD;
    let schedule = Schedule { start, rate };
    let due = Arc::new(Mutex::new(schedule.run(count)));
    let mut senders = JoinSet::new();
    for _ in 0..STEADY_CONNECTIONS {
        let connection = Connection::open(target.address).await?;
        senders.spawn(send_when_due(connection, Arc::clone(&requests), Arc::clone(&due), schedule));
    }
    let left = Arc::new(AtomicUsize::new(count));
    let mut workers = JoinSet::new();
    for _ in 0..2 {
        workers.spawn(lease_until_all_came(target, run.to_owned(), Arc::clone(&left), schedule));
    }
    let mut steady = Steady::default();
    while let Some(ended) = senders.join_next().await {
        steady.answered.extend(ended.context("a sender")??);
    }
    while let Some(ended) = workers.join_next().await {
        steady.leased.extend(ended.context("a worker")??);
    }
    Ok(steady)
}

/// When which event is due.
#[derive(Clone, Copy)]
struct Schedule {
    start: Instant,
    rate: usize,
}

impl Schedule {
    fn due(&self, n: usize) -> Instant {
        let nanos = n as u64 * 1_000_000_000 / self.rate as u64;
        self.start + Duration::from_nanos(nanos)
    }

    /// The numbers of the events, each when it is due. On a thread of its own, because
    /// tokio's clock has a resolution of a millisecond.
    fn run(self, count: usize) -> mpsc::UnboundedReceiver<usize> {
        let (due, due_of) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for n in 0..count {
                std::thread::sleep(self.due(n).saturating_duration_since(Instant::now()));
                if due.send(n).is_err() {
                    return;
                }
            }
        });
        due_of
    }
}

async fn send_when_due(
    mut connection: Connection,
    requests: Arc<Vec<Request>>,
    due: Arc<Mutex<mpsc::UnboundedReceiver<usize>>>,
    schedule: Schedule,
) -> Result<Vec<Duration>> {
    let mut answered = Vec::new();
    loop {
        let next = due.lock().await.recv().await;
        let Some(n) = next else { return Ok(answered) };
        offer(&mut connection, &requests[n]).await?;
        answered.push(schedule.due(n).elapsed());
    }
}

async fn lease_until_all_came(
    target: Target,
    run: String,
    left: Arc<AtomicUsize>,
    schedule: Schedule,
) -> Result<Vec<Duration>> {
    let queue = SAGA.queues[0];
    let mut connection = Connection::open(target.address).await?;
    let lease = lease_request(queue, Duration::from_millis(500));
    let mut latencies = Vec::new();
    let mut progress = Instant::now();
    while left.load(Ordering::Relaxed) > 0 {
        let answer = connection.call(&lease).await?;
        let now = Instant::now();
        let numbers: Vec<usize> = cart_numbers(answer.body, &run).collect();
        latencies.extend(numbers.iter().map(|n| now.duration_since(schedule.due(*n))));
        let (lease, messages) = read_lease(answer.body)?;
        ensure!(messages == numbers.len(), "{messages} messages, {} numbers", numbers.len());
        if messages > 0 {
            load::acknowledge(&mut connection, queue, &lease).await?;
            left.fetch_sub(messages, Ordering::Relaxed);
            progress = Instant::now();
        }
        ensure!(progress.elapsed() < PATIENCE, "commands are missing");
    }
    Ok(latencies)
}
