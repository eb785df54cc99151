//! The host's own queues, as a worker sees them.

use std::time::Duration;

use sagabox_tests::client::{Client, Lease, Leased};
use sagabox_tests::events::{cart_finalized, event};
use sagabox_tests::host::Host;
use serde_json::{Value, json};

const QUEUE: &str = "InitializeOrder";
const PAYMENTS: &str = "RequestPayment";
/// Longer than any test runs.
const HELD: Duration = Duration::from_mins(10);
/// As long as a worker would wait for work.
const PATIENT: Duration = Duration::from_secs(20);

async fn host() -> Host {
    Host::builder().plugin("order-saga").start().await
}

async fn lease(client: &Client, queue: &str, max: usize, duration: Duration) -> Lease {
    client.lease(queue, max, PATIENT, duration).await.expect("a lease")
}

/// A lease that does not wait.
async fn look(client: &Client, queue: &str) -> Lease {
    client.lease(queue, 100, Duration::ZERO, HELD).await.expect("a lease")
}

/// The `n`th event of one order; all of them have the same ordering key.
fn order_event(order: &str, n: u64) -> Value {
    let data = json!({"orderId": order, "totalPrice": n});
    event(&format!("{order}-{n}"), "OrderInitialized", order, &data)
}

#[tokio::test]
async fn an_acknowledged_message_never_comes_again() {
    let mut host = host().await;
    let client = host.client();
    client.send(&[cart_finalized("1", "cart-1")]).await;
    let lease = lease(&client, QUEUE, 10, HELD).await;
    assert_eq!(lease.messages.len(), 1);
    assert_eq!(lease.messages[0].attempt, 1);
    assert_eq!(lease.messages[0].data()["cartId"], "cart-1");
    client.acknowledge(QUEUE, &lease.lease, None).await.expect("an acknowledgement");
    assert!(look(&client, QUEUE).await.messages.is_empty());
    host.kill_and_start().await;
    assert!(look(&host.client(), QUEUE).await.messages.is_empty(), "it came again after a crash");
}

#[tokio::test]
async fn a_leased_message_comes_again_after_a_crash_with_the_same_id() {
    let mut host = host().await;
    host.client().send(&[cart_finalized("1", "cart-1")]).await;
    let first = lease(&host.client(), QUEUE, 10, HELD).await;
    host.kill_and_start().await;
    let client = host.client();
    let second = lease(&client, QUEUE, 10, HELD).await;
    assert_eq!(first.messages[0].event, second.messages[0].event);
    let late = client.acknowledge(QUEUE, &json!("no such lease"), None).await;
    assert!(late.is_err(), "a lease that no worker has cannot acknowledge: {late:?}");
}

#[tokio::test]
async fn only_the_named_messages_are_acknowledged() {
    let host = host().await;
    let client = host.client();
    client.send(&[cart_finalized("1", "cart-1"), cart_finalized("2", "cart-2")]).await;
    let mut messages = Vec::new();
    client.wait_for_pending(2).await;
    let held = lease(&client, QUEUE, 10, HELD).await;
    messages.extend(held.messages.iter().map(|message| message.id().to_owned()));
    assert_eq!(messages.len(), 2);
    client.acknowledge(QUEUE, &held.lease, Some(&[&messages[0]])).await.expect("settled");
    client.give_back(QUEUE, &held.lease).await.expect("given back");
    let rest = lease(&client, QUEUE, 10, HELD).await;
    let ids: Vec<&str> = rest.messages.iter().map(sagabox_tests::client::Leased::id).collect();
    assert_eq!(ids, [messages[1].as_str()]);
}

