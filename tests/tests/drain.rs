//! SIGTERM: what was accepted is kept, what is under way ends, the exit code is 0.

use std::collections::BTreeSet;

use sagabox_tests::client::BATCH;
use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;
use serde_json::{Value, json};

#[tokio::test]
async fn an_idle_host_ends_with_status_0_and_keeps_its_messages() {
    let mut host = Host::builder().plugin("order-saga").start().await;
    host.client().send(&[cart_finalized("1", "cart-1")]).await;
    host.terminate().await;
    assert_eq!(host.ended().await.code(), Some(0));
    host.start().await;
    host.client().take_exactly("InitializeOrder", 1).await;
}

#[tokio::test]
async fn every_event_accepted_while_draining_is_handled_after_the_next_start() {
    const BATCHES_BEFORE: usize = 20;
    let mut host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let (count, mut counted) = tokio::sync::watch::channel(0_usize);
    let load = tokio::spawn(async move {
        let mut accepted = BTreeSet::new();
        for batch in 0.. {
            let carts: Vec<String> = (0..10).map(|n| format!("cart-{batch}-{n}")).collect();
            let events: Vec<Value> = carts.iter().map(|cart| cart_finalized(cart, cart)).collect();
            match client.post_events(BATCH, json!(events).to_string()).await {
                Ok(response) if response.status() == 202 => accepted.extend(carts),
                // Refused or cut off: the host is on its way down.
                _ => break,
            }
            count.send_replace(batch + 1);
        }
        accepted
    });
    counted.wait_for(|n| *n >= BATCHES_BEFORE).await.expect("the load runs");
    host.terminate().await;
    assert_eq!(host.ended().await.code(), Some(0));
    let accepted = load.await.expect("the load");

    host.start().await;
    // Sending them all again also shows whether the last batch, whose answer may be lost, was taken.
    let events: Vec<Value> = accepted.iter().map(|cart| cart_finalized(cart, cart)).collect();
    let again = host.client().send(&events).await;
    assert_eq!(again.accepted, 0, "an accepted event was lost");
    host.client().wait_for_balance().await;
    host.client().assert_no_dead_letters().await;
}
