//! The pages for operators, over HTTP: who may read them, what they show of events that try to be
//! markup, and the streams that keep them up to date.

use futures::StreamExt as _;
use reqwest::{Method, RequestBuilder, StatusCode};
use sagabox_tests::client::{Client, encode};
use sagabox_tests::command::sagabox;
use sagabox_tests::events::{cart_finalized, event};
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};

const MARKUP: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&";

fn browser(host: &Host, method: Method, path: &str) -> RequestBuilder {
    // The client of the tests chooses what TLS comes from.
    let _ = host.client();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let client = client.build().expect("a client");
    client.request(method, format!("{}{path}", host.url())).header("accept", "text/html")
}

async fn page(host: &Host, path: &str) -> String {
    let answer = browser(host, Method::GET, path).send().await.expect("an answer");
    let status = answer.status();
    let html = answer.text().await.expect("text");
    assert_eq!(status, StatusCode::OK, "{path}: {html}");
    html
}

async fn host() -> Host {
    Host::builder().plugin("order-saga").plugin("group-checkout").start().await
}

/// Method, path and roles of each page, from the list in the documentation, which a test of the
/// host compares with its routes.
fn documented() -> Vec<(Method, String, Vec<String>)> {
    let path = paths::repository().join("docs/pages.md");
    let text = std::fs::read_to_string(path).expect("the list of pages");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |line: &str| {
        let (route, rest) = line.split_once("` | ")?;
        let (method, path) = route.split_once(' ')?;
        let roles = rest.split_once(" |")?.0.replace(" or ", ", ");
        let roles = roles.split(", ").map(str::to_owned).collect();
        Some((method.parse().ok()?, path.replace("{id}", "1"), roles))
    };
    rows.filter_map(row).collect()
}

