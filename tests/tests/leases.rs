//! Which worker has which messages: over HTTP, on the command line, and on the pages.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use sagabox_tests::client::{Client, Lease, encode};
use sagabox_tests::command::sagabox;
use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;
use sagabox_tests::wait;
use serde_json::{Value, json};

const QUEUE: &str = "InitializeOrder";
/// Longer than any test runs.
const HELD: Duration = Duration::from_mins(10);
const PATIENT: Duration = Duration::from_secs(20);
/// Would change the page, the reading direction of a terminal's line, or the address of a request.
const ODD: &str = "<b>w&1</b> \u{202e}?/%";

async fn start(carts: usize) -> (Host, Client) {
    let host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    send(&client, carts).await;
    (host, client)
}

async fn send(client: &Client, carts: usize) {
    let carts: Vec<Value> =
        (1..=carts).map(|n| cart_finalized(&n.to_string(), &format!("cart-{n}"))).collect();
    client.send(&carts).await;
    wait::until("the messages are in the queue", wait::SOON, async || {
        let queues = client.get("/queues").await?;
        let is_there = queues["queues"][0]["ready"] == json!(carts.len());
        if is_there { Ok(()) } else { Err(queues.to_string()) }
    })
    .await;
}

async fn lease(client: &Client, worker: Option<&str>, max: usize, duration: Duration) -> Lease {
    client.lease_as(worker, QUEUE, max, PATIENT, duration).await.expect("a lease")
}

async fn leases(client: &Client, filter: &str) -> Vec<Value> {
    client.pages(&format!("/queues/leases?{filter}"), "leases").await.expect("the leases")
}

/// The key and the worker of each leased message.
fn who(leases: &[Value]) -> Vec<(&str, Option<&str>)> {
    leases.iter().map(|row| (row["key"].as_str().expect("a key"), row["worker"].as_str())).collect()
}

#[tokio::test]
async fn each_leased_message_and_each_queue_name_their_workers() {
    let (host, client) = start(4).await;
    let first = lease(&client, Some("w-1"), 2, HELD).await;
    lease(&client, Some(ODD), 1, HELD).await;
    lease(&client, None, 1, HELD).await;
    let all = leases(&client, "").await;
    let expected =
        [("cart-1", Some("w-1")), ("cart-2", Some("w-1")), ("cart-3", Some(ODD)), ("cart-4", None)];
    assert_eq!(who(&all), expected);
    let row = &all[0];
    assert_eq!((&row["queue"], &row["plugin"]), (&json!(QUEUE), &json!("order-saga")), "{row}");
    assert_eq!((&row["id"], &row["attempt"]), (&json!(first.messages[0].id()), &json!(1)), "{row}");
    assert_eq!(row["lease"], first.lease, "{row}");
    let time = |name: &str| row[name].as_str().expect("a time").to_owned();
    assert!(time("leased_at") < time("ends_at"), "{row}");
    assert!(!row.to_string().contains("totalPrice"), "no payload: {row}");
    for (filter, count) in [
        ("queue=InitializeOrder&worker=w-1".to_owned(), 2),
        (format!("worker={}", encode(ODD)), 1),
        ("plugin=order-saga&key=cart-4".to_owned(), 1),
        ("queue=Other".to_owned(), 0),
        ("worker=w".to_owned(), 0),
    ] {
        assert_eq!(leases(&client, &filter).await.len(), count, "{filter}");
    }
    let page = client.get("/queues/leases?limit=3").await.expect("a page");
    let after = encode(page["next"].as_str().expect("a second page"));
    let rest = client.get(&format!("/queues/leases?limit=3&after={after}")).await.expect("a page");
    assert_eq!((rest["leases"].as_array().map(Vec::len), &rest["next"]), (Some(1), &Value::Null));

    let queues = client.get("/queues").await.expect("the queues");
    let queue = &queues["queues"][0];
    assert_eq!((&queue["leased"], &queue["worker_count"]), (&json!(4), &json!(3)), "{queue}");
    let workers = queue["workers"].as_array().expect("workers");
    let counted: Vec<_> = workers.iter().map(|own| (&own["worker"], &own["leased"])).collect();
    for expected in [(json!("w-1"), json!(2)), (json!(ODD), json!(1)), (json!(null), json!(1))] {
        assert!(counted.contains(&(&expected.0, &expected.1)), "{queue}");
    }
    let oldest: Vec<_> = workers.iter().map(|own| own["oldest_at"].as_str()).collect();
    assert!(oldest.is_sorted(), "the oldest lease comes first: {queue}");

    let url = host.url();
    let shown = sagabox(host.folder(), &["leases", "--host", &url]).with(0).output;
    assert!(shown.contains("w-1") && shown.contains("<b>w&1</b> \\u{202e}?/%"), "{shown}");
    assert!(!shown.contains('\u{202e}'), "{shown}");
    let json = sagabox(host.folder(), &["leases", "--worker", ODD, "--json", "--host", &url]);
    assert_eq!(json.with(0).json()["leases"][0]["worker"], ODD);
    let shown = sagabox(host.folder(), &["queues", "--host", &url]).with(0).output;
    for part in
        ["InitializeOrder: the worker w-1 has leased 2", "a worker without a name has leased 1"]
    {
        assert!(shown.contains(part), "no {part}: {shown}");
    }
}

