//! Sinks as an operator sees them: a slip in an address, secrets, files.

use std::path::Path;

use reqwest::Method;
use sagabox_tests::client::Client;
use sagabox_tests::command::{sagabox, sagabox_with};
use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;
use sagabox_tests::sink::{Sink, StatusCode};
use sagabox_tests::wait;
use serde_json::{Value, json};

/// The command that each finalized cart leads to.
const COMMAND: &str = "InitializeOrder";
/// Quick retries, so that tests need not wait for them.
const RETRY: &str = "[retry]\nattempts = 4\ndelay_ms_min = 1\ndelay_ms_max = 50\n";

async fn host(configuration: String) -> Host {
    Host::builder().plugin("order-saga").configuration(configuration).start().await
}

/// Finalized carts, each of its own key.
fn carts(count: usize) -> Vec<Value> {
    (0..count).map(|n| cart_finalized(&format!("e-{n}"), &format!("cart-{n}"))).collect()
}

async fn wait_for_deliveries(sink: &Sink, count: usize) {
    wait::until("deliveries", wait::SOON, async || {
        let found = sink.messages().len();
        if found == count { Ok(()) } else { Err(format!("{found} of {count}")) }
    })
    .await;
}

async fn wait_for_down(client: &Client) -> Value {
    wait::until("a sink that is down", wait::SOON, async || {
        let down = client.sinks_down().await?;
        down.into_iter().next().ok_or_else(|| "none".to_owned())
    })
    .await
}

