//! Connections: how many there are, what each is doing, and which one ends when there are
//! too many.
//!
//! A connection is *busy* from the head of a request to the last byte of its answer. Only
//! connections that are not busy are ended: to make room for others, when they idle for too
//! long, and when the host stops.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::io::locks::lock;

/// Beyond the limit, so many connections are still accepted, and asked about the host's
/// health alone: an operator must see a crowded host.
const RESERVED: usize = 32;

/// How long each part of an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its header.
    pub header: Duration,
    /// From the end of the header to the end of the body.
    pub body: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// From the moment when the client does not take more of an answer to its last byte.
    pub write: Duration,
}

/// All connections of a host.
pub(super) struct Connections {
    max: usize,
    open: Mutex<Open>,
    /// Bytes of request bodies in memory, of all connections together.
    bodies: AtomicUsize,
    bodies_max: usize,
    /// Bytes of answers that clients have not taken yet.
    answers: AtomicUsize,
    answers_max: usize,
}

#[derive(Default)]
struct Open {
    next_id: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

pub(super) struct Connection {
    id: u64,
    /// Accepted beyond the limit.
    pub is_reserved: bool,
    /// Cancelled to end it.
    pub ended: CancellationToken,
    /// Bytes of its answers that the client has not taken yet.
    answers: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    is_http2: bool,
    /// Requests that are not answered to the end.
    requests: usize,
    /// An answer may still be on its way to the socket.
    is_unflushed: bool,
    /// Since when there is nothing to answer.
    waiting_since: Instant,
    /// When the first byte of the next request came.
    header_since: Option<Instant>,
    /// Since when the client does not take what is written.
    blocked_since: Option<Instant>,
}

impl State {
    fn is_busy(&self) -> bool {
        self.requests > 0 || self.is_unflushed
    }
}

impl Connections {
    pub(crate) fn new(max: usize, bodies_max: usize, answers_max: usize) -> Self {
        let (bodies, answers) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { max, open: Mutex::default(), bodies, bodies_max, answers, answers_max }
    }

    /// Takes up a new connection. At the limit, the one that has waited longest for a
    /// request ends; if all are busy, the new one is reserved. None: even those are too many.
    pub(crate) fn admit(&self) -> Option<Arc<Connection>> {
        let mut open = lock(&self.open);
        let is_reserved = open.connections.len() >= self.max && !open.make_room();
        if open.connections.len() >= self.max + RESERVED {
            return None;
        }
        let id = open.next_id;
        open.next_id += 1;
        let state = State {
            is_http2: false,
            requests: 0,
            is_unflushed: false,
            waiting_since: Instant::now(),
            header_since: None,
            blocked_since: None,
        };
        let (ended, answers) = (CancellationToken::new(), AtomicUsize::new(0));
        let state = Mutex::new(state);
        let connection = Arc::new(Connection { id, is_reserved, ended, answers, state });
        open.connections.insert(id, Arc::clone(&connection));
        Some(connection)
    }

    /// Ends the connection that has waited longest, if one waits.
    pub(crate) fn make_room(&self) -> bool {
        lock(&self.open).make_room()
    }

    /// Ends the connection whose client leaves most of its answers, at least `bytes`, where they are;
    /// of several, the oldest. False if there is none.
    fn end_slowest(&self, bytes: usize) -> bool {
        let open = lock(&self.open);
        let left = |connection: &&Arc<Connection>| connection.answers.load(Ordering::Relaxed);
        let slow = open
            .connections
            .values()
            .filter(|connection| left(connection) >= bytes && !connection.ended.is_cancelled());
        let Some(slowest) =
            slow.max_by_key(|connection| (left(connection), u64::MAX - connection.id))
        else {
            return false;
        };
        slowest.ended.cancel();
        true
    }

