//! Payloads that few parsers read: JSON by its grammar, with half of a surrogate pair, a
//! number beyond 64 bits, two members of one name, hundreds of arrays. Whatever becomes of
//! them (decided, refused, dead, shown, edited, sent again), they stay what they were,
//! and nothing stops. All is compared as text: a parser in the test would hide a change.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use reqwest::Method;
use sagabox_tests::client::{BATCH, Client, STRUCTURED};
use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use serde_json::Value;

/// What each of them has where its key is not.
fn odd() -> Vec<(&'static str, String)> {
    vec![
        ("surrogate", r#""cut \ud83d""#.to_owned()),
        ("large", "1e400".to_owned()),
        ("digits", r"[12345678901234567890123,10.00,-0,117.63331139400017]".to_owned()),
        ("twice", r#"{"n":1,"n":2,"\udead":"\u00e4\/"}"#.to_owned()),
        ("deep", format!("{}{}", "[".repeat(200), "]".repeat(200))),
        ("deeper", format!("{}{}", "[".repeat(5_000), "]".repeat(5_000))),
        ("blanks", "[ 1 ,\n 2 ]".to_owned()),
    ]
}

async fn text(client: &Client, method: Method, path: &str, body: String) -> (StatusCode, String) {
    let request = client.request(method, path).header("content-type", "application/json");
    let response = request.body(body).send().await.expect("an answer");
    let status = StatusCode::from_u16(response.status().as_u16()).expect("a status");
    (status, response.text().await.expect("a body"))
}

async fn accepted(client: &Client, event: String) {
    let response = client.post_events(STRUCTURED, event).await.expect("an answer");
    assert_eq!(
        response.status(),
        reqwest::StatusCode::ACCEPTED,
        "{}",
        response.text().await.unwrap()
    );
}

/// Waits for text at a path.
async fn wait_for(client: &Client, path: &str, wanted: &[&str]) -> String {
    wait::until(path, wait::SOON, async || {
        let text = client.text(path).await?;
        let missing = wanted.iter().find(|part| !text.contains(**part));
        missing.map_or(Ok(text.clone()), |part| Err(format!("no {} in {}", cut(part), cut(&text))))
    })
    .await
}

fn cut(text: &str) -> String {
    text.chars().take(2_000).collect()
}

/// Of an answer's text, an embedded event with this id.
fn event_in<'t>(text: &'t str, id: &str) -> &'t str {
    let beginning = format!(r#"{{"specversion":"1.0","id":"{id}","#);
    let start = text.find(&beginning).unwrap_or_else(|| panic!("no event {id} in {}", cut(text)));
    let (mut depth, mut is_in_string, mut is_escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_in_string,
            b'"' => is_in_string = !is_in_string,
            b'{' if !is_in_string => depth += 1,
            b'}' if !is_in_string => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[start..=at];
        }
    }
    panic!("the event {id} has no end");
}

fn lost_payment(id: &str, order: &str, odd: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/payments","type":"OrderInitialized","data":{{"orderId":"{order}","odd":{odd}}}}}"#
    )
}