#[tokio::test]
async fn a_slip_in_an_address_or_in_credentials_kills_nothing_and_shows() {
    for status in [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND, StatusCode::FOUND] {
        let sink = Sink::start().await;
        sink.answer_with(Some(status));
        let routes = format!("[sink.shop]\nurl = \"{}\"\n[routes]\n{COMMAND} = \"shop\"", sink.url);
        let host = host(format!("{RETRY}{routes}")).await;
        let client = host.client();
        client.send(&carts(50)).await;
        let down = wait_for_down(&client).await;
        let reason = down["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(&format!("answered {status}")), "{down}");
        let posts = sink.requests().len();
        assert!(posts < 12, "{posts} requests before it showed");
        client.assert_no_dead_letters().await;
        sink.answer_with(None);
        wait_for_deliveries(&sink, 50).await;
        client.assert_no_dead_letters().await;
        client.wait_for_balance().await;
    }
}

#[tokio::test]
async fn the_order_of_a_sink_says_what_a_dead_letter_holds_back() {
    // The carts of ten messages, and how many of these become dead letters if all are refused.
    let one = vec!["a"; 10];
    let two = ["a", "b"].repeat(5);
    for (order, carts, dead_letters) in
        [("key", &one, 1), ("key", &two, 2), ("none", &one, 10), ("whole", &two, 1)]
    {
        let sink = Sink::start().await;
        sink.answer_with(Some(StatusCode::BAD_REQUEST));
        let configuration = format!(
            "{RETRY}[sink.shop]\nurl = \"{}\"\norder = \"{order}\"\n[routes]\n{COMMAND} = \"shop\"",
            sink.url
        );
        let mut host = host(configuration).await;
        let client = host.client();
        let event = |(n, cart): (usize, &&str)| cart_finalized(&format!("e-{n}"), cart);
        let events: Vec<_> = carts.iter().enumerate().map(event).collect();
        // Decisions of different keys are committed in any order; the whole order is that of
        // the commits.
        let at_once = if order == "whole" { 1 } else { events.len() };
        for (sent, events) in (1..).zip(events.chunks(at_once)) {
            client.send(events).await;
            wait::until("the commands", wait::SOON, async || {
                let accounts = client.get("/accounts").await?;
                let counts = ["parked", "pending", "dead"];
                let commands = counts.iter().map(|count| accounts["sinks"][0][count].as_u64());
                let all = commands.flatten().sum::<u64>() == sent * at_once as u64;
                if all { Ok(()) } else { Err(accounts.to_string()) }
            })
            .await;
        }
        let rest = carts.len() - dead_letters;
        wait::until("dead letters", wait::SOON, async || {
            let (found, accounts) =
                (client.dead_letters().await?.len(), client.get("/accounts").await?);
            // What comes behind the dead letter of a whole order stays in the outbox.
            let behind = ["parked", "pending"].map(|count| accounts["sinks"][0][count].as_u64());
            let all = found == dead_letters && behind.iter().flatten().sum::<u64>() == rest as u64;
            if all { Ok(()) } else { Err(format!("{order}: {found}, {accounts}")) }
        })
        .await;
        client.wait_for_balance().await;
        assert_eq!(sink.requests().len(), dead_letters, "{order}: no other was tried");
        // What was put aside goes on, also after a crash.
        host.kill_and_start().await;
        let client = host.client();
        sink.answer_with(None);
        wait::until("deliveries", wait::SOON, async || {
            let ids: Vec<Value> = client
                .dead_letters()
                .await?
                .into_iter()
                .map(|dead_letter| dead_letter["id"].clone())
                .collect();
            let path = "/dead-letters/redrive";
            let redriven = client.request(Method::POST, path).json(&json!({"ids": ids}));
            redriven.send().await.map_err(|error| error.to_string())?;
            let found = sink.messages().len();
            if found == carts.len() { Ok(()) } else { Err(format!("{order}: {found}")) }
        })
        .await;
        client.wait_for_balance().await;
        if order == "whole" {
            let came: Vec<_> =
                sink.deliveries().into_iter().map(|d| d.data["cartId"].clone()).collect();
            assert_eq!(came, *carts);
        }
    }
}

#[tokio::test]
async fn what_a_status_means_can_be_said() {
    let sink = Sink::start().await;
    sink.answer_with(Some(StatusCode::NOT_FOUND));
    let configuration = format!(
        "{RETRY}[sink.shop]\nurl = \"{}\"\n[sink.shop.status]\n\"404\" = \"message\"\n\
         [routes]\n{COMMAND} = \"shop\"",
        sink.url
    );
    let host = host(configuration).await;
    let client = host.client();
    client.send(&carts(3)).await;
    wait::until("dead letters", wait::SOON, async || {
        let dead_letters = client.dead_letters().await?;
        if dead_letters.len() == 3 { Ok(()) } else { Err(format!("{dead_letters:?}")) }
    })
    .await;
    assert_eq!(sink.requests().len(), 3);
}

#[tokio::test]
async fn a_message_that_always_fails_on_a_quiet_sink_becomes_a_dead_letter() {
    let sink = Sink::start().await;
    sink.answer_with(Some(StatusCode::INTERNAL_SERVER_ERROR));
    let routes = format!("[sink.shop]\nurl = \"{}\"\n[routes]\n{COMMAND} = \"shop\"", sink.url);
    let host = host(format!("{RETRY}{routes}")).await;
    let client = host.client();
    client.send(&carts(1)).await;
    let dead_letter = wait::until("a dead letter", wait::SOON, async || {
        let dead_letters = client.dead_letters().await?;
        dead_letters.first().cloned().ok_or_else(|| "none".to_owned())
    })
    .await;
    assert_eq!(dead_letter["attempts"], 4);
}

#[tokio::test]
async fn secrets_are_sent_and_displayed_nowhere() {
    const SECRETS: [&str; 5] = ["hunter2", "s3cret", "api-key-1", "tenant-7", "file-token"];
    let sink = Sink::start().await;
    sink.answer_with(Some(StatusCode::BAD_REQUEST));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "Bearer file-token\n").expect("a file");
    let url = sink.url.replace("http://", "http://ada:hunter2@") + "?token=s3cret";
    let configuration = format!(
        "[sink.shop]\nurl = {{ env = \"SHOP_URL\" }}\n[sink.shop.headers]\n\
         Authorization = {{ file = \"{}\" }}\nX-Api-Key = {{ env = \"SHOP_KEY\" }}\n\
         X-Tenant = \"tenant-7\"\n[routes]\n{COMMAND} = \"shop\"",
        file.display()
    );
    let mut host = Host::builder()
        .plugin("order-saga")
        .configuration(configuration)
        .variable("SHOP_URL", &url)
        .variable("SHOP_KEY", "api-key-1")
        .variable("RUST_LOG", "debug")
        .start()
        .await;
    let client = host.client();
    client.send(&carts(1)).await;
    let dead_letter = wait::until("a dead letter", wait::SOON, async || {
        let dead_letters = client.dead_letters().await?;
        dead_letters.first().cloned().ok_or_else(|| "none".to_owned())
    })
    .await;
    let headers = sink.requests().remove(0);
    assert_eq!(headers["authorization"], "Bearer file-token");
    assert_eq!(headers["x-api-key"], "api-key-1");
    assert_eq!(headers["x-tenant"], "tenant-7");
    // Then a sink that answers wrongly, and one that is gone.
    sink.answer_with(Some(StatusCode::FORBIDDEN));
    client.send(&[cart_finalized("later", "later")]).await;
    wait_for_down(&client).await;
    drop(sink);
    let sinks = wait::until("a sink that is gone", wait::SOON, async || {
        let sinks = client.get("/sinks").await?.to_string();
        if sinks.contains("refused") { Ok(sinks) } else { Err(sinks) }
    })
    .await;
    let metrics = client.text("/metrics").await.expect("metrics");
    host.stop().await;
    let shown = format!("{dead_letter}\n{sinks}\n{metrics}\n{}", host.log());
    for secret in SECRETS {
        assert!(!shown.contains(secret), "`{secret}` is displayed: {shown}");
    }
}

