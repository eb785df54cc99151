//! The door: each mode of the `CloudEvents` HTTP binding, and each refusal as problem details.

use reqwest::{Method, StatusCode};
use sagabox_tests::client::{Accepted, BATCH, Client, PROBLEM, STRUCTURED};
use sagabox_tests::command::sagabox;
use sagabox_tests::events::{cart_finalized, event};
use sagabox_tests::host::Host;
use sagabox_tests::lookup::Lookup;
use serde_json::{Value, json};

const JSON: &str = "application/json";
/// What a binary-mode request needs.
const HEADERS: [(&str, &str); 4] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "b-1"),
    ("ce-source", "/test"),
    ("ce-type", "CartFinalized"),
];

async fn binary(client: &Client, headers: &[(&str, &str)], body: String) -> reqwest::Response {
    let mut request = client.request(Method::POST, "/events").header("content-type", JSON);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).send().await.expect("an answer")
}

#[track_caller]
fn check_accepted(status: StatusCode, text: &str, accepted: usize, duplicates: usize) {
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    let answer: Accepted = serde_json::from_str(text).expect("the answer is JSON");
    assert_eq!(answer, Accepted { accepted, duplicates });
}

#[tokio::test]
async fn every_mode_is_accepted_and_the_same_event_in_another_mode_is_a_duplicate() {
    let host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let event = cart_finalized("b-1", "cart-1");

    let data = event["data"].to_string();
    let response = binary(&client, &HEADERS, data).await;
    check_accepted(response.status(), &response.text().await.unwrap(), 1, 0);

    let response = client.post_events(STRUCTURED, event.to_string()).await.unwrap();
    check_accepted(response.status(), &response.text().await.unwrap(), 0, 1);

    let batch = json!([event, cart_finalized("b-2", "cart-2"), cart_finalized("b-2", "cart-2")]);
    let response = client.post_events(BATCH, batch.to_string()).await.unwrap();
    check_accepted(response.status(), &response.text().await.unwrap(), 1, 2);

    let response = client.post_events(BATCH, "[]").await.unwrap();
    check_accepted(response.status(), &response.text().await.unwrap(), 0, 0);

    client.take_exactly("InitializeOrder", 2).await;
}

/// The body cannot be read at all.
const MALFORMED: u16 = 400;
/// The body can be read, and an event in it is at fault.
const NOT_AN_EVENT: u16 = 422;

/// Sends a body that must be refused; the refusal must name what is wrong.
async fn check_refused(client: &Client, kind: &str, body: String, status: u16, names: &str) {
    let shown: String = body.chars().take(120).collect();
    let response = client.post_events(kind, body).await.expect("an answer");
    check_problem(response, status, names, &shown).await;
}

async fn check_problem(response: reqwest::Response, status: u16, names: &str, shown: &str) {
    let got = response.status();
    let content_type = response.headers().get("content-type").cloned();
    let text = response.text().await.expect("a body");
    assert_eq!(got.as_u16(), status, "for {shown}: {text}");
    let content_type = content_type.expect("a content type");
    assert!(content_type.to_str().unwrap().starts_with(PROBLEM), "{content_type:?} for {shown}");
    let problem: Value = serde_json::from_str(&text).expect("problem details are JSON");
    assert_eq!(problem["status"], status, "{text}");
    assert!(problem["title"].is_string(), "{text}");
    assert!(text.contains(names), "`{names}` is not named for {shown}: {text}");
}

fn without(attribute: &str) -> Value {
    let mut event = cart_finalized("r-1", "cart-1");
    event.as_object_mut().expect("an object").remove(attribute);
    event
}

fn with(attribute: &str, value: Value) -> Value {
    let mut event = cart_finalized("r-1", "cart-1");
    event[attribute] = value;
    event
}