    pub(crate) fn remove(&self, connection: &Connection) {
        lock(&self.open).connections.remove(&connection.id);
    }
}

impl Open {
    fn make_room(&mut self) -> bool {
        let waiting = self.connections.values().filter_map(|connection| {
            let state = lock(&connection.state);
            (!state.is_busy()).then_some((state.waiting_since, connection.id))
        });
        let Some(longest) = waiting.min().and_then(|(_, id)| self.connections.remove(&id)) else {
            return false;
        };
        longest.ended.cancel();
        true
    }
}

impl Connection {
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.state).is_busy()
    }

    /// Bytes came.
    pub(crate) fn received(&self, bytes: &[u8]) {
        let mut state = lock(&self.state);
        // The preface of HTTP/2, whose frames are not distinguished here.
        state.is_http2 |= bytes.starts_with(b"PRI");
        if state.requests == 0 && !state.is_http2 && state.header_since.is_none() {
            state.header_since = Some(Instant::now());
        }
    }

    /// The client does not take more bytes now.
    pub(crate) fn blocked(&self) {
        lock(&self.state).blocked_since.get_or_insert_with(Instant::now);
    }

    /// Everything that was written is with the operating system.
    pub(crate) fn flushed(&self) {
        let mut state = lock(&self.state);
        state.blocked_since = None;
        if state.requests == 0 && state.is_unflushed {
            state.is_unflushed = false;
            state.waiting_since = Instant::now();
        }
    }

    /// When the connection ends unless something happens before. While a request is
    /// answered, its body and its handler have limits of their own.
    pub(crate) fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let state = lock(&self.state);
        if let Some(since) = state.blocked_since {
            return Some(since + timeouts.write);
        }
        if state.is_busy() {
            return None;
        }
        Some(match state.header_since {
            Some(since) => since + timeouts.header,
            None => state.waiting_since + timeouts.idle,
        })
    }
}

/// One request and its answer. The last of its clones to be dropped ends it: one is with
/// the request's body, one with the answer's.
#[derive(Clone)]
pub(super) struct Exchange(Arc<Parts>);

struct Parts {
    connection: Arc<Connection>,
    connections: Arc<Connections>,
    body_bytes: AtomicUsize,
    answer_bytes: AtomicUsize,
}

impl Exchange {
    pub(crate) fn begin(connection: &Arc<Connection>, connections: &Arc<Connections>) -> Self {
        let mut state = lock(&connection.state);
        state.requests += 1;
        state.is_unflushed = true;
        state.header_since = None;
        drop(state);
        Self(Arc::new(Parts {
            connection: Arc::clone(connection),
            connections: Arc::clone(connections),
            body_bytes: AtomicUsize::new(0),
            answer_bytes: AtomicUsize::new(0),
        }))
    }

