//! A process moves from one host to another by its file, and a file is a scenario.

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use sagabox_tests::client::Client;
use sagabox_tests::command::{Ended, sagabox};
use sagabox_tests::events::event;
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};

const PLUGIN: &str = "group-checkout";

async fn start() -> (Host, Client) {
    let host = Host::builder().plugin(PLUGIN).start().await;
    let client = host.client();
    (host, client)
}

/// A checkout of two guests, of which one has an outcome.
async fn begin(client: &Client, key: &str) {
    let data = json!({"groupCheckoutId": key, "guestStayIds": ["s-1", "s-2"]});
    let begun = event(&format!("{key}-begun"), "GroupCheckoutInitiated", key, &data);
    client.send(&[begun, completed(key, "s-1")]).await;
    wait_for_decisions(client, key, 2).await;
}

fn completed(key: &str, stay: &str) -> Value {
    let data = json!({"guestStayId": stay, "groupCheckoutId": key});
    event(&format!("{key}-{stay}"), "GuestCheckoutCompleted", key, &data)
}

async fn wait_for_decisions(client: &Client, key: &str, count: usize) {
    wait::until("decisions", wait::SOON, async || {
        let found = client.instance(PLUGIN, key).await?;
        let decisions = found["history"].as_array().map_or(0, Vec::len);
        if decisions == count { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
}

async fn file(client: &Client, key: &str) -> Value {
    client.get(&format!("/instance/file?plugin={PLUGIN}&key={key}")).await.expect("a file")
}

fn write(host: &Host, name: &str, file: &Value) -> PathBuf {
    let path = host.folder().join(name);
    std::fs::write(&path, file.to_string()).expect("a file");
    path
}

fn import(host: &Host, file: &Value, more: &[&str]) -> Ended {
    let path = write(host, "import.json", file);
    let url = host.url();
    let own = ["import", path.to_str().expect("text"), "--reason", "moved", "--host", &url];
    sagabox(host.folder(), &[&own, more].concat())
}

async fn post(client: &Client, body: &Value) -> (StatusCode, Value) {
    let request = client.request(Method::POST, "/instances/import").json(body);
    let response = request.send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.expect("JSON"))
}

#[tokio::test]
async fn an_instance_continues_on_another_host_with_its_state_and_its_timers() {
    let (source, from) = start().await;
    let (mut target, _) = start().await;
    for key in ["a", "b"] {
        begin(&from, key).await;
    }
    let early = file(&from, "a").await;
    assert_eq!(early["unfinished"]["messages"].as_array().map(Vec::len), Some(2), "{early}");
    let refused = import(&target, &early, &[]).with(1).saying("had not delivered all messages");
    assert!(refused.error.contains("That host delivers them"), "{}", refused.error);
    from.take_exactly("CheckoutGuestAccount", 4).await;
    wait::until("the file says that all is delivered", wait::SOON, async || {
        let file = file(&from, "a").await;
        match file["unfinished"]["messages"] == json!([]) {
            true => Ok(()),
            false => Err(file.to_string()),
        }
    })
    .await;
    // What is written before the end has the timers, which ending removes.
    let (of_a, mut of_b) = (file(&from, "a").await, file(&from, "b").await);
    for key in ["a", "b"] {
        let url = source.url();
        let arguments = ["end", PLUGIN, key, "--reason", "it moves", "--host", &url];
        let _ = sagabox(source.folder(), &arguments).with(0);
    }
    let _ =
        import(&target, &of_a, &[]).with(0).saying("instance `a` of group-checkout is imported");
    // Its deadline passed on the way.
    assert_eq!(of_b["timers"][0]["name"], "deadline", "{of_b}");
    of_b["timers"][0]["due_ms"] = json!(1_000);
    let imported = import(&target, &of_b, &["--json"]).with(0).json();
    assert_eq!(imported["imported"][0]["is_there"], true, "{imported}");
    let client = target.client();
    let late = client.take_exactly("NotifyGroupCheckoutFailure", 1).await.into_values().next();
    let late = late.expect("a message");
    assert_eq!(late["data"]["timedOutGuestIds"], json!(["s-2"]), "{late}");
    target.kill_and_start().await;
    let client = target.client();
    client.send(&[completed("a", "s-2")]).await;
    let done = client.take_exactly("CompleteGroupCheckout", 1).await;
    assert_eq!(done.len(), 1, "both guests have an outcome, one of them on the other host");
    // What the other host delivered is not delivered again.
    client.take_exactly("CheckoutGuestAccount", 0).await;
    let shown = client.instance(PLUGIN, "a").await.expect("an instance");
    let first = shown["history"].as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
    assert_eq!(first["summary"]["imported"]["decisions"], 2, "{shown}");
    assert_eq!(first["summary"]["imported"]["reason"], "moved", "{shown}");
    let again = import(&target, &of_a, &[]).with(1);
    assert!(again.error.contains("has an instance `a` already"), "{}", again.error);
    client.wait_for_balance().await;
}

#[tokio::test]
async fn what_cannot_continue_is_refused_and_says_what_to_do() {
    let (host, client) = start().await;
    begin(&client, "k").await;
    client.take_exactly("CheckoutGuestAccount", 2).await;
    let file = wait::until("all is delivered", wait::SOON, async || {
        let file = file(&client, "k").await;
        let is_done = file["unfinished"]["messages"] == json!([]);
        if is_done { Ok(file) } else { Err(file.to_string()) }
    })
    .await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut file = file.clone();
        file["key"] = json!("new");
        change(&mut file);
        json!({"plugin": file["plugin"], "key": file["key"], "file": file, "reason": "test"})
    };
    for (what, body, status, part) in [
        ("a key", with(&|file| file["key"] = json!("k")), 409, "has an instance `k` already"),
        ("a plugin", with(&|file| file["plugin"] = json!("none")), 404, "none"),
        ("a status", with(&|file| file["status"] = json!("ended")), 422, "nothing of it can"),
        ("a form", with(&|file| file["sagabox_instance"] = json!(9)), 422, "its version is 9"),
        (
            "a state",
            with(&|file| file["state"]["text"] = json!("no checkout")),
            422,
            "cannot read the state of version",
        ),
        ("no bytes", with(&|file| file["state"]["text"] = json!(null)), 422, "neither `text` nor"),
        ("events", with(&|file| file["unfinished"]["events"] = json!(3)), 409, "3 events waited"),
        ("a timer", with(&|file| file["timers"][0]["name"] = json!("")), 422, "1 to 512"),
        ("a claim", with(&|file| file["keys"] = json!([""])), 422, "a key has 1 to 512"),
    ] {
        let (found, problem) = post(&client, &body).await;
        assert_eq!(found.as_u16(), status, "{what}: {problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(part), "{what}: {problem}");
    }
    let mut other = with(&|_| {});
    other["key"] = json!("other");
    let (found, problem) = post(&client, &other).await;
    assert_eq!(found, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    let (found, problem) =
        post(&client, &json!({"plugin": PLUGIN, "key": "new", "file": file})).await;
    assert_eq!(found, StatusCode::UNPROCESSABLE_ENTITY, "a reason is required: {problem}");
    // With the instance on its way, the same file is refused also if no instance is there yet.
    let (found, answer) =
        post(&client, &with(&|file| file["unfinished"]["events"] = json!(0))).await;
    assert_eq!(found, StatusCode::ACCEPTED, "{answer}");
    let _ = sagabox(host.folder(), &["import", "none.json", "--reason", "r"]).with(2);
    let path = write(&host, "list.json", &json!([]));
    let no_file =
        sagabox(host.folder(), &["import", path.to_str().expect("text"), "--reason", "r"]);
    assert!(no_file.with(2).error.contains("is not the file of an instance"));
}

/// The audit log says which instance was imported, and has nothing of its state.
#[tokio::test]
async fn the_audit_log_names_an_import_without_its_state() {
    let (_source, from) = start().await;
    begin(&from, "a").await;
    let file = file(&from, "a").await;
    let (_target, client) = start().await;
    let body = json!({"plugin": PLUGIN, "key": "a", "file": file, "reason": "moved",
        "without_messages": true});
    let (status, answer) = post(&client, &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let audit = client.get("/audit").await.expect("the audit log");
    let entry = audit["entries"]
        .as_array()
        .and_then(|all| all.iter().find(|own| own["action"] == "POST /v1/instances/import"));
    let entry = entry.unwrap_or_else(|| panic!("{audit}"));
    assert_eq!(entry["target"]["key"], "a", "{entry}");
    assert!(!entry.to_string().contains("s-1"), "{entry}");
    assert_eq!(entry["reason"], "moved");
}

#[tokio::test]
async fn the_file_of_an_instance_is_a_scenario() {
    let (host, client) = start().await;
    begin(&client, "a").await;
    let file = file(&client, "a").await;
    let plugin = paths::plugin(PLUGIN);
    let folder = host.folder().join("incidents");
    std::fs::create_dir(&folder).expect("a folder");
    let test = |file: &Value| {
        std::fs::write(folder.join("incident.json"), file.to_string()).expect("a file");
        let folder = folder.to_str().expect("text");
        sagabox(host.folder(), &["test", plugin.to_str().expect("text"), "--scenarios", folder])
    };
    let passed = test(&file).with(0);
    assert!(passed.output.contains("group-checkout decides for a as it was recorded"));
    // A version that decides otherwise than the record says.
    let mut other = file.clone();
    let state = other["decisions"][1]["state"]["text"].as_str().expect("a state").to_owned();
    other["decisions"][1]["state"]["text"] = json!(state.replace("completed", "failed"));
    assert_ne!(file, other, "{file}");
    let failed = test(&other).with(1);
    let position = file["decisions"][1]["position"].to_string();
    let head = format!("the decision at position {position}, of GuestCheckoutCompleted");
    assert!(failed.output.contains(&head), "{}", failed.output);
    assert!(failed.output.contains("state.stays.s-1"), "{}", failed.output);
    let mut gone = file.clone();
    for decision in gone["decisions"].as_array_mut().expect("decisions") {
        decision["event"] = json!(null);
    }
    let nothing = test(&gone).with(1);
    assert!(nothing.output.contains("no decision of the file could be repeated"));
    let damaged = test(&json!({"scenario": "a"})).with(2);
    assert!(damaged.error.contains("a file of scenarios holds a list"), "{}", damaged.error);
}

/// A stuck process explains itself on the command line as it does on its page.
#[tokio::test]
async fn show_says_why_an_instance_waits_and_what_can_come() {
    let (host, client) = start().await;
    begin(&client, "a").await;
    let url = host.url();
    let shown = sagabox(host.folder(), &["show", PLUGIN, "a", "--host", &url]).with(0);
    for part in [
        "why it waits:",
        "  The timer deadline is due in ",
        "waits for a worker to take it from the queue",
        "what can still come:",
        "  GuestCheckoutCompleted from outside",
        "  sagabox.timer.fired from the host",
        "decisions, newest first:",
    ] {
        assert!(shown.output.contains(part), "no {part}: {}", shown.output);
    }
    let json = sagabox(host.folder(), &["show", PLUGIN, "a", "--json", "--host", &url]);
    let json = json.with(0).json();
    let why = client.get(&format!("/instance/why?plugin={PLUGIN}&key=a")).await.expect("why");
    assert_eq!(json["why"]["can_come"], why["can_come"], "in the shape of the API: {json}");
    assert_eq!(json["history"][1]["deliveries"][0]["status"], "pending", "{json}");
    let all = sagabox(host.folder(), &["show", PLUGIN, "a", "--json", "--all", "--host", &url]);
    assert_eq!(all.with(0).json()["why"]["can_come"], why["can_come"]);
    client.take_exactly("CheckoutGuestAccount", 2).await;
    wait::until("both are delivered", wait::SOON, async || {
        let found = client.instance(PLUGIN, "a").await?;
        let sent = found["history"][1]["deliveries"].as_array().cloned().unwrap_or_default();
        let is_done = sent.len() == 2 && sent.iter().all(|one| one["status"] == "delivered");
        if is_done { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
}