#[tokio::test]
async fn what_is_no_event_is_refused_and_named() {
    let host = Host::builder().start().await;
    let client = host.client();
    for attribute in ["id", "source", "type", "specversion"] {
        let event = without(attribute);
        check_refused(&client, STRUCTURED, event.to_string(), NOT_AN_EVENT, attribute).await;
        check_refused(&client, BATCH, json!([event]).to_string(), NOT_AN_EVENT, attribute).await;
    }
    for (attribute, value) in [
        ("id", json!("")),
        ("id", json!(7)),
        ("specversion", json!("0.3")),
        ("time", json!("yesterday")),
        ("Bad-Name", json!("x")),
        ("data_base64", json!("AA==")),
        ("type", json!("sagabox.timer.fired")),
    ] {
        let event = with(attribute, value).to_string();
        check_refused(&client, STRUCTURED, event, NOT_AN_EVENT, attribute).await;
    }
    for body in ["", "{", "[{}"] {
        check_refused(&client, STRUCTURED, body.to_owned(), MALFORMED, "JSON").await;
        check_refused(&client, BATCH, body.to_owned(), MALFORMED, "JSON").await;
    }
    check_refused(&client, BATCH, "[7]".to_owned(), NOT_AN_EVENT, "").await;
    let event = cart_finalized("r-1", "cart-1").to_string();
    check_refused(&client, "application/xml", event, 415, "").await;
}

#[tokio::test]
async fn binary_mode_names_the_header_that_is_missing_or_wrong() {
    let host = Host::builder().start().await;
    let client = host.client();
    for left_out in ["ce-id", "ce-source", "ce-type"] {
        let headers: Vec<_> = HEADERS.into_iter().filter(|(name, _)| *name != left_out).collect();
        let response = binary(&client, &headers, "{}".to_owned()).await;
        check_problem(response, NOT_AN_EVENT, &left_out["ce-".len()..], left_out).await;
    }
    let headers: Vec<_> = HEADERS.into_iter().chain([("ce-time", "noon")]).collect();
    let response = binary(&client, &headers, "{}".to_owned()).await;
    check_problem(response, NOT_AN_EVENT, "time", "ce-time: noon").await;
}

#[tokio::test]
async fn one_bad_event_refuses_its_whole_batch() {
    let host = Host::builder().start().await;
    let client = host.client();
    let good = cart_finalized("w-1", "cart-1");
    let batch = json!([good, without("id")]);
    check_refused(&client, BATCH, batch.to_string(), NOT_AN_EVENT, "id").await;
    let sent = client.send(&[good]).await;
    assert_eq!(sent, Accepted { accepted: 1, duplicates: 0 }, "the good one was not taken before");
}

