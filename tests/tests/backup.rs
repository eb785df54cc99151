//! A backup taken under load becomes a store on which another host goes on.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sagabox_tests::client::Client;
use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use serde_json::Value;

const EVENTS_PER_BATCH: usize = 50;
/// Before the backup begins; it shall have something to copy.
const BATCHES_BEFORE: usize = 20;

fn sagabox(arguments: &[&str], store: &Path) -> Output {
    let mut command = Command::new(paths::binary());
    command.args(arguments).arg("--store").arg(store).current_dir(std::env::temp_dir());
    command.output().expect("the binary under test starts")
}

fn events(batch: usize) -> Vec<Value> {
    let ids = batch * EVENTS_PER_BATCH..(batch + 1) * EVENTS_PER_BATCH;
    ids.map(|n| cart_finalized(&format!("e-{n}"), &format!("cart-{n}"))).collect()
}

/// Counts a batch when it was acknowledged.
async fn load(client: Client, acknowledged: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    for batch in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        client.send(&events(batch)).await;
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_backup_under_load_has_all_that_was_acknowledged_before_it_began() {
    let mut host = Host::builder().plugin("order-saga").start().await;
    let (acknowledged, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let load = tokio::spawn(load(host.client(), Arc::clone(&acknowledged), Arc::clone(&stop)));
    wait::until("acknowledged batches", wait::LONG, || async {
        let n = acknowledged.load(Ordering::Relaxed);
        if n >= BATCHES_BEFORE { Ok(()) } else { Err(n.to_string()) }
    })
    .await;

    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let copy = folder.path().join("copy.db");
    let named = copy.to_str().expect("a name in UTF-8").to_owned();
    let before = acknowledged.load(Ordering::Relaxed);
    let (of, target) = (host.store(), named.clone());
    let backup = tokio::task::spawn_blocking(move || sagabox(&["backup", &target, "--json"], &of));
    let backup = backup.await.expect("the backup");
    assert!(backup.status.success(), "{backup:?}");
    let said: Value = serde_json::from_slice(&backup.stdout).expect("JSON");
    let copied = said["events"].as_u64().expect("how many events");
    assert!(copied >= (before * EVENTS_PER_BATCH) as u64, "{said}, of {before} batches");
    let after = acknowledged.load(Ordering::Relaxed);
    wait::until("load after the backup", wait::LONG, || async {
        let n = acknowledged.load(Ordering::Relaxed);
        if n > after { Ok(()) } else { Err(n.to_string()) }
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    load.await.expect("the load");
    host.kill().await;

    let elsewhere = folder.path().join("other.db");
    let restored = sagabox(&["restore", &named], &elsewhere);
    assert!(restored.status.success(), "{restored:?}");
    let again = Host::builder().plugin("order-saga").store(&elsewhere).start().await;
    let client = again.client();
    for batch in 0..before {
        let sent = client.send(&events(batch)).await;
        assert_eq!(sent.accepted, 0, "batch {batch} of {before} was lost");
    }
    let accounts = client.get("/accounts").await.expect("the accounts");
    assert_eq!(accounts["events"].as_u64(), Some(copied));
    client.take_exactly("InitializeOrder", usize::try_from(copied).expect("few")).await;
    client.wait_for_balance().await;
    client.assert_no_dead_letters().await;

    let refused = sagabox(&["restore", &named], &elsewhere);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let refused = sagabox(&["backup", &named], &elsewhere);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), said.contains("already exists")), (Some(2), true), "{said}");
}