#[tokio::test]
async fn a_dead_letter_is_shown_edited_and_redriven_byte_for_byte() {
    let mut host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let path = "/dead-letters?type=OrderInitialized";
    // Without a price, none of them can be read by the saga.
    for (n, (_, odd)) in odd().iter().enumerate() {
        accepted(&client, lost_payment(&format!("e-{n}"), &format!("o-{n}"), odd)).await;
        // One after the other, so that their dead letters are numbered like them.
        wait_for(&client, path, &[&format!(r#""id":"e-{n}""#)]).await;
    }
    let last = format!(r#""id":"e-{}""#, odd().len() - 1);
    wait_for(&client, path, &[&last]).await;
    host.kill_and_start().await;
    let client = host.client();
    let page = wait_for(&client, path, &[&last]).await;
    for (n, (name, odd)) in odd().iter().enumerate() {
        let sent = lost_payment(&format!("e-{n}"), &format!("o-{n}"), odd);
        assert_eq!(event_in(&page, &format!("e-{n}")), sent, "{name}");
        let id = n + 1;
        let (_, dead_letter) =
            text(&client, Method::GET, &format!("/dead-letters/{id}"), String::new()).await;
        let shown = event_in(&dead_letter, &format!("e-{n}")).to_owned();
        assert_eq!(shown, sent, "{name}");

        // One member is added by hand; all other bytes stay.
        let edited = shown.replace(r#""odd":"#, r#""totalPrice":10.00,"odd":"#);
        let body = format!(r#"{{"by":"ada","reason":"the price","event":{edited}}}"#);
        let (status, answer) =
            text(&client, Method::POST, &format!("/dead-letters/{id}/redrive"), body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{name}: {answer}");
        let dead_letter =
            wait_for(&client, &format!("/dead-letters/{id}"), &[r#""status":"redriven""#]).await;
        assert!(
            dead_letter.contains(&format!(r#""edited":{edited}"#)),
            "{name}: {}",
            cut(&dead_letter)
        );
        assert!(
            dead_letter.contains(&format!(r#""event":{sent}"#)),
            "{name}: {}",
            cut(&dead_letter)
        );
    }
    client.take_exactly("RequestPayment", odd().len()).await;
    client.wait_for_balance().await;
}

#[tokio::test]
async fn the_command_line_keeps_every_byte_of_a_dead_letter() {
    let host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(paths::binary());
        command.args(arguments).args(["--host", &host.url()]);
        let output = command.output().expect("the command runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    };
    for (n, (name, odd)) in odd().iter().enumerate() {
        let (id, event) =
            (format!("e-{n}"), lost_payment(&format!("e-{n}"), &format!("o-{n}"), odd));
        accepted(&client, event.clone()).await;
        wait_for(&client, "/dead-letters?status=open", &[&format!(r#""id":"{id}""#)]).await;
        let shown = run(&["dead-letters", "--status", "open", "--json"]);
        assert_eq!(event_in(&shown, &id), event, "{name}");
        // The table can be shown as well.
        assert!(run(&["dead-letters", "--status", "open"]).contains("totalPrice"), "{name}");

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("event.json");
        let edited = event.replace(r#""odd":"#, r#""totalPrice":10.00,"odd":"#);
        std::fs::write(&file, &edited).expect("a file");
        let dead_letter = (n + 1).to_string();
        run(&[
            "redrive",
            &dead_letter,
            "--edit",
            file.to_str().unwrap(),
            "--reason",
            "the price",
            "--by",
            "ada",
        ]);
        let path = format!("/dead-letters/{dead_letter}");
        let dead_letter = wait_for(&client, &path, &[r#""status":"redriven""#]).await;
        assert!(
            dead_letter.contains(&format!(r#""edited":{edited}"#)),
            "{name}: {}",
            cut(&dead_letter)
        );
    }
    client.take_exactly("RequestPayment", odd().len()).await;
}

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A service that answers every request with this status, and remembers it.
async fn service(status: StatusCode) -> (String, Seen) {
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let answer = async move |headers: HeaderMap, body: Bytes| {
        log.lock().expect("no panic").push((headers, body));
        (status, "because")
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/in", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, seen)
}

/// An event that has the hostile plugin send this as a command's data.
fn send(n: usize, data: &str) -> String {
    let behaviour = serde_json::to_string(&format!("send {data}")).expect("a string");
    format!(
        r#"{{"specversion":"1.0","id":"s-{n}","source":"/test","type":"attack","subject":"key-{n}","datacontenttype":"text/plain","data":{behaviour}}}"#
    )
}

/// Leases until this many messages have come, and returns the answers' text.
async fn leased(client: &Client, queue: &str, count: usize) -> String {
    let all = Mutex::new(String::new());
    wait::until("messages", wait::SOON, async || {
        let body = format!(r#"{{"queue":"{queue}","max":100,"wait_ms":500,"duration_ms":30000}}"#);
        let (status, answer) = text(client, Method::POST, "/queues/lease", body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let mut all = all.lock().expect("no panic");
        all.push_str(&answer);
        let found = all.matches(r#""attempt":"#).count();
        if found >= count { Ok(()) } else { Err(format!("{found} of {count}")) }
    })
    .await;
    all.into_inner().expect("no panic")
}

/// The commands' data: what each event asked for, and that it got an event about each of them.
async fn check_undeliverable(client: &Client, undeliverable: &str) {
    for (n, (name, odd)) in odd().iter().enumerate() {
        let part = format!(r#""data":{{"n":{n},"odd":{odd}}}"#);
        assert!(undeliverable.contains(&part), "{name} is not in {}", cut(undeliverable));
    }
    // The host goes on, for other plugins and for this one.
    client.send(&[cart_finalized("after", "cart")]).await;
    client.take_exactly("InitializeOrder", 1).await;
    client.wait_for_balance().await;
}

#[tokio::test]
async fn a_command_that_its_sink_refuses_comes_back_to_its_instance_as_it_was() {
    let (url, seen) = service(StatusCode::UNPROCESSABLE_ENTITY).await;
    let configuration = format!("[sink.web]\nurl = \"{url}\"\n\n[routes]\nBehaved = \"web\"\n");
    let builder = Host::builder().plugin("hostile").plugin("order-saga");
    let mut host = builder.configuration(configuration).start().await;
    let client = host.client();
    for (n, (_, odd)) in odd().iter().enumerate() {
        accepted(&client, send(n, &format!(r#"{{"n":{n},"odd":{odd}}}"#))).await;
    }
    let undeliverable = leased(&client, "Told", odd().len()).await;
    check_undeliverable(&client, &undeliverable).await;
    for (n, (name, odd)) in odd().iter().enumerate() {
        let data = format!(r#"{{"n":{n},"odd":{odd}}}"#);
        let seen = seen.lock().expect("no panic");
        assert!(
            seen.iter().any(|(_, body)| body == data.as_bytes()),
            "{name} did not leave as it was"
        );
    }
    host.kill_and_start().await;
    let client = host.client();
    let page = wait_for(&client, "/dead-letters?sink=web", &[r#""kind":"message""#]).await;
    for (n, (name, odd)) in odd().iter().enumerate() {
        assert!(page.contains(&format!(r#""data":{{"n":{n},"odd":{odd}}}"#)), "{name}");
    }
    host.assert_runs();
}

#[tokio::test]
async fn a_command_that_a_worker_gives_back_comes_back_to_its_instance_as_it_was() {
    let builder = Host::builder().plugin("hostile").plugin("order-saga");
    let host = builder.configuration("[retry]\nattempts = 1\n").start().await;
    let client = host.client();
    for (n, (_, odd)) in odd().iter().enumerate() {
        accepted(&client, send(n, &format!(r#"{{"n":{n},"odd":{odd}}}"#))).await;
    }
    let given_back = AtomicUsize::new(0);
    wait::until("commands", wait::SOON, async || {
        let body = r#"{"queue":"Behaved","max":100,"wait_ms":500,"duration_ms":30000}"#;
        let (_, lease) = text(&client, Method::POST, "/queues/lease", body.to_owned()).await;
        let leased = lease.matches(r#""attempt":"#).count();
        let all = given_back.fetch_add(leased, Ordering::Relaxed) + leased;
        let id = lease.split('"').nth(3).unwrap_or_default();
        let body =
            format!(r#"{{"queue":"Behaved","lease":"{id}","reason":"cannot \ud83d\ude00"}}"#);
        text(&client, Method::POST, "/queues/give-back", body).await;
        if all >= odd().len() { Ok(()) } else { Err(format!("{all} commands")) }
    })
    .await;
    let undeliverable = leased(&client, "Told", odd().len()).await;
    check_undeliverable(&client, &undeliverable).await;
}

#[tokio::test]
async fn compressed_bodies_are_unpacked_or_refused() {
    let host = Host::builder()
        .plugin("order-saga")
        .configuration("[limits]\nbody_bytes = 100000\n")
        .start()
        .await;
    let client = host.client();
    let post = async |encoding: &str, body: Vec<u8>| {
        let request = client.request(Method::POST, "/events").header("content-type", BATCH);
        let response =
            request.header("content-encoding", encoding).body(body).send().await.unwrap();
        (response.status().as_u16(), response.headers().clone(), response.text().await.unwrap())
    };
    let gzip = |text: &str| {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let batch = |id: &str| Value::from(vec![cart_finalized(id, id)]).to_string();
    let (status, _, answer) = post("gzip", gzip(&batch("a"))).await;
    assert_eq!((status, answer.as_str()), (202, r#"{"accepted":1,"duplicates":0}"#));
    let (status, _, answer) = post("identity", batch("b").into_bytes()).await;
    assert_eq!(status, 202, "{answer}");
    let (status, headers, answer) = post("br", batch("c").into_bytes()).await;
    assert_eq!(status, 415, "{answer}");
    assert!(headers["accept-encoding"].to_str().unwrap().contains("gzip"));
    let (status, _, answer) = post("gzip", batch("d").into_bytes()).await;
    assert_eq!(status, 400, "{answer}");
    let (status, _, answer) = post("gzip", gzip(&" ".repeat(200_000))).await;
    assert_eq!(status, 413, "{answer}");
    client.take_exactly("InitializeOrder", 2).await;
}