#[tokio::test]
async fn every_page_admits_its_roles_and_refuses_the_others() {
    let host = Host::builder().plugin("order-saga").with_tokens().start().await;
    let file = format!("{}.token", host.store().display());
    let admin = std::fs::read_to_string(file).expect("the administrator's token");
    let admin = host.client().with_token(admin.trim());
    let mut tokens = vec![("no token".to_owned(), None)];
    for role in ["sender", "worker", "reader", "operator", "admin"] {
        let body = json!({"name": format!("a {role}"), "roles": [role]});
        let answer = admin.request(Method::POST, "/tokens").json(&body).send().await;
        let answer: Value = answer.expect("an answer").json().await.expect("JSON");
        tokens.push((role.to_owned(), answer["token"].as_str().map(str::to_owned)));
    }
    let pages = documented();
    assert!(pages.len() > 8, "{pages:?}");
    for (method, path, roles) in pages {
        for (who, token) in &tokens {
            let request = browser(&host, method.clone(), &path);
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            // A form without the fields that it needs: who may send it is decided before that.
            let request = match method == Method::POST {
                true => request.header("content-type", "application/json").body("[]"),
                false => request,
            };
            let status = request.send().await.expect("an answer").status();
            let is_public = roles == ["everyone"];
            let may = roles.contains(who) || is_public;
            let is_refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
            // Who has no token is led to the login, where there is one.
            let is_led = token.is_none() && !is_public && status == StatusCode::SEE_OTHER;
            assert_eq!(!is_refused && !is_led, may, "{who} {method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn nothing_of_an_event_is_markup() {
    let host = host().await;
    let client = host.client();
    let data = json!({"groupCheckoutId": MARKUP, "guestStayIds": [MARKUP], MARKUP: MARKUP});
    let mut odd = event(MARKUP, "GroupCheckoutInitiated", MARKUP, &data);
    odd["datacontenttype"] = json!("application/json");
    let dead = event("dead", "CartFinalized", MARKUP, &json!({"card": MARKUP}));
    client.send(&[odd, dead]).await;
    wait::until("an instance and a dead letter", wait::SOON, async || {
        let found = (
            client.instances("group-checkout", "running").await?.len(),
            client.dead_letters().await?.len(),
        );
        if found == (1, 1) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    let key = encode(MARKUP);
    let paths = [
        format!("/instance?plugin=group-checkout&key={key}"),
        format!("/instance?plugin=order-saga&key={key}"),
        format!("/instance?plugin={key}&key={key}"),
        "/instances?plugin=group-checkout".to_owned(),
        format!("/instances?plugin=group-checkout&where={key}&order={key}&status={key}"),
        format!("/search?text={key}"),
        format!("/search?text=x{key}"),
        "/event?position=1".to_owned(),
        "/overview".to_owned(),
        format!("/{key}"),
    ];
    let mut shown = 0;
    for path in paths {
        let answer = browser(&host, Method::GET, &path).send().await.expect("an answer");
        let html = answer.text().await.expect("text");
        for forbidden in ["<script>alert", "<img", "onerror=alert(2)>\""] {
            assert!(!html.contains(forbidden), "{path} has `{forbidden}`: {html}");
        }
        shown += usize::from(html.contains("alert(1)"));
    }
    assert!(shown >= 6, "the pages show what was sent: {shown}");
}

#[tokio::test]
async fn a_stuck_order_is_found_by_any_of_its_ids_and_says_why_it_waits() {
    let host = host().await;
    let client = host.client();
    let broken = event("broken-7", "CartFinalized", "cart-7", &json!({"cartId": "cart-7"}));
    client.send(&[broken, cart_finalized("next-7", "cart-7")]).await;
    wait::until("a dead letter", wait::SOON, async || {
        let count = client.dead_letters().await?.len();
        if count == 1 { Ok(()) } else { Err(format!("{count}")) }
    })
    .await;
    let search = browser(&host, Method::GET, "/search?text=cart-7").send().await.expect("it");
    assert_eq!(search.status(), StatusCode::SEE_OTHER);
    let address = search.headers()["location"].to_str().expect("an address").to_owned();
    assert_eq!(address, "/instance?plugin=order%2Dsaga&key=cart%2D7");
    let html = page(&host, &address).await;
    assert!(html.contains("The event CartFinalized could not be handled"), "{html}");
    let event = browser(&host, Method::GET, "/search?text=broken-7").send().await.expect("it");
    let html = page(&host, event.headers()["location"].to_str().expect("an address")).await;
    assert!(html.contains("It is the dead letter"), "{html}");
    let why = client.get("/instance/why?plugin=order-saga&key=cart-7").await.expect("reasons");
    assert_eq!(why["reasons"][0]["kind"], "dead-letter", "{why}");
    assert_eq!(why["waits"], true, "{why}");
}

#[tokio::test]
async fn an_instance_shows_how_each_decision_changed_its_state() {
    let host = host().await;
    let client = host.client();
    let data = json!({"groupCheckoutId": "g", "guestStayIds": ["s-1", "s-2"]});
    client.send(&[event("g", "GroupCheckoutInitiated", "g", &data)]).await;
    wait_for_decisions(&client, 1).await;
    let done = json!({"guestStayId": "s-1", "groupCheckoutId": "g"});
    client.send(&[event("s", "GuestCheckoutCompleted", "g", &done)]).await;
    wait_for_decisions(&client, 2).await;
    let decisions = client.get("/instance/decisions?plugin=group-checkout&key=g").await;
    let decisions = decisions.expect("decisions");
    let changes = decisions["decisions"][0]["changes"].as_array().expect("changes").clone();
    assert!(!changes.is_empty(), "{decisions}");
    let html = page(&host, "/instance?plugin=group-checkout&key=g").await;
    let place = changes[0]["place"].as_str().expect("a place").replacen("state.", "", 1);
    let request = json!({"plugin": "group-checkout", "key": "g",
        "position": decisions["decisions"][0]["position"]});
    let again = client.request(Method::POST, "/instance/what-if").json(&request).send().await;
    let again: Value = again.expect("an answer").json().await.expect("JSON");
    assert_eq!(
        (&again["outcome"], &again["differences"]),
        (&json!("decided"), &json!([])),
        "{again}"
    );
    let mut edited = request.clone();
    edited["event"] = decisions["decisions"][0]["event"].clone();
    edited["event"]["data"]["guestStayId"] = json!("s-2");
    let again = client.request(Method::POST, "/instance/what-if").json(&edited).send().await;
    let again: Value = again.expect("an answer").json().await.expect("JSON");
    assert!(again["differences"].to_string().contains("s-2"), "{again}");
    let file = client.text("/instance/file?plugin=group-checkout&key=g").await.expect("a file");
    let path = host.folder().join("instance.json");
    std::fs::write(&path, file).expect("a file");
    let plugin = paths::plugin("group-checkout");
    let arguments =
        ["replay", plugin.to_str().expect("a path"), "--store", path.to_str().expect("a path")];
    let replayed = sagabox(host.folder(), &arguments).with(0);
    assert!(replayed.output.contains('2'), "{}", replayed.output);
    let queued = "in the queue: it waits for a worker";
    for wanted in
        [&*place, "GuestCheckoutCompleted", "Why it waits", "<svg class=\"timeline\"", queued]
    {
        assert!(html.contains(wanted), "no {wanted}: {html}");
    }
}

#[tokio::test]
async fn the_page_of_a_dead_letter_has_the_log_of_the_call_that_failed() {
    let mut host = Host::builder().plugin("mistaken").start().await;
    let client = host.client();
    let order = json!({"orderId": "<b>1</b>\u{1b}", "what": "panic"});
    client.send(&[event("1", "mistake", "1", &order)]).await;
    wait::until("a dead letter", wait::SOON, async || {
        let found = client.dead_letters().await?.len();
        if found == 1 { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
    // The lines are kept with the dead letter, not in memory.
    host.kill_and_start().await;
    let html = page(&host, "/dead-letters/1").await;
    for wanted in ["The newest lines of the call that failed.", "the amount of &#60;b&#62;1"] {
        assert!(html.contains(wanted), "no {wanted}: {html}");
    }
    assert!(html.contains("\\u{1b} is missing"), "{html}");
}

async fn wait_for_decisions(client: &Client, count: usize) {
    wait::until("decisions", wait::SOON, async || {
        let found = client.instance("group-checkout", "g").await?;
        let found = found["history"].as_array().map_or(0, Vec::len);
        if found == count { Ok(()) } else { Err(format!("{found}")) }
    })
    .await;
}

#[tokio::test]
async fn an_open_page_is_sent_what_changes_until_the_host_stops() {
    let mut host = host().await;
    let client = host.client();
    let answer = browser(&host, Method::GET, "/overview/live").send().await.expect("a stream");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut stream = answer.bytes_stream();
    let mut sent = String::new();
    let mut read_until = async |wanted: &str, sent: &mut String| {
        let reading = async {
            while !sent.contains(wanted) {
                let bytes = stream.next().await.expect("the stream goes on").expect("bytes");
                sent.push_str(&String::from_utf8_lossy(&bytes));
            }
        };
        let read = tokio::time::timeout(wait::SOON, reading).await;
        read.unwrap_or_else(|_| panic!("no {wanted} in {sent}"));
    };
    read_until("hx-target=\"#accounts\"", &mut sent).await;
    sent.clear();
    client.send(&[cart_finalized("1", "cart-1")]).await;
    read_until("<dt>Events accepted</dt><dd>1</dd>", &mut sent).await;
    assert!(!sent.contains("hx-target=\"#live-state\""), "what is the same is not sent: {sent}");
    host.terminate().await;
    let rest = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(wait::SOON, rest).await.expect("the stream ends with the host");
    host.ended().await;
}

/// Data can be nested as deeply as its bytes permit.
#[tokio::test]
async fn a_deeply_nested_event_is_shown_without_taking_the_memory_of_the_host() {
    const DEPTH: usize = 30_000;
    let host = host().await;
    let data = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let body = format!(
        r#"{{"specversion":"1.0","id":"deep","source":"/test","type":"CartFinalized","datacontenttype":"application/json","data":{data}}}"#
    );
    let client = host.client();
    let sent = client.post_events(sagabox_tests::client::STRUCTURED, body).await;
    assert_eq!(sent.expect("an answer").status(), StatusCode::ACCEPTED);
    // The list of dead letters has the event, which a reader with a bounded depth cannot read.
    wait::until("a dead letter", wait::SOON, async || {
        let causes = client.get("/dead-letters/causes").await?;
        if causes["causes"][0]["dead_letters"] == 1 { Ok(()) } else { Err(causes.to_string()) }
    })
    .await;
    for path in ["/event?position=1", "/dead-letters/1", "/search?text=deep"] {
        let answer = browser(&host, Method::GET, path).send().await.expect("an answer");
        let html = answer.text().await.expect("text");
        assert!(html.len() < 100 * DEPTH * 2, "{path}: {} bytes", html.len());
    }
    let shown = sagabox(host.folder(), &["dead-letter", "1", "--host", &host.url()]);
    assert!(shown.output.len() < 100 * DEPTH * 2, "{} bytes", shown.output.len());
}

/// A form is longer than what a reader writes: it is escaped.
#[tokio::test]
async fn a_form_takes_as_much_as_the_host_accepts_of_an_event() {
    let host = host().await;
    let text = "\"".repeat(600_000);
    let data = json!({"cartId": "c", "clientId": "u", "note": text}).to_string();
    assert!(data.len() > 1_000_000);
    let form = format!("type=CartFinalized&id=long&raw=1&json={}", encode(&data));
    let request = browser(&host, Method::POST, "/send").header("sec-fetch-site", "same-origin");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(form).send().await.expect("an answer");
    let (status, html) = (answer.status(), answer.text().await.expect("text"));
    assert_eq!(status, StatusCode::OK, "{}", html.chars().take(2_000).collect::<String>());
    assert_eq!(host.client().get("/accounts").await.expect("accounts")["events"], 1);
}
