//! `kill -9` at random moments under load, again and again, on one store; then the
//! books are checked: every acknowledged event is in the log once, each has its
//! commands once and in order, every process has ended, the sums add up.
//!
//! `SAGABOX_CHAOS_ROUNDS` sets how often each test kills the host (`./dev chaos` sets
//! it too), `SAGABOX_CHAOS_SEED` when, and what is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sagabox_tests::client::{Accepted, Client};
use sagabox_tests::events::event;
use sagabox_tests::host::{Builder, Host};
use sagabox_tests::sink::Sink;
use serde_json::{Value, json};

/// There are two tests: sixty kills in each run of all tests.
const ROUNDS: u64 = 30;
/// How long the host runs in a round, in milliseconds: from its first commits to a
/// database that has been checkpointed.
const RUN_MS: std::ops::Range<u64> = 50..900;
const SENDERS: u64 = 3;
const EVENTS_PER_BATCH_MAX: usize = 20;
/// Between two batches of a sender. Some thousand events a second would only be
/// waited for at the end.
const PAUSE_MS_MAX: u64 = 40;
const ORDERS_PER_SENDER: u64 = 5;
const GUESTS: [&str; 2] = ["guest-1", "guest-2"];

const PAYMENTS: &str = "RequestPayment";
const CHECKOUTS: &str = "CheckoutGuestAccount";
const COMPLETIONS: &str = "CompleteGroupCheckout";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}"))
    })
}

/// A saga, and a process manager with state and timers.
fn plugins() -> Builder {
    Host::builder().plugin("order-saga").plugin("group-checkout")
}

/// What one sender has sent, all of it acknowledged.
#[derive(Default)]
struct Sent {
    events: Vec<Value>,
    /// How many events of each order; they are numbered from 1.
    orders: BTreeMap<String, u64>,
    groups: BTreeSet<String>,
}

/// Makes events of one sender; no other sender sends for its keys.
struct Sender {
    name: u64,
    random: StdRng,
    sent: Sent,
    /// Guests whose checkout has not been reported.
    guests: Vec<(String, &'static str)>,
}

impl Sender {
    fn next(&mut self) -> Value {
        let roll = self.random.random_range(0..100);
        if roll < 15 {
            return self.start_group();
        }
        if roll < 45 && !self.guests.is_empty() {
            let any = self.random.random_range(0..self.guests.len());
            let (group, guest) = self.guests.swap_remove(any);
            return guest_completed(&group, guest);
        }
        let order =
            format!("order-{}-{}", self.name, self.random.random_range(0..ORDERS_PER_SENDER));
        let n = self.sent.orders.entry(order.clone()).or_default();
        *n += 1;
        let data = json!({"orderId": order, "totalPrice": n});
        event(&format!("{order}-{n}"), "OrderInitialized", &order, &data)
    }

    fn start_group(&mut self) -> Value {
        let group = format!("group-{}-{}", self.name, self.sent.groups.len());
        self.sent.groups.insert(group.clone());
        self.guests.extend(GUESTS.map(|guest| (group.clone(), guest)));
        let data = json!({"groupCheckoutId": group, "guestStayIds": GUESTS});
        event(&group, "GroupCheckoutInitiated", &group, &data)
    }

    /// Sends batch after batch until it is stopped, insisting on each; then completes
    /// what it began.
    async fn run(mut self, client: Client, stop: Arc<AtomicBool>) -> Sent {
        while !stop.load(Ordering::Relaxed) {
            let count = self.random.random_range(1..=EVENTS_PER_BATCH_MAX);
            let batch: Vec<Value> = (0..count).map(|_| self.next()).collect();
            client.send(&batch).await;
            self.sent.events.extend(batch);
            let pause = self.random.random_range(0..PAUSE_MS_MAX);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let rest: Vec<Value> =
            self.guests.iter().map(|(group, guest)| guest_completed(group, guest)).collect();
        client.send(&rest).await;
        self.sent.events.extend(rest);
        self.sent
    }
}

fn guest_completed(group: &str, guest: &str) -> Value {
    let data = json!({"groupCheckoutId": group, "guestStayId": guest});
    event(&format!("{group}-{guest}"), "GuestCheckoutCompleted", group, &data)
}

/// Kills and starts the host while the load runs; returns what was sent.
async fn torment(host: &mut Host) -> Sent {
    let seed = setting("SAGABOX_CHAOS_SEED", 1);
    let rounds = setting("SAGABOX_CHAOS_ROUNDS", ROUNDS);
    println!("SAGABOX_CHAOS_SEED={seed} SAGABOX_CHAOS_ROUNDS={rounds}");
    let mut random = StdRng::seed_from_u64(seed);
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|name| {
            let random = StdRng::seed_from_u64(random.random());
            let sender = Sender { name, random, sent: Sent::default(), guests: Vec::new() };
            tokio::spawn(sender.run(host.client(), Arc::clone(&stop)))
        })
        .collect();
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(random.random_range(RUN_MS))).await;
        host.kill_and_start().await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut all = Sent::default();
    for sender in senders {
        let sent = sender.await.expect("a sender");
        assert!(!sent.events.is_empty(), "a sender that sent nothing was no load");
        all.events.extend(sent.events);
        all.orders.extend(sent.orders);
        all.groups.extend(sent.groups);
    }
    println!("{rounds} kills, {} events, {} processes", all.events.len(), all.groups.len());
    all
}