#[tokio::test]
async fn a_message_says_which_worker_has_it_until_when_and_then_which_other_one() {
    let (host, client) = start(1).await;
    let delivery = async || {
        let found = client.instance("order-saga", "cart-1").await.expect("a key");
        found["history"][0]["deliveries"][0].clone()
    };
    let why = async || {
        client.get("/instance/why?plugin=order-saga&key=cart-1").await.expect("why")["reasons"][0]
            .clone()
    };
    assert_eq!(delivery().await["status"], "pending");
    let text = why().await["text"].to_string();
    assert!(text.contains("waits for a worker to take it from the queue"), "{text}");
    lease(&client, Some("dead"), 1, Duration::from_millis(300)).await;
    lease(&client, Some(ODD), 1, HELD).await;
    let all = leases(&client, "").await;
    assert_eq!(who(&all), [("cart-1", Some(ODD))], "it is leased to another one");
    let shown = delivery().await;
    let expected = json!({"status": "leased", "worker": ODD, "attempt": 2,
        "leased_at": all[0]["leased_at"], "until": all[0]["ends_at"]});
    for (member, value) in expected.as_object().expect("members") {
        assert_eq!(&shown[member], value, "{shown}");
    }
    let reason = why().await;
    assert_eq!(reason["until"], all[0]["ends_at"], "{reason}");
    let text = reason["text"].as_str().expect("a text");
    assert!(text.contains(&format!("The worker {ODD} has leased the message")), "{text}");

    let url = host.url();
    let shown = sagabox(host.folder(), &["show", "order-saga", "cart-1", "--host", &url]).with(0);
    let line = shown.output.lines().find(|line| line.contains(": leased, sink queue:"));
    let line = line.unwrap_or_else(|| panic!("no delivery: {}", shown.output));
    let end = all[0]["ends_at"].as_str().expect("a time");
    assert!(line.contains("worker <b>w&1</b> \\u{202e}?/%") && line.contains(end), "{line}");
    for path in ["/instance?plugin=order-saga&key=cart-1", "/queues"] {
        let page = html(&host, path).await;
        assert!(page.contains("&#60;b&#62;w&#38;1&#60;/b&#62;"), "{path}: {page}");
        assert!(!page.contains("<b>w"), "{path}: {page}");
    }
}

async fn html(host: &Host, path: &str) -> String {
    let page = reqwest::Client::builder().no_proxy().build().expect("constant settings");
    let page = page.get(format!("{}{path}", host.url())).send().await.expect("a page");
    assert_eq!(page.status(), StatusCode::OK);
    page.text().await.expect("text")
}

#[tokio::test]
async fn a_worker_without_a_name_has_that_of_its_token_and_names_are_bounded() {
    let host = Host::builder().plugin("order-saga").with_tokens().start().await;
    let file = format!("{}.token", host.store().display());
    let secret = std::fs::read_to_string(file).expect("the administrator's token");
    let admin = host.client().with_token(secret.trim());
    send(&admin, 3).await;
    let create = async |body: Value| {
        let answer = admin.request(Method::POST, "/tokens").json(&body).send().await;
        let answer: Value = answer.expect("an answer").json().await.expect("JSON");
        host.client().with_token(answer["token"].as_str().expect("a token"))
    };
    let worker = create(json!({"name": "payments", "roles": ["worker"]})).await;
    lease(&worker, None, 1, HELD).await;
    lease(&worker, Some("payments-7"), 1, HELD).await;
    let all = leases(&admin, "").await;
    assert_eq!(who(&all), [("cart-1", Some("payments")), ("cart-2", Some("payments-7"))]);
    for name in ["", " ", "a\u{1b}[31m", "a\nb", &"x".repeat(129)] {
        let refused = worker.lease_as(Some(name), QUEUE, 1, PATIENT, HELD).await.unwrap_err();
        assert!(refused.contains("422") && refused.contains("worker"), "{name:?}: {refused}");
    }
    // A reader of one plugin names it, and sees no other.
    let reader = create(json!({"name": "r", "roles": ["reader"], "plugins": ["order-saga"]})).await;
    assert!(reader.get("/queues/leases").await.unwrap_err().contains("403"));
    assert_eq!(leases(&reader, "plugin=order-saga").await.len(), 2);
    let refused = reader.get("/queues/leases?plugin=other").await.unwrap_err();
    assert!(refused.contains("403"), "{refused}");
    let unknown = admin.get("/queues/leases?plugin=other").await.unwrap_err();
    assert!(unknown.contains("404"), "{unknown}");
    wait::until("the last message is acknowledged", wait::SOON, async || {
        let last = lease(&worker, None, 1, HELD).await;
        worker.acknowledge(QUEUE, &last.lease, None).await
    })
    .await;
    assert_eq!(leases(&admin, "").await.len(), 2, "what is acknowledged is no longer leased");
}
