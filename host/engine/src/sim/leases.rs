//! Tests of what people see of the leases of a queue: which worker has which message, since when and
//! until when.

use std::time::Duration;

use super::small::{COMMAND, keys, send, start};
use super::world::START;
use crate::engine::{Engine, Settings};
use crate::model::{Lease, LeaseFilter, LeaseRequest, Selection, Sequence, Timestamp};
use crate::seams::store::memory::MemoryStore;

async fn lease(engine: &Engine, worker: Option<&str>, max: usize, seconds: u64) -> Lease {
    let (wait, duration) = (Duration::from_secs(30), Duration::from_secs(seconds));
    let worker = worker.map(Into::into);
    engine.lease(COMMAND, LeaseRequest { max, wait, duration, worker }).await.expect("a lease")
}

/// Whole seconds since the start of the test.
fn seconds(at: Timestamp) -> u64 {
    (at.0 - START) / 1_000
}

/// Each leased message as `key worker attempt begin end`.
async fn listed(engine: &Engine, filter: LeaseFilter) -> Vec<String> {
    let row = |own: crate::model::LeasedMessage| {
        let (key, worker) = (&own.leased.message.key, own.worker.as_deref().unwrap_or("-"));
        let (begin, end) = (seconds(own.leased_at), seconds(own.ends_at));
        format!("{key} {worker} {} {begin} {end}", own.leased.attempt)
    };
    engine.leases(Some(COMMAND), &filter, None, 100).await.into_iter().map(row).collect()
}

/// Each worker as `name messages oldest next-end seen`.
async fn workers(engine: &Engine) -> Vec<String> {
    let status = engine.status().await;
    let queue = status.queues.into_iter().find(|queue| queue.queue == COMMAND).expect("the queue");
    let workers = queue.workers.into_iter().map(|own| {
        let name = own.worker.as_deref().unwrap_or("-").to_owned();
        let (oldest, end, seen) =
            (seconds(own.oldest_at), seconds(own.next_end_at), seconds(own.seen_at));
        format!("{name} {} {oldest} {end} {seen}", own.messages)
    });
    workers.collect()
}

#[tokio::test(start_paused = true)]
async fn each_leased_message_names_its_worker_and_each_worker_its_leases() {
    let engine = start(&MemoryStore::new(), None, Settings::default()).await;
    send(&engine, &keys(5)).await;
    lease(&engine, Some("a"), 1, 600).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    lease(&engine, Some("b"), 1, 600).await;
    let second = lease(&engine, Some("a"), 2, 30).await;
    lease(&engine, None, 1, 600).await;
    let all = ["k0 a 1 0 600", "k1 b 1 10 610", "k2 a 1 10 40", "k3 a 1 10 40", "k4 - 1 10 610"];
    assert_eq!(listed(&engine, LeaseFilter::default()).await, all);
    let of_worker = LeaseFilter { worker: Some("a".to_owned()), ..LeaseFilter::default() };
    assert_eq!(listed(&engine, of_worker).await, [all[0], all[2], all[3]]);
    let of_key = LeaseFilter { key: Some("k4".into()), ..LeaseFilter::default() };
    assert_eq!(listed(&engine, of_key).await, [all[4]]);
    let of_plugin = LeaseFilter { plugin: Some("other".into()), ..LeaseFilter::default() };
    assert_eq!(listed(&engine, of_plugin).await, [""; 0]);
    assert_eq!(workers(&engine).await, ["a 3 0 40 10", "- 1 10 610 10", "b 1 10 610 10"]);

    // A request about a lease shows that its worker works on it, and a longer lease ends later.
    tokio::time::sleep(Duration::from_secs(5)).await;
    engine.extend(COMMAND, second.id, Duration::from_secs(60)).await.expect("extended");
    assert_eq!(workers(&engine).await[0], "a 3 0 75 15");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let first = Selection::Ids(vec![second.messages[0].message.id()]);
    engine.acknowledge(COMMAND, second.id, first).await.expect("acknowledged");
    assert_eq!(workers(&engine).await[0], "a 2 0 75 20");
    engine.acknowledge(COMMAND, second.id, Selection::All).await.expect("acknowledged");
    assert_eq!(workers(&engine).await[0], "a 1 0 600 0");
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_lease_expired_shows_the_worker_that_has_it_now() {
    let engine = start(&MemoryStore::new(), None, Settings::default()).await;
    send(&engine, &keys(1)).await;
    lease(&engine, Some("dead"), 1, 5).await;
    assert_eq!(listed(&engine, LeaseFilter::default()).await, ["k0 dead 1 0 5"]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(listed(&engine, LeaseFilter::default()).await, [""; 0]);
    assert_eq!(workers(&engine).await, [""; 0], "the name of a worker goes with its last lease");
    lease(&engine, Some("alive"), 1, 5).await;
    assert_eq!(listed(&engine, LeaseFilter::default()).await, ["k0 alive 2 6 11"]);
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn leased_messages_are_read_page_by_page() {
    let engine = start(&MemoryStore::new(), None, Settings::default()).await;
    send(&engine, &keys(5)).await;
    for _ in 0..5 {
        lease(&engine, Some("a"), 1, 600).await;
    }
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = engine.leases(None, &LeaseFilter::default(), after.as_ref(), 2).await;
        let Some(last) = page.last() else { break };
        after = Some(last.place());
        found.extend(page.iter().map(|own| own.leased.message.sequence));
    }
    assert_eq!(found, (1..=5).map(Sequence).collect::<Vec<_>>());
    let elsewhere = engine.leases(Some("other"), &LeaseFilter::default(), None, 2).await;
    assert!(elsewhere.is_empty());
    engine.drain().await;
}
