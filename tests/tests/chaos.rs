//! `kill -9` under load, again and again; then every event has exactly one command, by id.
//!
//! `SAGABOX_CHAOS_ROUNDS` sets how often the host is killed (`./dev chaos` does),
//! `SAGABOX_CHAOS_SEED` when.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sagabox_tests::client::Client;
use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;
use sagabox_tests::sink::Sink;
use sagabox_tests::wait;
use serde_json::Value;

const ROUNDS: usize = 3;
const EVENTS_PER_BATCH: usize = 25;
/// A round ends after at most so many further batches were accepted.
const BATCHES_PER_ROUND_MAX: usize = 40;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}"))
    })
}

/// Sends batch after batch until told to stop; insists on each.
async fn load(client: Client, batches: Arc<AtomicUsize>, stop: Arc<AtomicBool>) -> usize {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let ids = sent..sent + EVENTS_PER_BATCH;
        let events: Vec<Value> =
            ids.map(|n| cart_finalized(&format!("e-{n}"), &format!("cart-{n}"))).collect();
        client.send(&events).await;
        sent += EVENTS_PER_BATCH;
        batches.fetch_add(1, Ordering::Relaxed);
    }
    sent
}

/// Kills and starts the host while the load runs; returns how many events were sent.
async fn torment(host: &mut Host) -> usize {
    let seed = setting("SAGABOX_CHAOS_SEED", 1);
    let rounds = setting("SAGABOX_CHAOS_ROUNDS", ROUNDS);
    println!("SAGABOX_CHAOS_SEED={seed} SAGABOX_CHAOS_ROUNDS={rounds}");
    let mut random = StdRng::seed_from_u64(u64::try_from(seed).expect("a seed fits"));
    let batches = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(load(host.client(), Arc::clone(&batches), Arc::clone(&stop)));
    for _ in 0..rounds {
        let until =
            batches.load(Ordering::Relaxed) + random.random_range(1..=BATCHES_PER_ROUND_MAX);
        wait::until("load on the host", wait::LONG, || async {
            let n = batches.load(Ordering::Relaxed);
            if n >= until { Ok(()) } else { Err(format!("{n} of {until} batches")) }
        })
        .await;
        host.kill_and_start().await;
    }
    stop.store(true, Ordering::Relaxed);
    load.await.expect("the load")
}

#[tokio::test]
async fn killed_under_load_every_command_is_delivered_to_a_sink_recognisably() {
    let sink = Sink::start().await;
    sink.refuse_next(20);
    let toml = format!(
        "[sink.orders]\nurl = \"{}\"\n\n[routes]\n\"InitializeOrder\" = \"orders\"\n",
        sink.url
    );
    let mut host = Host::builder().plugin("order-saga").configuration(toml).start().await;
    let sent = torment(&mut host).await;
    wait::until("every command in the sink", wait::LONG, || async {
        let n = sink.messages().len();
        if n >= sent { Ok(()) } else { Err(format!("{n} of {sent}")) }
    })
    .await;
    host.client().wait_for_balance().await;
    host.client().assert_no_dead_letters().await;
    let messages = sink.messages();
    let carts: BTreeSet<String> =
        messages.values().map(|message| message.data["cartId"].to_string()).collect();
    assert_eq!((messages.len(), carts.len()), (sent, sent), "commands by id, and by cart");
}

#[tokio::test]
async fn killed_under_load_every_command_is_acknowledged_by_a_worker_once() {
    const QUEUE: &str = "InitializeOrder";
    let mut host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let stop = Arc::new(AtomicBool::new(false));
    // A worker counts a message when its acknowledgement was answered.
    let worker = tokio::spawn(work(client, QUEUE, Arc::clone(&stop)));
    let sent = torment(&mut host).await;
    host.client().wait_for_balance().await;
    host.client().wait_for_pending(0).await;
    stop.store(true, Ordering::Relaxed);
    let (seen, settled_twice) = worker.await.expect("the worker");
    assert_eq!(seen.len(), sent);
    assert_eq!(settled_twice, BTreeSet::new(), "acknowledged, and came again");
    host.client().assert_no_dead_letters().await;
}

/// All ids that came, and those that came after they had been acknowledged.
async fn work(
    client: Client,
    queue: &str,
    stop: Arc<AtomicBool>,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut seen, mut settled, mut twice) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    while !stop.load(Ordering::Relaxed) {
        let lease =
            client.lease(queue, 100, Duration::from_millis(500), Duration::from_secs(10)).await;
        let Ok(lease) = lease else {
            tokio::task::yield_now().await;
            continue;
        };
        let ids: Vec<String> = lease.messages.iter().map(|m| m.id().to_owned()).collect();
        twice.extend(ids.iter().filter(|id| settled.contains(*id)).cloned());
        seen.extend(ids.iter().cloned());
        if !ids.is_empty() && client.acknowledge(queue, &lease.lease, None).await.is_ok() {
            settled.extend(ids);
        }
    }
    (seen, twice)
}
