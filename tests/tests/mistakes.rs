//! What authors do wrong with the SDK: the dead letter, or the log, says what and where.

use sagabox_tests::client::{BATCH, Client, STRUCTURED};
use sagabox_tests::command::{Ended, sagabox, sagabox_with};
use sagabox_tests::events::event;
use sagabox_tests::host::{Builder, Host};
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};

/// Long enough on a busy machine, and short enough to wait for.
const CONFIGURATION: &str = "[plugin.mistaken.limits]\ncall_time_ms = 2000\n";

fn builder() -> Builder {
    Host::builder().plugin("mistaken").configuration(CONFIGURATION)
}

fn mistake(id: &str, what: &str) -> Value {
    event(id, "mistake", id, &json!({"orderId": id, "what": what}))
}

/// The reasons of the dead letters, by the id of their event.
async fn reason_of(client: &Client, id: &str) -> String {
    wait::until("a dead letter", wait::SOON, || async {
        let dead_letters = client.dead_letters().await?;
        let own = dead_letters
            .iter()
            .find(|dead_letter| dead_letter["key"] == id || dead_letter["event"]["id"] == id);
        let own = own.ok_or_else(|| format!("no dead letter of {id}: {dead_letters:?}"))?;
        Ok(own["reason"].as_str().unwrap_or_default().to_owned())
    })
    .await
}

/// A log can have payloads, and control characters of a plugin reach no terminal.
#[tokio::test]
async fn a_dead_letter_keeps_the_log_of_the_call_that_failed() {
    let mut host = builder().with_tokens().start().await;
    let token = std::fs::read_to_string(format!("{}.token", host.store().display()));
    let token = token.expect("the administrator's token").trim().to_owned();
    let client = host.client().with_token(&token);
    let secret = "4111\u{1b}[31m";
    let id = |what: &str| format!("{what} {secret}");
    let order = |what: &str| json!({"orderId": id(what), "what": what});
    let sent = ["panic", "other"].map(|what| event(what, "mistake", what, &order(what)));
    client.send(&sent).await;
    reason_of(&client, "panic").await;
    reason_of(&client, "other").await;
    host.kill_and_start().await;
    let client = host.client().with_token(&token);
    let of = async |client: &Client, what: &str| {
        let dead_letters = client.dead_letters().await.expect("dead letters");
        dead_letters
            .into_iter()
            .find(|dead_letter| dead_letter["event"]["id"] == what)
            .expect("one of them")
    };
    let panicked = of(&client, "panic").await;
    let log = panicked["log"].as_array().expect("a log");
    assert_eq!(log[0]["level"], "error", "{panicked}");
    assert!(panicked["log"].to_string().contains("the amount of panic 4111\\u001b[31m is missing"));
    assert_eq!(of(&client, "other").await.get("log"), None, "it logged nothing");
    let body = json!({"name": "blind", "roles": ["operator"]});
    let request = client.request(reqwest::Method::POST, "/tokens").json(&body);
    let blind: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let blind = host.client().with_token(blind["token"].as_str().expect("a token"));
    let hidden = of(&blind, "panic").await;
    assert_eq!(hidden.get("log"), None, "{hidden}");
    let (number, url) = (panicked["id"].to_string(), host.url());
    let variables = [("SAGABOX_TOKEN", token.as_str())];
    let arguments = ["dead-letter", &number, "--host", &url];
    let shown = sagabox_with(host.folder(), &arguments, &variables).with(0);
    let line = "log: error panicked";
    assert!(shown.output.contains(line), "{}", shown.output);
    assert!(!shown.output.contains('\u{1b}'), "{}", shown.output);
}

#[tokio::test]
async fn a_mistake_in_a_handler_is_reported_with_its_place() {
    let host = builder().start().await;
    let client = host.client();
    let mistakes = ["panic", "overflow", "nan", "infinite weight", "loop", "other"];
    let events: Vec<Value> = mistakes.iter().map(|what| mistake(what, what)).collect();
    client.send(&events).await;
    let wrong_type = json!({"orderId": "type", "what": 7});
    client.send(&[event("type", "mistake", "type", &wrong_type)]).await;
    let no_key = json!({"order": "key", "what": "panic"});
    client.send(&[event("key", "mistake", "key", &no_key)]).await;
    for (id, parts) in [
        ("panic", &["src/lib.rs:", "the amount of panic is missing"] as &[&str]),
        ("overflow", &["src/lib.rs:", "attempt to subtract with overflow"]),
        ("nan", &["the state cannot be stored: the field `share` is NaN"]),
        ("infinite weight", &["`Weigh` cannot be sent: the field `weights.1` is inf"]),
        ("loop", &["it did not return within 2s (limit call_time_ms)"]),
        ("other", &["no mistake is called other"]),
        (
            "type",
            &["the data of `mistake` does not fit: invalid type: integer `7`, expected a string"],
        ),
        ("key", &["/orderId"]),
    ] {
        let reason = reason_of(&client, id).await;
        for part in parts {
            assert!(reason.contains(part), "{id}: `{part}` is not in `{reason}`");
        }
    }
}

