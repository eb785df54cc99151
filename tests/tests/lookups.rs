//! Lookups as an operator sees them: one that is down costs no event, and shows.

use sagabox_tests::client::Client;
use sagabox_tests::command::sagabox;
use sagabox_tests::events::event;
use sagabox_tests::host::Host;
use sagabox_tests::lookup::Lookup;
use sagabox_tests::sink::StatusCode;
use sagabox_tests::wait;
use serde_json::{Value, json};

/// Far fewer attempts than questions while the lookup is down.
const RETRY: &str = "[retry]\nattempts = 3\ndelay_ms_min = 20\ndelay_ms_max = 100\n";
/// The command that each payment of something in stock leads to.
const COMMAND: &str = "SendPackage";

async fn host(lookup: &Lookup) -> Host {
    let configuration = format!(
        "{RETRY}[lookup.stock]\nurl = \"{}\"\nplugins = [\"shipment\"]\n",
        lookup.template()
    );
    Host::builder().plugin("shipment").configuration(configuration).start().await
}

/// Payments, each of its own order.
fn paid(count: usize) -> Vec<Value> {
    let paid = |n: usize| {
        let order = format!("order-{n}");
        let items = json!([{"productId": format!("mug-{n}"), "quantity": 1}]);
        let data = json!({"orderId": order, "productItems": items});
        event(&format!("e-{n}"), "PaymentCompleted", &order, &data)
    };
    (0..count).map(paid).collect()
}

async fn wait_for_down(client: &Client) -> Value {
    wait::until("a lookup that is down", wait::SOON, async || {
        let lookups = client.get("/lookups").await?;
        lookups["lookups_down"].get(0).cloned().ok_or_else(|| lookups.to_string())
    })
    .await
}

#[tokio::test]
async fn a_lookup_that_is_down_and_comes_back_costs_no_event() {
    for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::INTERNAL_SERVER_ERROR] {
        let lookup = Lookup::start(json!({"available": 5})).await;
        lookup.answer_with(status);
        let host = host(&lookup).await;
        let client = host.client();
        client.send(&paid(300)).await;
        let down = wait_for_down(&client).await;
        assert_eq!(down["lookup"], "stock");
        let reason = down["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(&format!("answered {status}")), "{down}");
        let shown = sagabox(host.folder(), &["lookups", "--host", &host.url()]).with(0);
        assert!(shown.output.contains("stock"), "{}", shown.output);
        let metrics = client.text("/metrics").await.expect("the metrics");
        assert!(metrics.contains("sagabox_lookup_down{lookup=\"stock\"} 1"), "{metrics}");
        wait::until("more probes than attempts", wait::SOON, async || {
            let asked = lookup.asked().len();
            if asked >= 15 { Ok(()) } else { Err(format!("{asked} questions")) }
        })
        .await;
        client.assert_no_dead_letters().await;
        assert!(lookup.asked().len() < 100, "{} questions", lookup.asked().len());
        lookup.answer_with(StatusCode::OK);
        assert_eq!(client.take_exactly(COMMAND, 300).await.len(), 300);
        client.assert_no_dead_letters().await;
        assert_eq!(client.get("/lookups").await.unwrap(), json!({"lookups_down": []}));
        client.wait_for_balance().await;
    }
}

#[tokio::test]
async fn a_lookup_that_cannot_be_reached_costs_no_event_also_if_the_host_dies_meanwhile() {
    let mut lookup = Lookup::start(json!({"available": 5})).await;
    lookup.stop().await;
    let mut host = host(&lookup).await;
    host.client().send(&paid(50)).await;
    wait_for_down(&host.client()).await;
    host.kill_and_start().await;
    wait_for_down(&host.client()).await;
    host.client().assert_no_dead_letters().await;
    lookup.start_again().await;
    assert_eq!(host.client().take_exactly(COMMAND, 50).await.len(), 50);
    host.client().assert_no_dead_letters().await;
}

/// A long pause of one key is a row of the store: everything else goes on, a crash keeps its
/// date, and operators see it.
#[tokio::test]
async fn a_key_whose_lookup_asks_for_a_pause_waits_alone_and_survives_a_crash() {
    let lookup = Lookup::start(json!({"available": 5})).await;
    lookup.pause_next("mug-3", 3_600);
    lookup.pause_next("mug-5", 2);
    let mut host = host(&lookup).await;
    host.client().send(&paid(100)).await;
    assert_eq!(host.client().take_exactly(COMMAND, 98).await.len(), 98);
    host.client().wait_for_balance().await;
    let wait = async |client: &Client| {
        let instance = client.instance("shipment", "order-3").await.expect("it is known");
        instance["wait"].clone()
    };
    let before = wait(&host.client()).await;
    let at = |name: &str| -> jiff::Timestamp {
        before[name].as_str().expect("a time").parse().expect("RFC 3339")
    };
    let pause = at("until").duration_since(at("since")).as_millis();
    assert!((3_599_000..=3_600_000).contains(&pause), "{before}");
    assert!(before["reason"].as_str().is_some_and(|it| it.contains("answered 503")), "{before}");
    host.kill_and_start().await;
    assert_eq!(host.client().take_exactly(COMMAND, 1).await.len(), 1, "that of two seconds");
    assert_eq!(wait(&host.client()).await, before);
    let asked = lookup.asked().iter().filter(|path| *path == "/mug-3").count();
    assert_eq!(asked, 1, "it is not asked before its time");
    host.client().assert_no_dead_letters().await;
    host.client().wait_for_balance().await;
}

/// The answer is about one key: the others go on, and the lookup works.
#[tokio::test]
async fn what_a_lookup_refuses_is_a_dead_letter_of_its_key_alone() {
    let lookup = Lookup::start(json!({"available": 5})).await;
    lookup.answer_with(StatusCode::UNPROCESSABLE_ENTITY);
    let host = host(&lookup).await;
    let client = host.client();
    client.send(&paid(7)).await;
    wait::until("dead letters", wait::SOON, async || {
        let dead_letters = client.dead_letters().await?;
        if dead_letters.len() == 7 { Ok(()) } else { Err(format!("{dead_letters:?}")) }
    })
    .await;
    assert_eq!(lookup.asked().len(), 7);
    assert_eq!(client.get("/lookups").await.unwrap(), json!({"lookups_down": []}));
}
