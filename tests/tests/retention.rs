//! What is done with goes when its time is up; sums and guarantees stay.

use sagabox_tests::client::Client;
use sagabox_tests::events::event;
use sagabox_tests::host::Host;
use sagabox_tests::wait;
use serde_json::{Value, json};

const GROUPS: usize = 700;
const PLUGIN: &str = "group-checkout";

fn initiated(group: usize) -> Value {
    let (id, group) = (format!("i-{group}"), format!("g-{group}"));
    let data = json!({"groupCheckoutId": group, "guestStayIds": ["s-1"]});
    event(&id, "GroupCheckoutInitiated", &group, &data)
}

fn completed(group: usize) -> Value {
    let (id, group) = (format!("c-{group}"), format!("g-{group}"));
    let data = json!({"groupCheckoutId": group, "guestStayId": "s-1"});
    event(&id, "GuestCheckoutCompleted", &group, &data)
}

async fn finish_groups(client: &Client) {
    client.send(&(0..GROUPS).map(initiated).collect::<Vec<_>>()).await;
    client.send(&[initiated(GROUPS)]).await;
    client.send(&(0..GROUPS).map(completed).collect::<Vec<_>>()).await;
    client.take_exactly("CheckoutGuestAccount", GROUPS + 1).await;
    client.take_exactly("CompleteGroupCheckout", GROUPS).await;
}

/// More than one step of the removal.
#[tokio::test]
async fn what_is_done_with_goes_and_what_runs_stays() {
    let mut host = Host::builder()
        .plugin(PLUGIN)
        .configuration(
            "[retention]\nhistory = \"100ms\"\nfinished = \"100ms\"\ninterval = \"50ms\"\n",
        )
        .start()
        .await;
    let client = host.client();
    finish_groups(&client).await;
    wait::until("finished instances gone", wait::LONG, || async {
        match client.instances(PLUGIN, "completed").await?.len() {
            0 => Ok(()),
            n => Err(format!("{n} are still there")),
        }
    })
    .await;
    // The events that it was decided by are old, its state is not.
    wait::until("no history left", wait::LONG, || async {
        let detail = client.instance(PLUGIN, &format!("g-{GROUPS}")).await?;
        match detail["history"].as_array() {
            Some(history) if history.is_empty() => Ok(()),
            _ => Err(detail.to_string()),
        }
    })
    .await;
    let running = client.instances(PLUGIN, "running").await.expect("a list");
    assert_eq!(running.len(), 1, "{running:?}");
    client.wait_for_balance().await;

    host.kill().await;
    host.start().await;
    let client = host.client();
    client.wait_for_balance().await;
    let accounts = client.get("/accounts").await.expect("the accounts");
    assert_eq!(accounts["events"].as_u64(), Some(2 * GROUPS as u64 + 1), "{accounts}");
    let again = client.send(&[initiated(0), completed(1), initiated(GROUPS)]).await;
    assert_eq!(again.accepted, 0, "they are known longer than they are kept");
    client.send(&[completed(GROUPS)]).await;
    client.take_exactly("CompleteGroupCheckout", 1).await;
    client.assert_no_dead_letters().await;
}
