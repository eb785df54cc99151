//! What operators do when something cannot be handled or delivered: the key waits in
//! order, everything else goes on, and nothing is lost whichever way it is resolved.

use std::process::Command;

use reqwest::{Method, StatusCode};
use sagabox_tests::client::Client;
use sagabox_tests::events::{cart_finalized, event};
use sagabox_tests::host::Host;
use sagabox_tests::paths;
use sagabox_tests::sink::Sink;
use sagabox_tests::wait;
use serde_json::{Value, json};

const QUEUE: &str = "InitializeOrder";
/// Quick retries, so that tests need not wait for them.
const RETRY: &str = "[retry]\nattempts = 4\ndelay_ms_min = 1\ndelay_ms_max = 50\n";

/// An event of the cart that the saga cannot read.
fn broken(id: &str, cart: &str) -> Value {
    event(id, "CartFinalized", cart, &json!({"cartId": cart}))
}

async fn post(client: &Client, path: &str, body: &Value) -> (StatusCode, Value) {
    let response = client.request(Method::POST, path).json(body).send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.expect("JSON"))
}

async fn wait_for_dead_letters(client: &Client, status: &str, count: usize) -> Vec<Value> {
    wait::until("dead letters", wait::SOON, async || {
        let page = client.get(&format!("/dead-letters?status={status}")).await?;
        let dead_letters = page["dead_letters"].as_array().cloned().unwrap_or_default();
        if dead_letters.len() == count { Ok(dead_letters) } else { Err(page.to_string()) }
    })
    .await
}

/// The carts of the commands in a queue, in the order in which they are leased.
fn carts(messages: impl IntoIterator<Item = Value>) -> Vec<String> {
    let cart = |message: Value| message["data"]["cartId"].as_str().unwrap_or_default().to_owned();
    messages.into_iter().map(cart).collect()
}

/// One poisoned event of cart a, two events behind it, and one of another cart.
async fn poisoned() -> (Host, Client) {
    let host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let events = [
        broken("bad", "a"),
        cart_finalized("a-1", "a"),
        cart_finalized("b-1", "b"),
        cart_finalized("a-2", "a"),
    ];
    client.send(&events).await;
    wait_for_dead_letters(&client, "open", 1).await;
    let others = client.take_exactly(QUEUE, 1).await;
    assert_eq!(carts(others.into_values()), ["b"], "every other key goes on");
    client.wait_for_balance().await;
    (host, client)
}