    /// Whether so many more bytes of bodies may be in memory.
    pub(crate) fn take_body_bytes(&self, bytes: usize) -> bool {
        let Connections { bodies, bodies_max, .. } = &*self.0.connections;
        if bodies.fetch_add(bytes, Ordering::Relaxed) + bytes > *bodies_max {
            bodies.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.0.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    /// Whether an answer of so many bytes may be in memory until its client takes it. At the limit,
    /// the connection ends whose client takes least, unless that is this one.
    pub(crate) fn take_answer_bytes(&self, bytes: usize) -> bool {
        let Parts { connection, connections, .. } = &*self.0;
        let Connections { answers, answers_max, .. } = &**connections;
        if answers.fetch_add(bytes, Ordering::Relaxed) + bytes > *answers_max {
            let own = connection.answers.load(Ordering::Relaxed);
            // What ends gives back at least what this one takes.
            if !connections.end_slowest((own + 1).max(bytes)) {
                answers.fetch_sub(bytes, Ordering::Relaxed);
                return false;
            }
        }
        connection.answers.fetch_add(bytes, Ordering::Relaxed);
        self.0.answer_bytes.fetch_add(bytes, Ordering::Relaxed);
        true
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let bytes = self.body_bytes.load(Ordering::Relaxed);
        self.connections.bodies.fetch_sub(bytes, Ordering::Relaxed);
        let bytes = self.answer_bytes.load(Ordering::Relaxed);
        self.connections.answers.fetch_sub(bytes, Ordering::Relaxed);
        self.connection.answers.fetch_sub(bytes, Ordering::Relaxed);
        let mut state = lock(&self.connection.state);
        state.requests -= 1;
        if state.requests == 0 {
            state.waiting_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_has_waited_longest_makes_room_and_a_busy_one_never_does() {
        let connections = Arc::new(Connections::new(2, 10, 10));
        let busy = connections.admit().unwrap();
        let exchange = Exchange::begin(&busy, &connections);
        tokio::time::advance(Duration::from_secs(1)).await;
        let waiting = connections.admit().unwrap();
        let third = connections.admit().unwrap();
        assert!(waiting.ended.is_cancelled() && !busy.ended.is_cancelled());
        assert!(!third.is_reserved);
        let _second = Exchange::begin(&third, &connections);
        let reserved: Vec<_> = (0..RESERVED).map(|_| connections.admit()).collect();
        assert!(reserved.iter().flatten().next().unwrap().is_reserved);
        drop(exchange);
        assert!(busy.is_busy(), "its answer may not be written yet");
        busy.flushed();
        assert!(!busy.is_busy());
    }

    #[tokio::test(start_paused = true)]
    async fn each_part_of_an_exchange_has_its_deadline() {
        let second = Duration::from_secs(1);
        let timeouts =
            Timeouts { header: second, body: second * 2, idle: second * 3, write: second * 4 };
        let connections = Arc::new(Connections::new(2, 10, 10));
        let connection = connections.admit().unwrap();
        let now = Instant::now();
        assert_eq!(connection.deadline(&timeouts), Some(now + timeouts.idle));
        connection.received(b"GET");
        assert_eq!(connection.deadline(&timeouts), Some(now + timeouts.header));
        let exchange = Exchange::begin(&connection, &connections);
        assert_eq!(connection.deadline(&timeouts), None);
        connection.blocked();
        assert_eq!(connection.deadline(&timeouts), Some(now + timeouts.write));
        drop(exchange);
        connection.flushed();
        assert_eq!(connection.deadline(&timeouts), Some(now + timeouts.idle));
    }

    #[tokio::test]
    async fn bodies_share_a_limit_and_give_back_what_they_took() {
        let connections = Arc::new(Connections::new(2, 10, 10));
        let connection = connections.admit().unwrap();
        let exchange = Exchange::begin(&connection, &connections);
        assert!(exchange.take_body_bytes(7));
        let other = Exchange::begin(&connection, &connections);
        assert!(!other.take_body_bytes(4));
        drop(exchange);
        assert!(other.take_body_bytes(10));
    }

    #[tokio::test]
    async fn the_client_that_takes_least_of_its_answers_makes_room_for_others() {
        let connections = Arc::new(Connections::new(4, 10, 10));
        let [slow, slower, other] = [(); 3].map(|()| connections.admit().unwrap());
        let begin = |connection| Exchange::begin(connection, &connections);
        let (first, second) = (begin(&slow), begin(&slower));
        assert!(first.take_answer_bytes(4) && second.take_answer_bytes(6));
        assert!(!begin(&slower).take_answer_bytes(1), "it is the slowest itself");
        assert!(!begin(&other).take_answer_bytes(11), "none gives back so much");
        let third = begin(&other);
        assert!(third.take_answer_bytes(3));
        assert!(slower.ended.is_cancelled() && !slow.ended.is_cancelled());
        // It gives back what it has when its answers are dropped, and is not ended twice.
        assert!(begin(&other).take_answer_bytes(1));
        assert!(slow.ended.is_cancelled());
        drop((first, second, third));
        assert!(begin(&other).take_answer_bytes(10));
    }
}
