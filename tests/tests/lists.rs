//! Lists: whole if one asks for all of it, filtered as what is done with them, and refused
//! when a name in the question is a slip.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use sagabox_tests::client::Client;
use sagabox_tests::command::sagabox;
use sagabox_tests::events::event;
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};

const PLUGIN: &str = "group-checkout";
/// More than two pages of the default size.
const COUNT: usize = 230;

/// So many instances that run, and so many dead letters.
async fn host() -> Host {
    let host = Host::builder().plugin(PLUGIN).plugin("order-saga").start().await;
    let mut events = Vec::new();
    for number in 0..COUNT {
        let group = format!("g-{number:03}");
        let data = json!({"groupCheckoutId": group, "guestStayIds": ["a guest"]});
        events.push(event(&format!("e-{number}"), "GroupCheckoutInitiated", &group, &data));
        let broken = json!({"groupCheckoutId": group, "guestStayId": number});
        let event_type =
            if number % 2 == 0 { "GuestCheckoutFailed" } else { "GuestCheckoutCompleted" };
        events.push(event(&format!("b-{number}"), event_type, &group, &broken));
    }
    host.client().send(&events).await;
    wait::until("dead letters", wait::SOON, async || {
        match host.client().dead_letters().await?.len() {
            COUNT => Ok(()),
            found => Err(found.to_string()),
        }
    })
    .await;
    host
}

#[tokio::test]
async fn a_list_says_when_there_is_more_and_shows_all_when_it_is_asked_to() {
    let host = host().await;
    let url = host.url();
    let run = |arguments: &[&str]| sagabox(host.folder(), &[arguments, &["--host", &url]].concat());
    for (command, member) in
        [(&["instances", PLUGIN][..], "instances"), (&["dead-letters"][..], "dead_letters")]
    {
        let first =
            run(command).with(0).saying("more rows exist: --all prints all rows, --after '");
        assert_eq!(first.output.lines().count(), 1 + 100, "{}", first.output);
        let all = run(&[command, &["--all"]].concat()).with(0);
        assert!(!all.error.contains("more"), "{}", all.error);
        let rows = all.output.lines().filter(|line| line.contains("g-")).count();
        assert_eq!(rows, COUNT, "{}", all.output);

        let page = run(&[command, &["--json"]].concat()).with(0).json();
        assert_eq!(page[member].as_array().map(Vec::len), Some(100));
        let next = page["next"].as_str().expect("a place").to_owned();
        let last = run(&[command, &["--json", "--limit", "1000", "--after", &next]].concat());
        let last = last.with(0).json();
        assert_eq!(last[member].as_array().map(Vec::len), Some(COUNT - 100));
        assert_eq!(last["next"], Value::Null);
        let all = run(&[command, &["--json", "--all"]].concat()).with(0).json();
        assert_eq!(all[member].as_array().map(Vec::len), Some(COUNT));
        assert_eq!(all["next"], Value::Null);
    }
}

#[tokio::test]
async fn a_history_is_a_list_too() {
    let host = Host::builder().plugin(PLUGIN).start().await;
    let stays: Vec<String> = (0..5).map(|number| format!("s-{number}")).collect();
    let data = json!({"groupCheckoutId": "g", "guestStayIds": stays});
    let mut events = vec![event("start", "GroupCheckoutInitiated", "g", &data)];
    for stay in &stays[..4] {
        let data = json!({"groupCheckoutId": "g", "guestStayId": stay});
        events.push(event(stay, "GuestCheckoutCompleted", "g", &data));
    }
    host.client().send(&events).await;
    let url = host.url();
    wait::until("all decisions", wait::SOON, async || {
        let shown = host.client().instance(PLUGIN, "g").await?;
        match shown["history"].as_array().map(Vec::len) {
            Some(5) => Ok(()),
            _ => Err(shown.to_string()),
        }
    })
    .await;
    let run = |arguments: &[&str]| {
        let command = ["show", PLUGIN, "g", "--json", "--host", &url];
        sagabox(host.folder(), &[&command, arguments].concat()).with(0).json()
    };
    let positions = |page: &Value| -> Vec<u64> {
        let rows = page["history"].as_array().expect("a history").iter();
        rows.filter_map(|row| row["position"].as_u64()).collect()
    };
    let first = run(&["--limit", "2"]);
    assert_eq!((positions(&first), &first["next"]), (vec![5, 4], &json!("4")));
    let second = run(&["--limit", "2", "--after", "4"]);
    assert_eq!((positions(&second), &second["next"]), (vec![3, 2], &json!("2")));
    let third = run(&["--limit", "2", "--after", "2"]);
    assert_eq!((positions(&third), &third["next"]), (vec![1], &Value::Null));
    let all = run(&["--all"]);
    assert_eq!((positions(&all), &all["status"]), (vec![5, 4, 3, 2, 1], &json!("running")));
}