#[tokio::test]
async fn what_a_plugin_prints_is_in_the_log_with_its_key_and_event() {
    let host = builder().start().await;
    host.client().send(&[mistake("o-1", "print")]).await;
    host.client().take_exactly("Weigh", 1).await;
    let log = host.log();
    for text in ["printed by o-1", "warned by o-1", "logged by o-1", "printed elsewhere by o-1"] {
        let line = log.lines().find(|line| line.contains(text));
        let line = line.unwrap_or_else(|| panic!("`{text}` is not in {log}"));
        let about = " plugin=mistaken key=o-1 event=o-1 event_type=mistake";
        assert!(line.ends_with(about), "{line}");
    }
}

#[tokio::test]
async fn an_event_from_another_source_is_ignored_and_counted() {
    let host = builder().start().await;
    let client = host.client();
    let confession = |id: &str, source: &str| {
        let mut event = event(id, "confession", id, &json!({"orderId": id}));
        event["source"] = json!(source);
        event
    };
    client.send(&[confession("1", "/elsewhere"), confession("2", "/shop")]).await;
    client.take_exactly("Weigh", 1).await;
    client.wait_for_balance().await;
    let accounts = client.get("/accounts").await.expect("accounts");
    let own = &accounts["plugins"][0];
    assert_eq!(own["ignored_because"], json!({"source": 1}), "{accounts}");
    client.assert_no_dead_letters().await;
}

/// A folder with these plugins, and what `check` says of it.
fn checked(names: &[&str]) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    for name in names {
        let (from, to) = (paths::plugin(name), folder.path().join(format!("{name}.wasm")));
        std::fs::copy(&from, &to).expect("a copy");
        copy_scenarios(&from.with_extension("scenarios"), &to.with_extension("scenarios"));
    }
    let path = folder.path().to_str().expect("a text");
    sagabox(folder.path(), &["check", path, "--notes"])
}

fn copy_scenarios(from: &std::path::Path, to: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(from) else { return };
    std::fs::create_dir(to).expect("a folder");
    for entry in entries {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

#[test]
fn plugins_that_disagree_on_a_field_are_named_with_the_message_and_the_pointer() {
    let said = checked(&["disagreeing", "mistaken"]).with(1);
    let from = "error: mistaken: it cannot read every";
    let _ = said
        // A renamed field.
        .saying(&format!(
            "{from} `mistake` of disagreeing: at `/orderId`: disagreeing never sends it, mistaken \
             requires it; the nearest that disagreeing sends is `orderNumber`"
        ))
        // A number for a string.
        .saying(&format!(
            "{from} `mistake` of disagreeing: at `/what`: disagreeing sends an integer, mistaken takes \
             a string"
        ))
        // A value that the enum does not have.
        .saying(&format!(
            "{from} `alibi` of disagreeing: at `/by`: disagreeing may send \"telegram\", mistaken \
             takes \"mail\" or \"phone\""
        ))
        // The key is at the field that was renamed.
        .saying(
            "error: mistaken: it finds the key of `mistake` at `/orderId`, and what disagreeing sends \
             has no such place",
        );
}

#[test]
fn a_pointer_that_leads_nowhere_is_named_with_the_nearest() {
    let _ = checked(&["mistaken"])
        .with(0)
        .saying(
            "warning: mistaken: it finds the key of `denial` at `/order_id`, a place that its own schema \
             does not have: the nearest is `/orderId`",
        )
        .saying(
            "warning: mistaken: its field `share` is at `/shares`, a place that no state of its scenarios \
             has: the nearest is `/share`",
        );
}

#[tokio::test]
async fn an_event_that_no_plugin_can_read_is_refused_at_the_door() {
    let configuration = format!("{CONFIGURATION}[ingest]\nvalidate = true\n");
    let host = Host::builder().plugin("mistaken").configuration(configuration).start().await;
    let client = host.client();
    let wrong = event("2", "mistake", "2", &json!({"orderId": "2", "what": 7}));
    let batch = json!([mistake("1", "other"), wrong]).to_string();
    let response = client.post_events(BATCH, batch).await.expect("an answer");
    assert_eq!(response.status(), 422);
    let problem: Value =
        serde_json::from_str(&response.text().await.expect("a body")).expect("JSON");
    assert_eq!(
        problem,
        json!({
            "type": "urn:sagabox:problem:unreadable",
            "title": "Unreadable event",
            "status": 422,
            "detail": "no plugin that takes `mistake` can read its data; for mistaken: at `/what`: 7 is \
                       not of type \"string\"",
            "attribute": "data",
            "index": 1,
            "pointer": "/what",
        })
    );
    let response = client.post_events(STRUCTURED, wrong.to_string()).await.expect("an answer");
    let problem: Value =
        serde_json::from_str(&response.text().await.expect("a body")).expect("JSON");
    assert_eq!((&problem["pointer"], &problem["index"]), (&json!("/what"), &Value::Null));
    // Nothing of the batch was accepted; what can be read, or is of no plugin, is.
    client.send(&[mistake("1", "print"), event("3", "elsewhere", "3", &json!(7))]).await;
    client.take_exactly("Weigh", 1).await;
    client.wait_for_balance().await;
    client.assert_no_dead_letters().await;
}
