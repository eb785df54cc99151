//! Holding work back: pauses, limits and attempts before their time, as an operator, a sender and a
//! worker see them.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use sagabox_tests::client::{Client, Lease};
use sagabox_tests::command::sagabox;
use sagabox_tests::events::{cart_finalized, event};
use sagabox_tests::host::Host;
use sagabox_tests::sink::Sink;
use sagabox_tests::wait;
use serde_json::{Value, json};

/// The command that each finalized cart leads to, and its queue.
const COMMAND: &str = "InitializeOrder";
const PAYMENTS: &str = "RequestPayment";
/// Longer than any test runs.
const HELD: Duration = Duration::from_mins(10);

async fn post(client: &Client, path: &str, body: &Value) -> (StatusCode, Value) {
    let response = client.request(Method::POST, path).json(body).send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.expect("JSON"))
}

async fn done(client: &Client, path: &str, body: &Value) -> Value {
    let (status, answer) = post(client, path, body).await;
    assert_eq!(status, StatusCode::OK, "{path} {body}: {answer}");
    answer
}

/// Sends an event once, whatever the host answers.
async fn send_late(client: &Client) -> reqwest::Result<reqwest::Response> {
    let event = cart_finalized("late", "ada");
    client.post_events("application/cloudevents+json", event.to_string()).await
}

/// Carts of two customers, in turns.
fn carts(count: usize) -> Vec<Value> {
    (0..count).map(|n| cart_finalized(&format!("e-{n}"), ["ada", "bob"][n % 2])).collect()
}

async fn wait_for_account(client: &Client, list: &str, name: &str, count: u64) {
    wait::until(&format!("{count} {name}"), wait::SOON, async || {
        let accounts = client.get("/accounts").await?;
        let found = accounts[list][0][name].as_u64();
        if found == Some(count) { Ok(()) } else { Err(accounts.to_string()) }
    })
    .await;
}

async fn look(client: &Client, max: usize) -> Lease {
    client.lease(COMMAND, max, Duration::ZERO, HELD).await.expect("a lease")
}

/// Waits for a lease of so many messages.
async fn lease_of(client: &Client, count: usize) -> Lease {
    let lease = client.lease(COMMAND, 100, Duration::from_secs(20), HELD).await.expect("a lease");
    assert_eq!(lease.messages.len(), count);
    lease
}

#[tokio::test]
async fn a_sink_stays_paused_after_a_crash_and_delivers_each_once_when_it_is_resumed() {
    let sink = Sink::start().await;
    let configuration =
        format!("[sink.shop]\nurl = \"{}\"\n[routes]\n{COMMAND} = \"shop\"", sink.url);
    let mut host = Host::builder().plugin("order-saga").configuration(configuration).start().await;
    let client = host.client();
    let url = host.url();
    let arguments = ["pause", "sink", "shop", "--reason", "the shop is rebuilt", "--host", &url];
    let paused = sagabox(host.folder(), &arguments).with(0).output;
    assert_eq!(paused.trim(), "sink shop is paused");
    client.send(&carts(10)).await;
    wait_for_account(&client, "sinks", "pending", 10).await;
    host.kill_and_start().await;
    let client = host.client();
    let pauses = wait::until("what waits", wait::SOON, async || {
        let pauses = client.get("/pauses").await?;
        if pauses["pauses"][0]["waiting"] == 10 { Ok(pauses) } else { Err(pauses.to_string()) }
    })
    .await;
    let pause = &pauses["pauses"][0];
    assert_eq!(pause["target"], json!({"kind": "sink", "sink": "shop"}));
    assert_eq!((&pause["reason"], &pause["until"]), (&json!("the shop is rebuilt"), &Value::Null));
    assert!(pause["oldest_at"].is_string(), "{pause}");
    let accounts = client.get("/accounts").await.expect("the accounts");
    assert_eq!(accounts["paused"][0]["name"], "shop", "{accounts}");
    let metrics = client.text("/metrics").await.expect("metrics");
    for line in [
        r#"sagabox_paused{kind="sink",name="shop"} 1"#,
        r#"sagabox_paused_waiting{kind="sink",name="shop"} 10"#,
    ] {
        assert!(metrics.lines().any(|own| own == line), "{line} is not in {metrics}");
    }
    assert_eq!(sink.requests().len(), 0, "it is paused");

    let url = host.url();
    let listed = sagabox(host.folder(), &["pause", "--host", &url]).with(0).output;
    assert!(listed.contains("sink shop") && listed.contains("the shop is rebuilt"), "{listed}");
    let resumed = sagabox(host.folder(), &["resume", "sink", "shop", "--host", &url]).with(0);
    assert_eq!(resumed.output.trim(), "sink shop is resumed");
    wait::until("deliveries", wait::SOON, async || {
        let found = sink.deliveries().len();
        if found == 10 { Ok(()) } else { Err(format!("{found} of 10")) }
    })
    .await;
    client.wait_for_balance().await;
    assert_eq!((sink.messages().len(), sink.deliveries().len()), (10, 10), "each once");
    let (status, answer) =
        post(&client, "/pauses/resume", &json!({"target": {"kind": "ingest"}})).await;
    assert_eq!((status, answer["status"].as_u64()), (StatusCode::CONFLICT, Some(409)), "{answer}");
}