/// The same filters for lists, counts and batches; and the counts are those of the rows.
#[tokio::test]
async fn instances_and_timers_are_found_by_their_times() {
    let mut host = host().await;
    for _ in 0..2 {
        let url = host.url();
        let run = |arguments: &[&str]| {
            sagabox(host.folder(), &[arguments, &["--host", &url]].concat()).with(0)
        };
        for (filter, expected) in [
            (&[][..], COUNT),
            (&["--older", "0s"], COUNT),
            (&["--older", "1h"], 0),
            (&["--idle", "1h"], 0),
            (&["--younger", "1h", "--status", "running"], COUNT),
            (&["--updated-after", "2026-01-01T00:00:00Z", "--status", "completed"], 0),
        ] {
            let counted = run(&[&["instances", PLUGIN, "--count", "--json"], filter].concat());
            assert_eq!(counted.json()["total"], json!(expected), "{filter:?}");
            let listed = run(&[&["instances", PLUGIN, "--all", "--json"], filter].concat()).json();
            let listed = listed["instances"].as_array().expect("a list").len();
            assert_eq!(listed, expected, "{filter:?}");
        }
        let command = ["end", PLUGIN, "--dry-run", "--reason", "a test", "--json"];
        let draft = run(&[&command[..], &["--idle", "0s"]].concat()).json();
        assert_eq!(draft["items"], json!(COUNT), "{draft}");
        let timers = run(&["timers", "--json"]).json();
        let name = timers["timers"][0]["name"].as_str().expect("a name").to_owned();
        let of = ["timers", "--plugin", PLUGIN, "--name", &name, "--key", "g-007", "--json"];
        let timers = run(&of).json();
        assert_eq!(timers["timers"].as_array().map(Vec::len), Some(1), "{timers}");
        assert_eq!(timers["timers"][0]["key"], json!("g-007"));
        assert_eq!(run(&[&of[..], &["--due-before", "0s"]].concat()).json()["timers"], json!([]));
        host.kill().await;
        host.start().await;
    }
    let url = host.url();
    let command = ["instances", PLUGIN, "--older", "long", "--host", &url];
    let _ = sagabox(host.folder(), &command).with(2).saying("started_before: `long` is neither");
    host.stop().await;
}