#[tokio::test]
async fn a_repeated_call_gets_the_answer_of_the_first_one() {
    let host = host().await;
    let client = host.client();
    let carts = ["1", "2", "3"].map(|id| cart_finalized(id, &format!("cart-{id}")));
    client.send(&carts).await;
    client.wait_for_pending(3).await;
    let held = lease(&client, QUEUE, 3, HELD).await;
    let ids: Vec<&str> = held.messages.iter().map(Leased::id).collect();
    let acknowledge = async |ids: &[&str]| client.acknowledge(QUEUE, &held.lease, Some(ids)).await;
    let first = acknowledge(&ids[..1]).await.expect("settled");
    let expected =
        |done, already| json!({"done": done, "already": already, "otherwise": [], "unknown": []});
    assert_eq!(first, expected(1, 0));
    assert_eq!(acknowledge(&ids[..1]).await.expect("settled before"), expected(0, 1));
    let mixed = acknowledge(&[ids[0], ids[1], "never"]).await.expect("settled");
    assert_eq!(mixed, json!({"done": 1, "already": 1, "otherwise": [], "unknown": ["never"]}));
    assert_eq!(acknowledge(&ids[2..]).await.expect("settled"), expected(1, 0));
    // The lease has ended with its last message.
    let again = client.acknowledge(QUEUE, &held.lease, None).await.expect("settled before");
    assert_eq!(again, expected(0, 3));
    assert_eq!(acknowledge(&ids).await.expect("settled before"), expected(0, 3));

    client.send(&[cart_finalized("4", "cart-4")]).await;
    let back = lease(&client, QUEUE, 1, HELD).await;
    client.give_back(QUEUE, &back.lease).await.expect("given back");
    let given_back = client.give_back(QUEUE, &back.lease).await.expect("given back before");
    assert_eq!(given_back["already"], 1, "{given_back}");
    let refused = client.acknowledge(QUEUE, &back.lease, None).await.expect_err("it is too late");
    assert!(refused.contains("lease-ended") && refused.contains("1 given back"), "{refused}");
}

#[tokio::test]
async fn a_message_that_is_given_back_comes_as_the_next_attempt() {
    let host = host().await;
    let client = host.client();
    client.send(&[cart_finalized("1", "cart-1")]).await;
    let first = lease(&client, QUEUE, 1, HELD).await;
    client.give_back(QUEUE, &first.lease).await.expect("given back");
    let second = lease(&client, QUEUE, 1, HELD).await;
    assert_eq!(second.messages[0].event, first.messages[0].event);
    assert_eq!(second.messages[0].attempt, 2);
}

#[tokio::test]
async fn a_lease_that_expires_gives_its_messages_to_another() {
    let host = host().await;
    let client = host.client();
    client.send(&[cart_finalized("1", "cart-1")]).await;
    let first = lease(&client, QUEUE, 1, Duration::from_millis(200)).await;
    let second = lease(&client, QUEUE, 1, HELD).await;
    assert_eq!(second.messages[0].event, first.messages[0].event);
    let late = client.acknowledge(QUEUE, &first.lease, None).await;
    let nothing_done = late.as_ref().map_or(true, |answer| answer["done"] == json!(0));
    assert!(nothing_done, "an expired lease acknowledged: {late:?}");
}

#[tokio::test]
async fn the_messages_of_one_key_leave_in_order_to_one_worker_at_a_time() {
    const COUNT: u64 = 20;
    let host = host().await;
    let client = host.client();
    let events: Vec<Value> = (1..=COUNT).map(|n| order_event("order-1", n)).collect();
    client.send(&events).await;

    let first = lease(&client, PAYMENTS, 1, HELD).await;
    client.send(&[order_event("order-2", 1)]).await;
    // Another worker gets another key, and nothing of the one that is out.
    let other = lease(&client, PAYMENTS, 10, HELD).await;
    assert_eq!(other.messages.len(), 1);
    assert_eq!(other.messages[0].data()["orderId"], "order-2");

    let price = |message: &Leased| message.data()["totalPrice"].as_f64();
    let mut prices = vec![price(&first.messages[0])];
    client.acknowledge(PAYMENTS, &first.lease, None).await.expect("settled");
    while prices.len() < usize::try_from(COUNT).expect("a small number") {
        let next = lease(&client, PAYMENTS, 3, HELD).await;
        assert!(!next.messages.is_empty(), "only {} came", prices.len());
        prices.extend(next.messages.iter().map(price));
        client.acknowledge(PAYMENTS, &next.lease, None).await.expect("settled");
    }
    let sent = events.iter().map(|event| event["data"]["totalPrice"].as_f64());
    assert_eq!(prices, sent.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_waiting_worker_gets_the_message_that_comes_meanwhile() {
    let host = host().await;
    let client = host.client();
    let worker = {
        let client = client.clone();
        tokio::spawn(async move { lease(&client, QUEUE, 1, HELD).await })
    };
    client.send(&[cart_finalized("1", "cart-1")]).await;
    assert_eq!(worker.await.expect("the worker").messages.len(), 1);
}