#[tokio::test]
async fn a_paused_key_waits_alone_and_goes_on_in_its_order() {
    let mut host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let target = json!({"kind": "key", "plugin": "order-saga", "key": "ada"});
    done(&client, "/pauses", &json!({"target": target, "reason": "ada asked"})).await;
    let orders = |order: &str, numbers: std::ops::Range<u64>| -> Vec<Value> {
        let order = |n| {
            let data = json!({"orderId": order, "totalPrice": n});
            event(&format!("{order}-{n}"), "OrderInitialized", order, &data)
        };
        numbers.map(order).collect()
    };
    client.send(&orders("ada", 0..5)).await;
    client.send(&orders("bob", 0..5)).await;
    wait_for_account(&client, "plugins", "parked", 5).await;
    let payments = async |client: &Client, count: usize| -> Vec<f64> {
        wait_for_account(client, "sinks", "pending", count as u64).await;
        let lease = client.lease(PAYMENTS, 100, Duration::from_secs(20), HELD).await;
        let lease = lease.expect("a lease");
        let orders = lease.messages.iter().map(|message| message.data()["orderId"].clone());
        let prices = lease.messages.iter().map(|message| message.data()["totalPrice"].as_f64());
        let of_ada = orders.zip(prices).filter(|(order, _)| order == "ada");
        of_ada.filter_map(|(_, price)| price).collect()
    };
    assert_eq!(payments(&client, 5).await, Vec::<f64>::new(), "they are bob's");
    host.kill_and_start().await;
    let client = host.client();
    client.send(&orders("ada", 5..6)).await;
    wait_for_account(&client, "plugins", "parked", 6).await;
    let pauses = client.get("/pauses").await.expect("the pauses");
    assert_eq!(pauses["pauses"][0]["waiting"], 6, "{pauses}");
    done(&client, "/pauses/resume", &json!({"target": target})).await;
    wait_for_account(&client, "plugins", "parked", 0).await;
    let expected: Vec<f64> = (0..6).map(f64::from).collect();
    assert_eq!(payments(&client, 11).await, expected);
    client.wait_for_balance().await;
}