#[tokio::test]
async fn a_body_beyond_every_limit_is_refused_and_the_host_goes_on() {
    const BYTES: usize = 128 * 1024 * 1024;
    let host = Host::builder().start().await;
    let client = host.client();
    let response = client.post_events(STRUCTURED, vec![b' '; BYTES]).await;
    // The host may answer, or close the connection while the body is still on its way.
    if let Ok(response) = response {
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(client.send(&[cart_finalized("l-1", "cart-1")]).await.accepted, 1);
}

#[tokio::test]
async fn other_paths_and_methods_answer_with_problem_details() {
    let host = Host::builder().start().await;
    let client = host.client();
    let response = client.request(Method::GET, "/nothing-here").send().await.unwrap();
    check_problem(response, 404, "", "GET /nothing-here").await;
    let response = client.request(Method::DELETE, "/events").send().await.unwrap();
    check_problem(response, 405, "", "DELETE /events").await;
    for path in ["/healthz", "/readyz"] {
        let response = client.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
}

/// A plugin that waits for an answer falls behind: a sender that continues is asked to retry,
/// loses nothing, and is let in again when the plugin has caught up.
#[tokio::test]
async fn a_sender_that_is_too_far_ahead_is_asked_to_retry() {
    let mut lookup = Lookup::start(json!({"available": 5})).await;
    lookup.stop().await;
    let configuration = format!(
        "[limits]\nbacklog_events = 20\n\
        [retry]\nattempts = 4\ndelay_ms_min = 500\ndelay_ms_max = 500\n\
        [lookup.stock]\nurl = \"{}\"\nplugins = [\"shipment\"]\n",
        lookup.template()
    );
    let host = Host::builder().plugin("shipment").configuration(configuration).start().await;
    let client = host.client();
    let paid = |n: usize| {
        let (id, order) = (format!("e-{n}"), format!("order-{n}"));
        let items = json!([{"productId": "mug", "quantity": 1}]);
        event(&id, "PaymentCompleted", &order, &json!({"orderId": order, "productItems": items}))
    };
    let mut sent = 0;
    let refused = loop {
        let batch: Vec<Value> = (sent..sent + 10).map(paid).collect();
        let response =
            client.post_events(BATCH, json!(batch).to_string()).await.expect("an answer");
        match response.status() {
            StatusCode::ACCEPTED => sent += 10,
            _ => break response,
        }
        assert!(sent < 10_000, "no sender is ever asked to retry");
    };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.headers()["content-type"].to_str().is_ok_and(|it| it.starts_with(PROBLEM)));
    // The plugin goes on, and so do those who send.
    lookup.start_again().await;
    let all: Vec<Value> = (0..sent + 10).map(paid).collect();
    let sum = client.send(&all).await;
    assert_eq!(sum, Accepted { accepted: 10, duplicates: sent });
}

#[tokio::test]
async fn slips_of_a_sender_show_in_the_accounts_and_are_said() {
    let mut host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let other = |id: &str, event_type: &str| event(id, event_type, "a", &json!({"cartId": "a"}));
    // The plugin takes `CartFinalized`.
    let events = [
        cart_finalized("e-1", "a"),
        other("e-2", "CartFinalised"),
        other("e-3", "CartFinalised"),
        // Twice, which counts once.
        other("e-3", "CartFinalised"),
        other("e-4", "cartFinalized"),
    ];
    client.send(&events).await;
    let accounts = client.get("/accounts").await.expect("the accounts");
    let untaken = |accounts: &Value| -> Vec<(String, u64)> {
        let rows = accounts["untaken"].as_array().expect("a list").iter();
        rows.map(|row| {
            let name = row["type"].as_str().expect("a type").to_owned();
            (name, row["events"].as_u64().expect("a number"))
        })
        .collect()
    };
    let expected = vec![("CartFinalised".to_owned(), 2), ("cartFinalized".to_owned(), 1)];
    assert_eq!(untaken(&accounts), expected, "{accounts}");
    let answer = sagabox(host.folder(), &["accounts", "--host", &host.url()]).with(0);
    let answer = answer.saying("UNTAKEN").saying("CartFinalised");
    drop(answer);

    // The same source and id with other content; a repetition is none of those.
    let mut changed = cart_finalized("e-1", "a");
    changed["data"]["totalPrice"] = json!(1);
    let file = host.folder().join("again.ndjson");
    std::fs::write(&file, format!("{changed}\n{}\n", events[1])).expect("a file");
    let arguments = ["send", "again.ndjson", "--host", &host.url()];
    let answer = sagabox(host.folder(), &arguments).with(0);
    let answer = answer.saying("0 accepted, 2 duplicates").saying("1 of the duplicates");
    drop(answer);
    let accounts = client.get("/accounts").await.expect("the accounts");
    assert_eq!(accounts["differing_duplicates"], 1, "{accounts}");
    let metrics = client.text("/metrics").await.expect("the metrics");
    for line in ["sagabox_events_differing_total 1", "sagabox_events_untaken 3"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }

    // Both are known after a restart, too.
    host.kill_and_start().await;
    let client = host.client();
    let accounts = client.get("/accounts").await.expect("the accounts");
    assert_eq!(untaken(&accounts), expected, "{accounts}");
    let (status, answer) = post(&client, &changed).await;
    assert_eq!((status, &answer["duplicates"]), (StatusCode::ACCEPTED, &json!(1)));
    assert_eq!(answer["differing"], 1, "{answer}");
    client.wait_for_balance().await;
}

async fn post(client: &Client, event: &Value) -> (StatusCode, Value) {
    let kind = "application/cloudevents+json";
    let request = client.request(Method::POST, "/events").header("content-type", kind);
    let response = request.body(event.to_string()).send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.expect("JSON"))
}