/// The books of the host.
async fn check_books(client: &Client, sent: &Sent) {
    client.wait_for_completed("group-checkout", sent.groups.len()).await;
    client.wait_for_pending(0).await;
    client.wait_for_balance().await;
    client.assert_no_dead_letters().await;
    let again = client.send(&sent.events).await;
    let all = sent.events.len();
    assert_eq!(again, Accepted { accepted: 0, duplicates: all }, "an acknowledged event was lost");
    let accounts = client.get("/accounts").await.expect("the accounts");
    assert_eq!(accounts["events"], json!(all), "events in the log: {accounts}");
}

/// The commands by their first arrival, each id once.
fn check_commands(sent: &Sent, arrived: &[(String, Value)]) {
    let of = |command: &str, of: fn(&Value) -> String| -> Vec<String> {
        let data = arrived.iter().filter(|(t, _)| t == command).map(|(_, data)| of(data));
        data.collect()
    };
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (_, data) in arrived.iter().filter(|(command, _)| command == PAYMENTS) {
        let order = data["orderId"].as_str().expect("an order").to_owned();
        // The saga's price is a decimal number.
        let n = data["totalPrice"].to_string();
        let n = n.trim_end_matches(".0").parse().expect("a number");
        numbers.entry(order).or_default().push(n);
    }
    let expected: BTreeMap<String, Vec<u64>> =
        sent.orders.iter().map(|(order, last)| (order.clone(), (1..=*last).collect())).collect();
    for (order, expected) in &expected {
        assert_eq!(numbers.get(order), Some(expected), "the commands of {order}, in order");
    }
    assert_eq!(numbers.len(), expected.len());

    let mut guests =
        of(CHECKOUTS, |data| format!("{} {}", data["groupCheckoutId"], data["guestStayId"]));
    let mut groups = of(COMPLETIONS, |data| data["groupCheckoutId"].to_string());
    guests.sort();
    groups.sort();
    let pairs = |group: &String| GUESTS.map(|guest| format!("\"{group}\" \"{guest}\""));
    assert_eq!(guests, sent.groups.iter().flat_map(pairs).collect::<Vec<_>>());
    let quoted = sent.groups.iter().map(|group| format!("\"{group}\""));
    let mut quoted: Vec<String> = quoted.collect();
    quoted.sort();
    assert_eq!(groups, quoted);
}

#[tokio::test]
async fn killed_under_load_every_command_is_delivered_to_a_sink_recognisably() {
    let sink = Sink::start().await;
    sink.refuse_next(20);
    let routes: Vec<String> = [PAYMENTS, CHECKOUTS, COMPLETIONS]
        .map(|command| format!("{command:?} = \"shop\""))
        .to_vec();
    let toml = format!("[sink.shop]\nurl = \"{}\"\n\n[routes]\n{}\n", sink.url, routes.join("\n"));
    let mut host = plugins().configuration(toml).start().await;
    let sent = torment(&mut host).await;
    check_books(&host.client(), &sent).await;
    // Also says that one id is always one message.
    let messages = sink.messages().len();
    let mut seen = BTreeSet::new();
    let deliveries = sink.deliveries();
    let first = deliveries.iter().filter(|delivery| seen.insert(delivery.id.clone()));
    let arrived: Vec<(String, Value)> =
        first.map(|delivery| (delivery.message_type.clone(), delivery.data.clone())).collect();
    assert_eq!(arrived.len(), messages);
    check_commands(&sent, &arrived);
}

#[tokio::test]
async fn killed_under_load_every_command_is_acknowledged_by_a_worker_once() {
    let mut host = plugins().start().await;
    let client = host.client();
    let stop = Arc::new(AtomicBool::new(false));
    let workers = [PAYMENTS, CHECKOUTS, COMPLETIONS]
        .map(|queue| tokio::spawn(work(client.clone(), queue, Arc::clone(&stop))));
    let sent = torment(&mut host).await;
    check_books(&host.client(), &sent).await;
    stop.store(true, Ordering::Relaxed);
    let mut arrived = Vec::new();
    for worker in workers {
        let worker = worker.await.expect("a worker");
        assert_eq!(worker.came_again, BTreeSet::new(), "acknowledged, and came again");
        arrived.extend(worker.arrived);
    }
    check_commands(&sent, &arrived);
}

#[derive(Default)]
struct Worker {
    /// Messages by their first arrival.
    arrived: Vec<(String, Value)>,
    /// What came after its acknowledgement was answered.
    came_again: BTreeSet<String>,
}

async fn work(client: Client, queue: &str, stop: Arc<AtomicBool>) -> Worker {
    let mut worker = Worker::default();
    let (mut seen, mut settled) = (BTreeMap::new(), BTreeSet::new());
    while !stop.load(Ordering::Relaxed) {
        let lease =
            client.lease(queue, 100, Duration::from_millis(500), Duration::from_secs(10)).await;
        let Ok(lease) = lease else {
            // The host is down: it is asked again, but not as fast as it can refuse.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let mut ids = Vec::new();
        for message in &lease.messages {
            ids.push(message.id().to_owned());
            if settled.contains(message.id()) {
                worker.came_again.insert(message.id().to_owned());
            }
            let first = seen.entry(message.id().to_owned()).or_insert_with(|| {
                worker.arrived.push((queue.to_owned(), message.data().clone()));
                message.event.clone()
            });
            assert_eq!(*first, message.event, "one id, two messages");
        }
        if !ids.is_empty() && client.acknowledge(queue, &lease.lease, None).await.is_ok() {
            settled.extend(ids);
        }
    }
    worker
}