#[tokio::test]
async fn the_door_answers_senders_with_the_reason_and_workers_continue() {
    let mut host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    client.send(&carts(2)).await;
    let lease = lease_of(&client, 2).await;
    let door = json!({"kind": "ingest"});
    done(&client, "/pauses", &json!({"target": door, "reason": "a migration"})).await;
    host.kill_and_start().await;
    let client = host.client();
    let response = send_late(&client).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let problem: Value = response.json().await.expect("a problem");
    assert_eq!(problem["type"], "urn:sagabox:problem:paused");
    assert!(
        problem["detail"].as_str().is_some_and(|text| text.contains("a migration")),
        "{problem}"
    );
    let ready = client.request(Method::GET, "/readyz").send().await.expect("an answer");
    assert_eq!(ready.status(), StatusCode::OK, "workers go on");
    drop(lease);
    let again = lease_of(&client, 2).await;
    client.acknowledge(COMMAND, &again.lease, None).await.expect("an acknowledgement");

    // It ends by itself.
    let ends = json!({"target": door, "reason": "nearly done", "for": "300ms"});
    let set = done(&client, "/pauses", &ends).await;
    assert!(set["until"].is_string(), "{set}");
    wait::until("the end of the pause", wait::SOON, async || {
        match send_late(&client).await.map_err(|error| error.to_string())?.status() {
            StatusCode::ACCEPTED => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
    assert_eq!(client.get("/pauses").await.expect("the pauses")["pauses"], json!([]));
    client.wait_for_balance().await;
}

#[tokio::test]
async fn limits_are_kept_also_after_a_crash() {
    let mut host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let queue = json!({"kind": "type", "type": COMMAND});
    let limit = |numbers: &Value| {
        let mut body = json!({"target": queue, "reason": "the workers are slow"});
        body.as_object_mut().expect("an object").extend(numbers.as_object().expect("it").clone());
        body
    };
    done(&client, "/limits", &limit(&json!({"in_flight": 3}))).await;
    client.send(&carts(10)).await;
    wait_for_account(&client, "sinks", "pending", 10).await;
    host.kill_and_start().await;
    let client = host.client();
    let lease = lease_of(&client, 3).await;
    assert!(look(&client, 100).await.messages.is_empty(), "three are in flight");
    let one = lease.messages[0].id().to_owned();
    client.acknowledge(COMMAND, &lease.lease, Some(&[one.as_str()])).await.expect("it is taken");
    assert_eq!(lease_of(&client, 1).await.messages.len(), 1);
    // One for each key: two keys.
    done(&client, "/limits", &limit(&json!({"concurrency": 1}))).await;
    host.kill_and_start().await;
    let client = host.client();
    let lease = lease_of(&client, 2).await;
    client.acknowledge(COMMAND, &lease.lease, None).await.expect("they are taken");
    done(&client, "/limits", &limit(&json!({"per_second": 0.001}))).await;
    assert_eq!(lease_of(&client, 1).await.messages.len(), 1);
    assert!(look(&client, 100).await.messages.is_empty(), "the next is due in a thousand seconds");
    let limits = client.get("/limits").await.expect("the limits");
    assert_eq!(limits["limits"][0]["per_second"], 0.001, "{limits}");
    done(&client, "/limits", &limit(&json!({}))).await;
    assert!(!look(&client, 100).await.messages.is_empty(), "nothing limits them");
    for (body, attribute) in [
        (limit(&json!({"in_flight": 0})), "in_flight"),
        (limit(&json!({"per_second": -1})), "per_second"),
        (json!({"target": {"kind": "ingest"}, "reason": "x", "in_flight": 1}), "target"),
        (json!({"target": queue, "in_flight": 1}), "reason"),
    ] {
        let (status, answer) = post(&client, "/limits", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {answer}");
        assert_eq!(answer["attribute"], attribute, "{answer}");
    }
}

#[tokio::test]
async fn a_sink_that_is_down_is_tried_when_an_operator_says_so() {
    let sink = Sink::start().await;
    sink.answer_with(Some(StatusCode::SERVICE_UNAVAILABLE));
    let configuration = format!(
        "[retry]\ndelay_ms_min = 600000\ndelay_ms_max = 600000\n[sink.shop]\nurl = \"{}\"\n\
         [routes]\n{COMMAND} = \"shop\"",
        sink.url
    );
    let host = Host::builder().plugin("order-saga").configuration(configuration).start().await;
    let client = host.client();
    let events: Vec<Value> =
        (0..8).map(|n| cart_finalized(&format!("e-{n}"), &format!("c-{n}"))).collect();
    client.send(&events).await;
    wait::until("a sink that is down", wait::SOON, async || {
        let status = client.text("/metrics").await?;
        match status.contains("sagabox_sink_down{sink=\"shop\"} 1") {
            true => Ok(()),
            false => Err(status),
        }
    })
    .await;
    sink.answer_with(None);
    wait::until("deliveries", wait::SOON, async || {
        let url = host.url();
        let retry = ["retry", "now", "sink", "shop", "--host", &url];
        let answer = sagabox(host.folder(), &retry).with(0).output;
        assert!(answer.contains("now") || answer.contains("nothing waits"), "{answer}");
        let found = sink.messages().len();
        if found == 8 { Ok(()) } else { Err(format!("{found} of 8")) }
    })
    .await;
    client.wait_for_balance().await;
    let (status, answer) = post(&client, "/retries", &json!({"plugin": "order-saga"})).await;
    assert_eq!((status, &answer["attribute"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("key")));
}

#[tokio::test]
async fn who_paused_what_and_why_is_in_the_audit_log() {
    let host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let body = json!({"target": {"kind": "plugin", "plugin": "order-saga"}, "by": "ada",
                      "reason": "it runs wild"});
    let set = done(&client, "/pauses", &body).await;
    assert_eq!((&set["by"], &set["target"]["plugin"]), (&json!("ada"), &json!("order-saga")));
    let audit = client.get("/audit").await.expect("the audit log");
    let entry = &audit["entries"][0];
    assert_eq!(
        (&entry["action"], &entry["reason"]),
        (&json!("POST /v1/pauses"), &json!("it runs wild")),
        "{audit}"
    );
    client.send(&carts(4)).await;
    let pauses = wait::until("what waits", wait::SOON, async || {
        let pauses = client.get("/pauses").await?;
        if pauses["pauses"][0]["waiting"] == 4 { Ok(pauses) } else { Err(pauses.to_string()) }
    })
    .await;
    assert!(pauses["pauses"][0]["oldest_at"].is_string(), "{pauses}");
    assert!(look(&client, 100).await.messages.is_empty(), "nothing is decided");
    let (status, _) = post(
        &client,
        "/pauses",
        &json!({"target": {"kind": "plugin", "plugin": "unknown"}, "reason": "x"}),
    )
    .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    done(&client, "/pauses/resume", &json!({"target": body["target"]})).await;
    wait_for_account(&client, "sinks", "pending", 4).await;
    lease_of(&client, 4).await;
}
