//! Batches of operators on a real host: many items, each once, also over `kill -9`; paused, resumed
//! and cancelled; what they leave alone; and who may start them.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use sagabox_tests::client::Client;
use sagabox_tests::command::sagabox;
use sagabox_tests::events::{cart_finalized, event};
use sagabox_tests::host::Host;
use sagabox_tests::wait;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

const PLUGIN: &str = "order-saga";
const MANY: u64 = 100_000;
/// Of so many, one fails again.
const FAILING: u64 = 1_000;

/// An event of the cart that the saga cannot read.
fn broken(id: &str, cart: &str) -> Value {
    event(id, "CartFinalized", cart, &json!({"cartId": cart}))
}

async fn post(client: &Client, path: &str, body: &Value) -> (StatusCode, Value) {
    let response = client.request(Method::POST, path).json(body).send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.expect("JSON"))
}

async fn accepted(client: &Client, path: &str, body: &Value) -> Value {
    let (status, answer) = post(client, path, body).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

async fn batch(client: &Client, id: &Value) -> Value {
    client.get(&format!("/batches/{id}")).await.expect("the batch")
}

async fn wait_for(
    client: &Client,
    id: &Value,
    deadline: Duration,
    is: impl Fn(&Value) -> bool,
) -> Value {
    wait::until("the batch", deadline, async || {
        let batch = client.get(&format!("/batches/{id}")).await?;
        if is(&batch) { Ok(batch) } else { Err(batch.to_string()) }
    })
    .await
}

/// Dead letters with ids from 1, each with a cart of its own.
async fn with_dead_letters(host: &Host, client: &Client, count: usize) {
    let events: Vec<Value> =
        (0..count).map(|n| broken(&format!("bad-{n}"), &format!("cart-{n}"))).collect();
    client.send(&events).await;
    wait::until("dead letters", wait::SOON, async || {
        let draft = json!({"action": "redrive", "all": true, "dry_run": true});
        let counted = post(&host.client(), "/batches", &draft).await.1;
        if counted["items"] == count { Ok(()) } else { Err(counted.to_string()) }
    })
    .await;
}

/// Makes of the only dead letter of a store as many as `MANY`, as if a version of the plugin had
/// failed at each: the events of most of them are none that fail now.
async fn multiply(store: &Path) {
    let options = SqliteConnectOptions::new().filename(store);
    let mut store = options.connect().await.expect("the store of a host that has ended");
    let good = cart_finalized("id-@", "cart-@").to_string();
    let numbers = format!(
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"
    );
    let text = format!(
        "CASE WHEN i % {FAILING} = 0 THEN replace(replace(event, 'bad', 'bad-' || i), 'cart-1', 'cart-' || i) \
         ELSE replace(?1, '@', i) END"
    );
    for sql in [
        format!(
            "INSERT INTO log (position, received_at, subject, event, hops) {numbers} \
             SELECT i, received_at, subject, {text}, hops FROM n, log WHERE position = 1"
        ),
        format!(
            "INSERT INTO dead_letters (id, plugin, key, position, reason, attempts, plugin_version, \
               at, status, event, event_type, hops) {numbers} \
             SELECT i, plugin, 'cart-' || i, i, reason, attempts, plugin_version, at, status, \
               {text}, event_type, hops FROM n, dead_letters WHERE id = 1"
        ),
    ] {
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(good.clone());
        query.execute(&mut store).await.expect("rows");
    }
    let sql = format!(
        "UPDATE plugins SET cursor = json_set(cursor, '$.settled', {MANY}), \
           counters = json_set(counters, '$.received', {MANY}); \
         UPDATE totals SET events = {MANY};"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut store).await.expect("sums");
    sqlx::Connection::close(store).await.expect("it is written");
}

#[tokio::test]
async fn a_hundred_thousand_redrives_survive_a_kill_each_once() {
    let mut host = Host::builder().plugin(PLUGIN).start().await;
    with_dead_letters(&host, &host.client(), 1).await;
    host.stop().await;
    multiply(&host.store()).await;
    host.start().await;
    let client = host.client();
    let draft = json!({"action": "redrive", "plugin": PLUGIN});
    let draft = accepted(&client, "/batches", &draft).await;
    assert_eq!((&draft["status"], &draft["items"]), (&json!("draft"), &json!(MANY)), "{draft}");
    assert_eq!(draft["items_exact"], true, "{draft}");
    let id = draft["id"].clone();
    // It comes after the start: it is none of its items, and stays.
    let start = json!({"by": "ada", "reason": "repaired", "rate_per_second": 10_000,
        "ignore_failures": true});
    accepted(&client, &format!("/batches/{id}/start"), &start).await;
    client.send(&[broken("later", "cart-later")]).await;
    let done = |batch: &Value| batch["done"].as_u64().unwrap_or_default();
    wait_for(&client, &id, wait::LONG, |batch| done(batch) > MANY / 5).await;
    host.kill_and_start().await;
    let client = host.client();
    let running = wait_for(&client, &id, wait::SOON, |batch| done(batch) > 0).await;
    assert!(running["pending"].as_u64() > Some(0), "it was killed in its middle: {running}");

    let pause = json!({"by": "ada", "reason": "lunch"});
    accepted(&client, &format!("/batches/{id}/pause"), &pause).await;
    let paused = batch(&client, &id).await;
    assert_eq!(paused["status"], "paused", "{paused}");
    let handled = async || -> Result<u64, String> {
        let accounts = client.get("/accounts").await?;
        accounts["plugins"][0]["handled"].as_u64().ok_or_else(|| accounts.to_string())
    };
    let before = handled().await.expect("the accounts");
    client.send(&[cart_finalized("meanwhile", "cart-meanwhile")]).await;
    wait::until("the host works", wait::SOON, async || match handled().await? {
        now if now > before => Ok(()),
        now => Err(now.to_string()),
    })
    .await;
    assert_eq!(batch(&client, &id).await["pending"], paused["pending"]);
    accepted(&client, &format!("/batches/{id}/resume"), &json!({"rate_per_second": 10_000})).await;

    let ended = wait_for(&client, &id, wait::LONG, |batch| batch["status"] == "done").await;
    // The first dead letter, from which the others were made, is broken as well.
    let failed = MANY / FAILING + 1;
    assert_eq!(ended["failed"], failed, "{ended}");
    assert_eq!(ended["done"], MANY - failed, "{ended}");
    for name in ["pending", "in_progress", "changed", "refused"] {
        assert_eq!(ended[name], 0, "{name}: {ended}");
    }
    let items = client.pages(&format!("/batches/{id}/items?outcome=failed"), "items").await;
    let items = items.expect("the items");
    assert_eq!(items.len() as u64, failed);
    assert!(items[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{}", items[0]);
    let open = client.pages("/dead-letters?status=open", "dead_letters").await.expect("a list");
    assert_eq!(open.len() as u64, failed + 1, "and the one that came later");
    for dead_letter in open {
        let attempts = if dead_letter["key"] == "cart-later" { 1 } else { 2 };
        assert_eq!(dead_letter["attempts"], attempts, "{dead_letter}");
    }
    // Each cart sent its message once.
    let accounts = client.get("/accounts").await.expect("the accounts");
    assert_eq!(accounts["balanced"], true, "{accounts}");
    assert_eq!(accounts["sinks"][0]["messages"], MANY - failed + 1, "{accounts}");
}

#[tokio::test]
async fn a_batch_stops_by_itself_if_its_first_item_fails_again() {
    let host = Host::builder().plugin(PLUGIN).start().await;
    let client = host.client();
    with_dead_letters(&host, &client, 3).await;
    let draft = accepted(&client, "/batches", &json!({"action": "redrive", "all": true})).await;
    let id = draft["id"].clone();
    accepted(&client, &format!("/batches/{id}/start"), &json!({})).await;
    let stopped = wait_for(&client, &id, wait::SOON, |batch| batch["status"] == "paused").await;
    let note = stopped["note"].as_str().unwrap_or_default();
    assert!(note.contains("the first item failed again, such as dead letter 1"), "{note}");
    assert_eq!((&stopped["failed"], &stopped["pending"]), (&json!(1), &json!(2)), "{stopped}");
    // A dead letter that was resolved meanwhile is no longer what the batch selected.
    let skip = json!({"reason": "by hand"});
    let (status, _) = post(&client, "/dead-letters/2/skip", &skip).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    accepted(&client, &format!("/batches/{id}/resume"), &json!({"ignore_failures": true})).await;
    let ended = wait_for(&client, &id, wait::SOON, |batch| batch["status"] == "done").await;
    assert_eq!((&ended["failed"], &ended["changed"]), (&json!(2), &json!(1)), "{ended}");
    let path = format!("/batches/{id}/items?outcome=changed");
    let changed = client.get(&path).await.expect("the items");
    assert_eq!(changed["items"][0]["dead_letter"], 2, "{changed}");
    let reason = changed["items"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("already skipped"), "{reason}");
    let (status, refused) = post(&client, &format!("/batches/{id}/pause"), &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    let (status, refused) = post(&client, &format!("/batches/{id}/start"), &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
}

#[tokio::test]
async fn instances_are_ended_in_a_batch_and_those_that_begin_later_are_not() {
    let host = Host::builder().plugin("group-checkout").start().await;
    let client = host.client();
    let initiated = |n: usize| {
        let (id, group) = (format!("i-{n}"), format!("g-{n:03}"));
        let data = json!({"groupCheckoutId": group, "guestStayIds": ["s-1"]});
        event(&id, "GroupCheckoutInitiated", &group, &data)
    };
    client.send(&(0..70).map(initiated).collect::<Vec<_>>()).await;
    wait::until("instances", wait::SOON, async || {
        match client.instances("group-checkout", "running").await?.len() {
            70 => Ok(()),
            found => Err(found.to_string()),
        }
    })
    .await;
    let url = host.url();
    let run = |arguments: &[&str]| sagabox(host.folder(), &[arguments, &["--host", &url]].concat());
    let of = ["group-checkout", "--all", "--reason", "a test"];
    let dry = run(&[&["end"], &of[..], &["--dry-run"]].concat()).with(0);
    let _ = dry.saying("would end: 70 instances");
    let without = json!({"action": "end", "plugin": "group-checkout"});
    let (status, refused) = post(&client, "/batches", &without).await;
    assert_eq!((status, &refused["attribute"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("all")));
    let ended = run(&[&["end"], &of[..], &["--rate", "1000"]].concat()).with(0);
    let _ = ended.saying("end: 70 instances");
    client.send(&[initiated(70)]).await;
    wait::until("ended instances", wait::SOON, async || {
        let running = client.instances("group-checkout", "running").await?;
        let ended = client.pages("/instances?plugin=group-checkout&status=ended", "instances");
        match (running.len(), ended.await?.len()) {
            (1, 70) => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
    let listed = run(&["batch", "list"]).with(0).saying("done");
    let _ = listed.saying("group-checkout");
    let _ = run(&["batch", "show", "1"]).with(0).saying("status: done");
    let _ = run(&["batch", "items", "1", "--outcome", "done"]).with(0).saying("g-000");
    let audit = client.get("/audit?action_contains=batches").await.expect("the audit log");
    let entries = audit["entries"].as_array().cloned().unwrap_or_default();
    let started = entries.iter().find(|entry| entry["action"] == "POST /v1/batches/1/start");
    assert_eq!(started.map(|entry| &entry["reason"]), Some(&json!("a test")), "{audit}");
}

#[tokio::test]
async fn the_command_line_makes_starts_and_cancels_batches() {
    let host = Host::builder().plugin(PLUGIN).start().await;
    let client = host.client();
    with_dead_letters(&host, &client, 3).await;
    let url = host.url();
    let run = |arguments: &[&str]| sagabox(host.folder(), &[arguments, &["--host", &url]].concat());
    let draft = run(&["batch", "draft", "skip", "--key", "cart-1", "--json"]).with(0).json();
    assert_eq!((&draft["items"], &draft["filter"]), (&json!(1), &json!({"key": "cart-1"})));
    let _ = run(&["batch", "start", "1"]).with(2).saying("reason: is required");
    let started = run(&["batch", "start", "1", "--reason", "a test", "--wait"]).with(0);
    let _ = started.saying("batch: 1 items");
    let _ = run(&["batch", "draft", "discard", "--plugin", PLUGIN]).with(0).saying("items: 2");
    let _ = run(&["batch", "cancel", "2"]).with(0).saying("status: cancelled");
    let _ = run(&["batch", "start", "2", "--reason", "r"]).with(1).saying("batch 2 is cancelled");
    let _ = run(&["batch", "show", "9"]).with(1).saying("batch 9 not found");
    // Both fail again.
    let redriven = run(&["redrive", "--all", "--ignore-failures"]).with(1);
    let _ = redriven.saying("redrive: 0 dead letters, 2 failed").saying("batch items 3");
    let stopped = run(&["redrive", "--all"]).with(1);
    let _ = stopped.saying("batch 4 is paused: the first item failed again");
}
