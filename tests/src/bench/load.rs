//! The load: senders who send what was made before, workers who lease and acknowledge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::JoinSet;

use super::http::{Connection, Request, post};
use crate::host::Host;

/// The host gives no more at once.
const LEASE_MAX: usize = 1000;
/// How long a worker waits for its next messages.
const LEASE_WAIT: Duration = Duration::from_millis(500);
const LEASE_HELD: Duration = Duration::from_mins(1);
/// Without any progress for this long, the run has failed.
const STALLED: Duration = Duration::from_mins(1);
/// A busy host says when to come again in seconds; a benchmark is less patient.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Who is measured.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub process: u32,
}

impl Target {
    /// # Panics
    /// If the host does not run.
    pub fn of(host: &Host) -> Self {
        let url = host.url();
        let address = url.trim_start_matches("http://").parse();
        Self { address: address.expect("a host listens at an address"), process: host.process() }
    }
}

pub struct Load {
    pub requests: Vec<Request>,
    pub connections: usize,
    pub queues: &'static [&'static str],
    /// For each queue.
    pub workers: usize,
    /// How many messages come out, in all queues together.
    pub messages: usize,
}

pub struct Outcome {
    /// From the first request to the last acknowledgement.
    pub elapsed: Duration,
    /// From each request to its answer.
    pub answered: Vec<Duration>,
}

/// Sends everything, and works until everything that comes of it is acknowledged.
///
/// # Errors
/// If a request is refused, a connection breaks, or nothing happens any more.
pub async fn run(target: Target, load: Load) -> Result<Outcome> {
    let Load { requests, connections, queues, workers, messages } = load;
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let settled = Arc::new(Settled::new(messages));
    let mut senders = JoinSet::new();
    let mut working = JoinSet::new();
    // Services keep their connections: all are open before the clock starts and any sender sends.
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        opened.push(Connection::open(target.address).await?);
    }
    let start = Instant::now();
    for connection in opened {
        senders.spawn(send(connection, Arc::clone(&requests), Arc::clone(&next)));
    }
    for queue in queues.iter().flat_map(|queue| std::iter::repeat_n(*queue, workers)) {
        working.spawn(work(target, queue, Arc::clone(&settled)));
    }
    let mut answered = Vec::with_capacity(requests.len());
    while let Some(ended) = senders.join_next().await {
        answered.extend(ended.context("a sender")??);
    }
    while let Some(ended) = working.join_next().await {
        ended.context("a worker")??;
    }
    Ok(Outcome { elapsed: settled.ended()?.duration_since(start), answered })
}

/// Sends request after request.
async fn send(
    mut connection: Connection,
    requests: Arc<Vec<Request>>,
    next: Arc<AtomicUsize>,
) -> Result<Vec<Duration>> {
    let mut answered = Vec::new();
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let start = Instant::now();
        offer(&mut connection, request).await?;
        answered.push(start.elapsed());
    }
    Ok(answered)
}

/// Sends one request of events. A target that says it is busy is asked again.
///
/// # Errors
/// If they are refused.
pub async fn offer(connection: &mut Connection, request: &Request) -> Result<()> {
    loop {
        let answer = connection.call(request).await?;
        match answer.status {
            202 => return Ok(()),
            429 => tokio::time::sleep(BUSY_PAUSE).await,
            status => bail!("{status} {}", String::from_utf8_lossy(answer.body)),
        }
    }
}

/// How many messages are acknowledged, and when the last was.
struct Settled {
    count: AtomicUsize,
    expected: usize,
    ended: std::sync::OnceLock<Instant>,
}

impl Settled {
    fn new(expected: usize) -> Self {
        Self { count: AtomicUsize::new(0), expected, ended: std::sync::OnceLock::new() }
    }

    fn add(&self, messages: usize) {
        let before = self.count.fetch_add(messages, Ordering::Relaxed);
        if before + messages >= self.expected {
            // Only the first that gets there notes the time.
            let _ = self.ended.set(Instant::now());
        }
    }

    fn ended(&self) -> Result<Instant> {
        let count = self.count.load(Ordering::Relaxed);
        ensure!(count == self.expected, "{count} messages came, not {}", self.expected);
        self.ended.get().copied().context("all were acknowledged, and the end was not noticed")
    }
}

/// Leases and acknowledges until all are settled.
async fn work(target: Target, queue: &'static str, settled: Arc<Settled>) -> Result<()> {
    let mut connection = Connection::open(target.address).await?;
    let lease = lease_request(queue, LEASE_WAIT);
    let mut seen = (settled.count.load(Ordering::Relaxed), Instant::now());
    while settled.ended.get().is_none() {
        let answer = connection.call(&lease).await?;
        ensure!(answer.status == 200, "{queue}: {}", String::from_utf8_lossy(answer.body));
        let (lease, messages) = read_lease(answer.body)?;
        if messages > 0 {
            acknowledge(&mut connection, queue, &lease).await?;
            settled.add(messages);
        }
        let count = settled.count.load(Ordering::Relaxed);
        if count != seen.0 {
            seen = (count, Instant::now());
        }
        let expected = settled.expected;
        ensure!(seen.1.elapsed() < STALLED, "stalled: {count} of {expected} messages came");
    }
    Ok(())
}

pub fn lease_request(queue: &str, wait: Duration) -> Request {
    let body = format!(
        r#"{{"queue":"{queue}","max":{LEASE_MAX},"wait_ms":{},"duration_ms":{}}}"#,
        wait.as_millis(),
        LEASE_HELD.as_millis()
    );
    post("/v1/queues/lease", "application/json", body.as_bytes())
}

/// # Errors
/// If the lease is not known any more.
pub async fn acknowledge(connection: &mut Connection, queue: &str, lease: &str) -> Result<()> {
    let body = format!(r#"{{"queue":"{queue}","lease":"{lease}"}}"#);
    let path = "/v1/queues/acknowledge";
    let answer = connection.call(&post(path, "application/json", body.as_bytes())).await?;
    ensure!(answer.status == 200, "{path}: {}", String::from_utf8_lossy(answer.body));
    Ok(())
}

/// The lease's id, and how many messages it has. What is in them is skipped.
///
/// # Errors
/// If it is not an answer to a lease.
pub fn read_lease(answer: &[u8]) -> Result<(String, usize)> {
    #[derive(serde::Deserialize)]
    struct Answer {
        lease: String,
        messages: Vec<serde::de::IgnoredAny>,
    }
    let answer: Answer = serde_json::from_slice(answer).context("the answer to a lease")?;
    Ok((answer.lease, answer.messages.len()))
}

/// The numbers of the events whose commands are in an answer, found by the cart's
/// name that stands in each: `RUN-NUMBER`.
pub fn cart_numbers<'a>(answer: &'a [u8], run: &str) -> impl Iterator<Item = usize> + 'a {
    let name = format!(r#""cartId":"{run}-"#);
    let mut rest = answer;
    std::iter::from_fn(move || {
        let at = rest.windows(name.len()).position(|part| part == name.as_bytes())?;
        rest = &rest[at + name.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_carts_are_found() {
        let answer = br#"[{"cartId":"r-12","x":1},{"cartId":"other-7"},{"cartId":"r-3"}]"#;
        assert_eq!(cart_numbers(answer, "r").collect::<Vec<_>>(), [12, 3]);
    }
}