#[tokio::test]
async fn a_redriven_dead_letter_goes_first_and_what_waited_follows_also_after_a_kill() {
    let (mut host, _) = poisoned().await;
    host.kill_and_start().await;
    let client = host.client();
    let mended = cart_finalized("bad", "a");
    let body = json!({"by": "ada", "reason": "the shop forgot the items", "event": mended});
    let (status, dead_letter) = post(&client, "/dead-letters/1/redrive", &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{dead_letter}");
    let taken = client.take_exactly(QUEUE, 3).await;
    assert_eq!(carts(taken.into_values()), ["a", "a", "a"]);
    let dead_letter = wait_for_dead_letters(&client, "redriven", 1).await.remove(0);
    assert_eq!(dead_letter["resolved_by"], "ada");
    assert_eq!(dead_letter["resolved_reason"], "the shop forgot the items");
    assert_eq!(dead_letter["edited"]["data"]["clientId"], "c-1");
    client.wait_for_balance().await;

    let (status, problem) = post(&client, "/dead-letters/1/redrive", &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["detail"], "dead letter 1 is already redriven");
    let (status, _) = post(&client, "/dead-letters/99/redrive", &json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_dead_letter_that_fails_again_is_open_again_and_nothing_overtakes_it() {
    let (host, client) = poisoned().await;
    let (status, _) = post(&client, "/dead-letters/1/redrive", &json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    wait::until("the second failure", wait::SOON, async || {
        let dead_letter = client.get("/dead-letters/1").await?;
        let again = dead_letter["status"] == "open" && dead_letter["attempts"] == 2;
        if again { Ok(()) } else { Err(dead_letter.to_string()) }
    })
    .await;
    assert!(client.take_exactly(QUEUE, 0).await.is_empty());
    client.wait_for_balance().await;
    drop(host);
}

#[tokio::test]
async fn skipping_goes_on_without_the_event_and_discarding_without_all_that_waited() {
    let (_host, client) = poisoned().await;
    let (status, problem) = post(&client, "/dead-letters/1/skip", &json!({})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["detail"], "reason: is required; the host records it");
    let (status, _) = post(&client, "/dead-letters/1/skip", &json!({"reason": "a test"})).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    client.take_exactly(QUEUE, 2).await;
    client.wait_for_balance().await;

    let (_host, client) = poisoned().await;
    let (status, _) = post(&client, "/dead-letters/1/discard", &json!({"reason": "a test"})).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    client.send(&[cart_finalized("a-3", "a")]).await;
    client.take_exactly(QUEUE, 1).await;
    client.wait_for_balance().await;
    let accounts = client.get("/accounts").await.expect("the accounts");
    assert_eq!(accounts["plugins"][0]["discarded"], 3, "{accounts}");
}

#[tokio::test]
async fn an_edited_event_keeps_its_identity() {
    let (_host, client) = poisoned().await;
    let other = json!({"event": cart_finalized("another", "a")});
    let (status, problem) = post(&client, "/dead-letters/1/redrive", &other).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    let foreign = json!({"event": event("bad", "Unknown", "a", &json!({}))});
    let (status, problem) = post(&client, "/dead-letters/1/redrive", &foreign).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
}

#[tokio::test]
async fn the_command_line_resolves_many_at_once() {
    let host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let events: Vec<Value> = (0..30)
        .flat_map(|n| {
            let cart = format!("cart-{n}");
            [broken(&format!("bad-{n}"), &cart), cart_finalized(&format!("good-{n}"), &cart)]
        })
        .collect();
    client.send(&events).await;
    wait_for_dead_letters(&client, "open", 30).await;

    let run = |arguments: &[&str]| {
        let mut command = Command::new(paths::binary());
        command.args(arguments).args(["--host", &host.url(), "--by", "ada"]);
        let output = command.output().expect("the command runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let (ok, answer) = run(&["skip", "--reason", "a test"]);
    assert!(!ok && answer.contains("select dead letters by"), "{answer}");
    let (ok, answer) = run(&["skip", "--plugin", "order-saga", "--reason", "a test", "--dry-run"]);
    assert!(ok && answer.contains("would skip: 30"), "{answer}");
    let (ok, answer) = run(&["skip", "--reason-contains", "clientId", "--reason", "a test"]);
    assert!(ok && answer.contains("skip: 30"), "{answer}");
    client.take_exactly(QUEUE, 30).await;
    client.wait_for_balance().await;
}

#[tokio::test]
async fn a_sink_that_is_down_makes_no_dead_letters_and_goes_on_by_itself() {
    let sink = Sink::start().await;
    let configuration =
        format!("{RETRY}\n[sink.shop]\nurl = \"{}\"\n\n[routes]\n{QUEUE} = \"shop\"\n", sink.url);
    // More refusals than all attempts of a message.
    sink.refuse_next(12);
    let host = Host::builder().plugin("order-saga").configuration(configuration).start().await;
    let client = host.client();
    let numbered = |n: u64| {
        let mut event = cart_finalized(&format!("e-{n}"), &format!("cart-{}", n % 5));
        event["data"]["totalPrice"] = json!(n);
        event
    };
    let events: Vec<Value> = (0..20).map(numbered).collect();
    client.send(&events).await;
    wait::until("deliveries", wait::SOON, async || {
        let count = sink.messages().len();
        if count == 20 { Ok(()) } else { Err(format!("{count} of 20")) }
    })
    .await;
    client.assert_no_dead_letters().await;
    client.wait_for_balance().await;
    let mut last = std::collections::BTreeMap::new();
    for delivery in sink.deliveries() {
        let price = delivery.data["totalPrice"].as_f64().expect("a price");
        let before = last.insert(delivery.data["cartId"].to_string(), price);
        assert!(before.is_none_or(|before| before <= price), "out of order: {delivery:?}");
    }
    assert_eq!(client.sinks_down().await.expect("the sinks"), [] as [Value; 0]);
}

#[tokio::test]
async fn an_instance_is_cancelled_with_compensation_or_ended_without() {
    let host = Host::builder().plugin("group-checkout").start().await;
    let client = host.client();
    let start = |group: &str| {
        let data = json!({"groupCheckoutId": group, "guestStayIds": ["g-1", "g-2"]});
        event(&format!("start-{group}"), "GroupCheckoutInitiated", group, &data)
    };
    client.send(&[start("a"), start("b")]).await;
    client.take_exactly("CheckoutGuestAccount", 4).await;

    let of = |key: &str| json!({"plugin": "group-checkout", "key": key});
    let (status, _) = post(&client, "/instances/cancel", &of("a")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "without a reason");
    let why = |key: &str| {
        let mut body = of(key);
        body["by"] = json!("ada");
        body["reason"] = json!("the guests stay");
        body
    };
    let (status, answer) = post(&client, "/instances/cancel", &why("a")).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    client.take_exactly("NotifyGroupCheckoutFailure", 1).await;

    let (status, answer) = post(&client, "/instances/end", &why("b")).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let detail = wait::until("the end", wait::SOON, async || {
        let detail = client.instance("group-checkout", "b").await?;
        if detail["status"] == "ended" { Ok(detail) } else { Err(detail.to_string()) }
    })
    .await;
    assert_eq!(detail["history"][0]["summary"]["ended"]["reason"], "the guests stay");
    assert_eq!(detail["timers"], json!({}), "its deadline is gone");
    let late = json!({"groupCheckoutId": "b", "guestStayId": "g-1"});
    client.send(&[event("late", "GuestCheckoutCompleted", "b", &late)]).await;
    client.wait_for_pending(0).await;
    client.wait_for_balance().await;

    let (status, problem) = post(&client, "/instances/end", &why("b")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    let (status, _) = post(&client, "/instances/end", &why("c")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

/// An event that has the hostile plugin send this to the shop, and be complete then or go on.
fn sends(id: &str, key: &str, verb: &str, data: &Value) -> Value {
    let mut event = event(id, "attack", key, &json!(format!("{verb} {data}")));
    event["datacontenttype"] = json!("text/plain");
    event
}

#[tokio::test]
async fn a_refusal_that_its_plugin_handles_is_no_dead_letter_and_its_sink_goes_on_in_order() {
    let sink = Sink::start().await;
    let configuration = format!(
        "{RETRY}[sink.shop]\nurl = \"{}\"\n[sink.shop.status]\n\"404\" = \"message\"\n\
         [routes]\nBehaved = \"shop\"\n",
        sink.url
    );
    let builder = Host::builder().plugin("hostile").configuration(configuration);
    let mut host = builder.start().await;
    let client = host.client();
    // Each is refused its first command. Half of them send more at once, the others are over.
    let mut events = Vec::new();
    for n in 0..50 {
        let (key, answer) = (format!("k-{n}"), if n % 4 < 2 { 404 } else { 422 });
        let verb = if n % 2 == 0 { "send" } else { "finish" };
        let refused = json!({"n": n, "answer": answer});
        events.push(sends(&format!("first-{n}"), &key, verb, &refused));
        if n % 2 == 0 {
            for later in 0..3 {
                let data = json!({"n": n, "later": later});
                events.push(sends(&format!("later-{n}-{later}"), &key, "send", &data));
            }
        }
    }
    client.send(&events).await;
    let refunds = client.take_exactly("Told", 50).await;
    let refunded: std::collections::BTreeSet<u64> = refunds
        .values()
        .map(|answer| answer["data"]["command"]["data"]["n"].as_u64().expect("a number"))
        .collect();
    assert_eq!(refunded, (0..50).collect(), "each instance, once");
    wait_for_dead_letters(&client, "compensated", 50).await;
    client.assert_no_dead_letters().await;
    wait::until("later commands", wait::SOON, async || {
        let count = sink.messages().len();
        if count == 75 { Ok(()) } else { Err(format!("{count} of 75")) }
    })
    .await;
    let mut last = std::collections::BTreeMap::new();
    for delivery in sink.deliveries() {
        let (n, later) = (&delivery.data["n"], delivery.data["later"].as_u64());
        let before = last.insert(n.to_string(), later);
        assert!(before.flatten() <= later, "out of order: {delivery:?}");
    }
    client.wait_for_balance().await;

    host.kill_and_start().await;
    let client = host.client();
    client.wait_for_balance().await;
    let accounts = client.get("/accounts").await.expect("the accounts");
    let shop = accounts["sinks"].as_array().into_iter().flatten();
    let shop: Vec<_> = shop.filter(|account| account["sink"] == "shop").collect();
    assert_eq!(shop[0]["compensated"], 50, "{accounts}");
    assert_eq!(shop[0]["delivered"], 75, "{accounts}");
    let dead_letter = wait_for_dead_letters(&client, "compensated", 50).await.remove(0);
    assert_eq!(dead_letter["resolved_by"], "hostile");
    let (status, problem) =
        post(&client, &format!("/dead-letters/{}/redrive", dead_letter["id"]), &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.ends_with("is already compensated"), "{problem}");
}

#[tokio::test]
async fn a_refusal_that_its_plugin_fails_at_stays_a_dead_letter() {
    let sink = Sink::start().await;
    let configuration =
        format!("{RETRY}[sink.shop]\nurl = \"{}\"\n[routes]\nBehaved = \"shop\"\n", sink.url);
    let host = Host::builder().plugin("hostile").configuration(configuration).start().await;
    let client = host.client();
    let refused = json!({"answer": 422, "give up": true});
    client.send(&[sends("first", "k", "send", &refused)]).await;
    let dead_letters = wait_for_dead_letters(&client, "open", 2).await;
    let of = |kind| {
        dead_letters.iter().find(|dead_letter| dead_letter["kind"] == kind).expect("both are there")
    };
    assert_eq!(of("message")["sink"], "shop");
    assert_eq!(of("event")["event"]["type"], "sagabox.command.undeliverable");
    client.wait_for_balance().await;
    // Given up by an operator, the refusal stays as it is.
    let skipped = json!({"reason": "a test"});
    let path = format!("/dead-letters/{}/skip", of("event")["id"]);
    let (status, _) = post(&client, &path, &skipped).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let dead_letter = wait_for_dead_letters(&client, "open", 1).await.remove(0);
    assert_eq!(dead_letter["kind"], "message");
    client.wait_for_balance().await;
}
