//! A full disk: events are refused with the reason, nothing that was acknowledged is
//! lost, and work goes on when there is room, without a restart.

use std::path::Path;
use std::process::Command;

use sagabox_tests::client::{BATCH, PROBLEM};
use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;
use sagabox_tests::wait;
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
    assert!(problem.contains("disk is full"), "{problem}");
    host.assert_runs();

    disk.grow();
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