async fn asked(client: &Client, path: &str) -> (StatusCode, Value) {
    let response = client.request(Method::GET, path).send().await.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

async fn check_refused(client: &Client, path: &str, status: StatusCode, says: &str) {
    let (found, problem) = asked(client, path).await;
    assert_eq!(found, status, "{path}: {problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{problem}");
}

#[tokio::test]
async fn a_slip_in_a_name_is_no_empty_list() {
    let host = host().await;
    let client = host.client();
    let none = StatusCode::NOT_FOUND;
    let there = "known: group-checkout, order-saga";
    check_refused(&client, "/instances?plugin=groupcheckout", none, there).await;
    check_refused(&client, "/instance?plugin=x&key=k", none, there).await;
    check_refused(&client, "/dead-letters?plugin=x", none, there).await;
    let sinks = "known: queue:CheckoutGuestAccount";
    check_refused(&client, "/dead-letters?sink=x", none, sinks).await;
    let wrong = StatusCode::BAD_REQUEST;
    let statuses = "expected one of `running`, `completed`, `ended`";
    check_refused(&client, "/instances?plugin=order-saga&status=open", wrong, statuses).await;
    check_refused(&client, "/dead-letters?status=closed", wrong, "expected one of `open`").await;
    check_refused(&client, "/dead-letters?state=open", wrong, "unknown field `state`").await;
    let (status, page) = asked(&client, "/dead-letters?sink=queue%3ACheckoutGuestAccount").await;
    assert_eq!((status, page), (StatusCode::OK, json!({"dead_letters": [], "next": null})));

    let url = host.url();
    let run = |arguments: &[&str]| sagabox(host.folder(), &[arguments, &["--host", &url]].concat());
    let _ = run(&["instances", "x"]).with(1).saying(there);
    let _ = run(&["dead-letters", "--status", "closed"]).with(2).saying("expected one of `open`");
    let _ = run(&["dead-letter", "99999"]).with(1).saying("dead letter 99999 not found");
    let _ = run(&["skip", "--plugin", "x", "--reason", "a test"]).with(1).saying(there);
}

#[tokio::test]
async fn a_list_and_what_is_done_with_it_take_the_same_filters() {
    let host = host().await;
    let url = host.url();
    let run = |arguments: &[&str]| sagabox(host.folder(), &[arguments, &["--host", &url]].concat());
    for (filter, count) in [
        (&["--type", "GuestCheckoutFailed"][..], COUNT / 2),
        (&["--key", "g-007"][..], 1),
        (&["--plugin", PLUGIN, "--plugin-version", "0.1.0"][..], COUNT),
        (&["--plugin-version", "0.2.0"][..], 0),
        (&["--status", "open", "--reason-contains", "does not fit"][..], COUNT),
        (&["--reason-contains", "nothing says so"][..], 0),
    ] {
        let listed = run(&[&["dead-letters", "--all", "--json"], filter].concat()).with(0).json();
        assert_eq!(listed["dead_letters"].as_array().map(Vec::len), Some(count), "{filter:?}");
        let dry = run(&[&["redrive", "--dry-run", "--json"], filter].concat()).with(0).json();
        assert_eq!(dry["items"], json!(count), "{filter:?}");
    }
    let both = run(&["redrive", "1", "--plugin", PLUGIN]).with(2);
    let _ = both.saying("give the ids of the dead letters or filters, not both");
    let body = json!({"ids": [1], "plugin": PLUGIN});
    let response = host.client().request(Method::POST, "/dead-letters/redrive").json(&body);
    assert_eq!(response.send().await.expect("an answer").status(), 400);
    let many = json!({"ids": (1..=200_000).collect::<Vec<u64>>(), "reason": "a test"});
    let response = host.client().request(Method::POST, "/dead-letters/skip").json(&many);
    assert_eq!(response.send().await.expect("an answer").status(), 422);
    let long = json!({"ids": [1], "reason": "x".repeat(1_000_000)});
    for verb in ["redrive", "skip", "discard"] {
        let path = format!("/dead-letters/{verb}");
        let response = host.client().request(Method::POST, &path).json(&long);
        assert_eq!(response.send().await.expect("an answer").status(), 422, "{verb}");
    }
    let dry = run(&["redrive", "1", "99999", "--dry-run"]).with(1);
    let _ = dry.saying("would redrive: 1 dead letter\n").saying("the first, 99999");
    let _ = run(&["redrive", "--status", "redriven"]).with(2).saying("only open dead letters");
    let shown = run(&["dead-letter", "1"]).with(0).saying("status: open");
    // Which event failed first depends on the threads that call the plugin.
    let dead_letter = run(&["dead-letter", "1", "--json"]).with(0).json();
    let _ =
        shown.saying(&format!("\"guestStayId\": {}", dead_letter["event"]["data"]["guestStayId"]));
}

#[tokio::test]
async fn sending_to_no_handler_fails_at_once_and_says_so() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let file = folder.path().join("events.ndjson");
    let event = event("1", "CartFinalized", "c", &json!({}));
    // As some editors write it.
    std::fs::write(&file, format!("\u{feff}{event}\n")).expect("a file");
    let sending = tokio::process::Command::new(paths::binary())
        .arg("send")
        .arg(&file)
        .args(["--host", "127.0.0.1:1"])
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(Duration::from_secs(30), sending).await;
    let ended = ended.expect("it ends soon").expect("the binary runs");
    let error = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(
        error.contains("http://127.0.0.1:1/v1/events: ") && error.contains("is the host running?"),
        "{error}"
    );
    assert!(error.contains("refused"), "{error}");
}
