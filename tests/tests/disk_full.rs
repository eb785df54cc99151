//! A full disk, and a limit for the size of files: events are refused with the reason, every request
//! has an answer, nothing that was acknowledged is lost, and work goes on when there is room, without
//! a restart.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use reqwest::Method;
use sagabox_tests::client::{BATCH, PROBLEM};
use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

const SMALL: &str = "size=16m";
const ROOMY: &str = "size=256m";
const EVENTS_PER_BATCH: usize = 10;
/// So that a few hundred events fill the disk.
const NOTE_BYTES: usize = 20_000;
const BATCHES_MAX: usize = 1_000;

/// A small file system of its own; none if this machine does not let us make one.
struct Disk(TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let disk = Self(TempDir::new().expect("a temporary folder"));
        let mounted = mount(&["-t", "tmpfs", "-o", SMALL, "tmpfs"], disk.path());
        mounted.then_some(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn grow(&self) {
        assert!(mount(&["-o", &format!("remount,{ROOMY}")], self.path()), "it cannot grow");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the host may still end.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn mount(arguments: &[&str], path: &Path) -> bool {
    Command::new("mount").args(arguments).arg(path).status().is_ok_and(|status| status.success())
}

fn events(batch: usize) -> Vec<Value> {
    let ids = batch * EVENTS_PER_BATCH..(batch + 1) * EVENTS_PER_BATCH;
    ids.map(|n| {
        let mut event = cart_finalized(&format!("e-{n}"), &format!("cart-{n}"));
        event["data"]["note"] = json!("x".repeat(NOTE_BYTES));
        event
    })
    .collect()
}

/// Sends batches until the host refuses one for lack of room. Returns how many it has accepted.
async fn fill(host: &mut Host, because: &str) -> usize {
    let client = host.client();
    let mut accepted = 0;
    let refused = loop {
        let body = json!(events(accepted)).to_string();
        let response = client.post_events(BATCH, body).await.expect("the host answers");
        if response.status() != 202 {
            break response;
        }
        accepted += 1;
        assert!(accepted < BATCHES_MAX, "the disk never fills");
    };
    assert_eq!(refused.status(), 503);
    let header = |name: &str| refused.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header("content-type"), Some(PROBLEM));
    assert!(header("retry-after").is_some(), "no Retry-After");
    let problem = refused.text().await.expect("a body");
    assert!(problem.contains(because), "{problem}");
    host.assert_runs();
    accepted
}

/// Each request of an operator that changes something.
const CHANGES: [(&str, &str); 6] = [
    ("/pauses", r#"{"target":{"kind":"plugin","plugin":"order-saga"},"reason":"r"}"#),
    ("/pauses/resume", r#"{"target":{"kind":"ingest"}}"#),
    (
        "/limits",
        r#"{"target":{"kind":"type","type":"InitializeOrder"},"per_second":1000000,"reason":"r"}"#,
    ),
    ("/retries", r#"{"plugin":"order-saga","key":"cart-1"}"#),
    ("/views", r#"{"name":"mine","filter":{"plugin":"order-saga"}}"#),
    ("/batches", r#"{"action":"redrive","plugin":"order-saga"}"#),
];

/// While the store takes nothing, each of them has an answer, and the pages say what is wrong.
async fn operators_have_answers(host: &mut Host) {
    let client = host.client();
    for (path, body) in CHANGES {
        let request = client.request(Method::POST, path).body(body);
        let request = request.header("content-type", "application/json");
        let response = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let (status, text) = (response.status(), response.text().await.expect("a body"));
        // What needs no room, or is refused anyway, may be answered as ever.
        assert!(status == 503 || !status.is_server_error(), "{path}: {status} {text}");
    }
    host.assert_runs();
}

/// There is room again: everything continues without a restart, and nothing was lost.
async fn work_resumes(host: &mut Host, accepted: usize) {
    let client = host.client();
    client.send(&events(accepted)).await;
    let count = (accepted + 1) * EVENTS_PER_BATCH;
    client.take_exactly("InitializeOrder", count).await;
    client.wait_for_balance().await;
    client.wait_for_pending(0).await;
    client.assert_no_dead_letters().await;
    host.assert_runs();

    host.kill_and_start().await;
    let client = host.client();
    for batch in 0..=accepted {
        let again = client.send(&events(batch)).await;
        assert_eq!(again.accepted, 0, "batch {batch} of {accepted} was lost");
    }
    wait::until("the same sums after a restart", wait::SOON, || async {
        let accounts = client.get("/accounts").await?;
        let events = accounts["events"].as_u64();
        if events == Some(count as u64) { Ok(()) } else { Err(accounts.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_lost_and_work_resumes_by_itself() {
    let Some(disk) = Disk::mount() else {
        eprintln!(
            "NOT TESTED: a full disk. This machine lets us mount no file system; run as root"
        );
        return;
    };
    let mut host =
        Host::builder().plugin("order-saga").store(disk.path().join("sagabox.db")).start().await;
    let accepted = fill(&mut host, "disk is full").await;
    operators_have_answers(&mut host).await;
    disk.grow();
    resume_all(&host).await;
    work_resumes(&mut host, accepted).await;
}

/// A process may have a limit for the size of its files. The signal that the system sends at the
/// limit must not end the host.
#[tokio::test]
async fn a_limit_for_the_size_of_files_is_like_a_full_disk() {
    let folder = TempDir::new().expect("a temporary folder");
    let limited = folder.path().join("limited");
    let script = |limit: &str| {
        let binary = paths::binary();
        std::fs::write(&limited, format!("#!/bin/sh\n{limit}\nexec {} \"$@\"\n", binary.display()))
            .expect("a script");
    };
    // In units of 512 bytes, as POSIX says.
    script(&format!("ulimit -S -f {}", (12 << 20) / 512));
    std::fs::set_permissions(&limited, Permissions::from_mode(0o755)).expect("its mode");
    let mut host = Host::builder().plugin("order-saga").binary(&limited).start().await;
    let accepted = fill(&mut host, "largest size that this process may write").await;
    operators_have_answers(&mut host).await;
    let process = host.process().to_string();
    let raised = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &process]).status();
    assert!(raised.is_ok_and(|status| status.success()), "the limit cannot be raised");
    // Also of the host that starts later.
    script("");
    resume_all(&host).await;
    work_resumes(&mut host, accepted).await;
}

/// Ends what the requests of the operators have set.
async fn resume_all(host: &Host) {
    let client = host.client();
    wait::until("the store accepts events again", wait::SOON, || async {
        client.get("/pauses").await?;
        client.text("/readyz").await
    })
    .await;
    let pauses = client.get("/pauses").await.expect("the pauses");
    for pause in pauses["pauses"].as_array().expect("a list") {
        let request = client.request(Method::POST, "/pauses/resume");
        let body = json!({ "target": pause["target"] });
        let response = request.json(&body).send().await.expect("an answer");
        assert!(response.status().is_success(), "{:?}", response.text().await);
    }
}