#[tokio::test]
async fn no_proxy_is_asked_for_this_machine() {
    let sink = Sink::start().await;
    let routes = format!("[sink.shop]\nurl = \"{}\"\n[routes]\n{COMMAND} = \"shop\"", sink.url);
    let mut builder = Host::builder().plugin("order-saga").configuration(routes);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        // Nothing listens there.
        builder = builder.variable(name, "http://127.0.0.1:1");
    }
    let host = builder.variable("NO_PROXY", "").start().await;
    let client = host.client();
    client.send(&carts(1)).await;
    wait_for_deliveries(&sink, 1).await;
    let proxy = [("HTTP_PROXY", "http://127.0.0.1:1"), ("http_proxy", "http://127.0.0.1:1")];
    let arguments = ["accounts", "--host", &host.url()];
    let _ = sagabox_with(host.folder(), &arguments, &proxy).with(0).saying("shop");
}

#[tokio::test]
async fn a_file_that_is_moved_away_is_followed_by_a_new_one() {
    let configuration = format!("[sink.log]\nfile = \"out.ndjson\"\n[routes]\n{COMMAND} = \"log\"");
    let host = host(configuration).await;
    let client = host.client();
    let (path, moved) = (host.folder().join("out.ndjson"), host.folder().join("out.1"));
    let wait_for_lines = async |path: &Path, count: usize| {
        wait::until("lines", wait::SOON, async || {
            let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
            if text.lines().count() == count { Ok(()) } else { Err(text) }
        })
        .await;
    };
    let events = carts(5);
    client.send(&events[..2]).await;
    wait_for_lines(&path, 2).await;
    std::fs::rename(&path, &moved).expect("the file can be moved");
    client.send(&events[2..]).await;
    wait_for_lines(&path, 3).await;
    wait_for_lines(&moved, 2).await;
    client.wait_for_balance().await;
}

#[tokio::test]
async fn two_sinks_cannot_write_to_one_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).expect("a folder for plugins");
    std::fs::write(folder.path().join("out.ndjson"), "").expect("a file");
    std::os::unix::fs::symlink("out.ndjson", folder.path().join("link")).expect("a link");
    std::fs::hard_link(folder.path().join("out.ndjson"), folder.path().join("other"))
        .expect("a link");
    for name in ["out.ndjson", "./plugins/../out.ndjson", "link", "other"] {
        let configuration = format!(
            "listen = \"127.0.0.1:0\"\n[sink.a]\nfile = \"out.ndjson\"\n[sink.b]\nfile = \"{name}\""
        );
        std::fs::write(folder.path().join("sagabox.toml"), configuration).expect("a file");
        let ended = sagabox(folder.path(), &["run", "plugins"]);
        let _ = ended.with(1).saying("is already the file of sink.a");
    }
}
