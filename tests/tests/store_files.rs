//! The store's files belong to the host alone, wherever they lie: nothing in the directory of
//! plugins and no other process costs it an event that was acknowledged.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use sagabox_tests::client::Client;
use sagabox_tests::command::sagabox;
use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::process::Command;

/// Sent at a time.
const EVENTS: usize = 20;

struct Shop {
    host: Host,
    sent: usize,
}

impl Shop {
    async fn open() -> Self {
        let configuration = "[sink.log]\nfile = \"plugins/out.ndjson\"\n\
                             [routes]\nInitializeOrder = \"log\"\n";
        let host = Host::builder().plugin("order-saga").configuration(configuration);
        Self { host: host.store_among_plugins().start().await, sent: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.host.plugins().join(name)
    }

    async fn send(&mut self) {
        let ids = self.sent..self.sent + EVENTS;
        let events: Vec<Value> =
            ids.map(|n| cart_finalized(&format!("e-{n}"), &format!("cart-{n}"))).collect();
        assert_eq!(self.host.client().send(&events).await.accepted, EVENTS);
        self.sent += EVENTS;
    }

    /// Other processes use the store; then the host dies. What it has acknowledged is there.
    #[track_caller]
    fn loses_nothing(&mut self) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let store = self.host.store();
            self.send().await;
            let copy = self.host.folder().join(format!("copy-{}", self.sent));
            let named = copy.to_str().expect("a name in UTF-8");
            let said = run(&["backup", named], &store).await;
            assert!(said.status.success(), "{place}: {said:?}");
            // As a shell of SQLite does: it deletes the log, if it takes itself for the last.
            let mut other = SqliteConnectOptions::new().filename(&store).connect().await.unwrap();
            sqlx::query("SELECT count(*) FROM log").fetch_one(&mut other).await.unwrap();
            other.close().await.unwrap();
            self.send().await;
            self.host.kill_and_start().await;
            let accounts = self.host.client().get("/accounts").await.expect("the accounts");
            assert_eq!(accounts["events"], self.sent, "{place}: acknowledged events are lost");
        }
    }
}

/// Runs the binary with a store; it is killed if it does not end.
async fn run(arguments: &[&str], store: &Path) -> Output {
    let mut command = Command::new(paths::binary());
    command.args(arguments).arg("--store").arg(store).current_dir(std::env::temp_dir());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let ended = command.spawn().expect("the binary under test starts").wait_with_output();
    let ended = tokio::time::timeout(wait::SOON, ended).await;
    ended.unwrap_or_else(|_| panic!("{arguments:?} goes on with {}", store.display())).unwrap()
}

async fn refused_files(client: &Client) -> Vec<(String, String)> {
    let all = client.get("/plugins").await.expect("the plugins");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let refused = all["refused"].as_array().into_iter().flatten();
    refused.map(|one| (text(&one["file"]), text(&one["reason"]))).collect()
}

#[tokio::test]
async fn no_name_in_the_directory_leads_a_host_to_its_own_store() {
    let mut shop = Shop::open().await;
    shop.loses_nothing().await;

    std::fs::create_dir_all(shop.path("candidates")).unwrap();
    let links = ["x.wasm", "x.wat", "order-saga.wasm.minisig", "candidates/c.wasm"];
    for name in links.into_iter().chain(["candidates/c.wasm.toml", "candidates/c.wasm.trial"]) {
        std::fs::hard_link(shop.host.store(), shop.path(name)).unwrap();
    }
    for (name, file) in [("wal.wasm", "sagabox.db-wal"), ("shm.wasm", "sagabox.db-shm")] {
        std::fs::hard_link(shop.path(file), shop.path(name)).unwrap();
        symlink(file, shop.path(&format!("link-{name}"))).unwrap();
    }
    symlink("sagabox.db", shop.path("link.wasm")).unwrap();
    symlink("../sagabox.db", shop.path("candidates/link.wasm")).unwrap();
    let client = shop.host.client();
    wait::until("all links are seen", wait::SOON, || async {
        let refused = refused_files(&client).await;
        let of_store =
            refused.iter().filter(|(_, reason)| reason.contains("a file of the store")).count();
        if of_store == 9 { Ok(()) } else { Err(format!("{refused:?}")) }
    })
    .await;
    shop.loses_nothing().await;
    // It has read everything that it reads at its start.
    shop.loses_nothing().await;

    symlink("sagabox.db", shop.path("sagabox.lock")).unwrap();
    let client = shop.host.client();
    wait::until("the lock file is seen", wait::SOON, || async {
        let log = shop.host.log();
        let seen = log.lines().any(|line| line.contains("sagabox.lock is a file of the store"));
        if seen { Ok(()) } else { Err(format!("{:?}", refused_files(&client).await)) }
    })
    .await;
    shop.loses_nothing().await;
    shop.host.assert_runs();
}

#[tokio::test]
async fn a_store_is_used_by_one_host_and_not_replaced_under_it() {
    let mut shop = Shop::open().await;
    shop.send().await;
    let (store, elsewhere) = (shop.host.store(), shop.host.folder().join("elsewhere"));
    std::fs::create_dir(&elsewhere).unwrap();
    let (soft, hard) = (elsewhere.join("soft.db"), elsewhere.join("hard.db"));
    symlink(&store, &soft).unwrap();
    std::fs::hard_link(&store, &hard).unwrap();
    let copy = elsewhere.join("copy");
    let copy = copy.to_str().expect("a name in UTF-8");
    assert!(run(&["backup", copy], &store).await.status.success());
    let empty = elsewhere.to_str().expect("a name in UTF-8");
    for path in [&store, &soft, &hard] {
        let second = run(&["run", empty, "--listen", "127.0.0.1:0"], path).await;
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        let why = if *path == hard { "has several names" } else { "in use by another Sagabox" };
        assert!(!second.status.success() && said.contains(why), "{}: {said}", path.display());
    }
    for path in [&store, &soft] {
        let replaced = run(&["restore", copy, "--force"], path).await;
        let said = String::from_utf8_lossy(&replaced.stderr).into_owned();
        assert_eq!(replaced.status.code(), Some(2), "{said}");
        assert!(said.contains("in use by another Sagabox"), "{said}");
    }
    // The file alone, without its log, has not all that was acknowledged.
    let name = store.to_str().expect("a name in UTF-8");
    let half = run(&["restore", name], &elsewhere.join("half.db")).await;
    let said = String::from_utf8_lossy(&half.stderr).into_owned();
    assert!(!half.status.success() && said.contains("its last events are in"), "{said}");
    shop.loses_nothing().await;
}

#[tokio::test]
async fn a_host_whose_store_was_taken_over_ends_and_acknowledges_nothing_more() {
    let mut shop = Shop::open().await;
    shop.send().await;
    let (store, aside) = (shop.host.store(), shop.host.folder().join("aside"));
    std::fs::create_dir(&aside).unwrap();
    let name = |suffix: &str| format!("sagabox.db{suffix}");
    let files = ["", "-wal", "-shm", ".lock"].map(name);
    for file in &files {
        std::fs::rename(shop.path(file), aside.join(file)).unwrap();
    }
    let mut second = Host::builder().plugin("order-saga").store(&store).start().await;
    assert_eq!(second.client().send(&[cart_finalized("2", "cart-2")]).await.accepted, 1);

    ends_at_the_next_event(&mut shop).await;
    second.assert_runs();
    assert_eq!(second.client().get("/accounts").await.unwrap()["events"], 1);
    second.stop().await;

    for file in &files {
        std::fs::rename(aside.join(file), shop.path(file)).unwrap();
    }
    shop.host.start().await;
    // The last event may be there: it was not acknowledged, and can be sent again.
    shop.send().await;
    let events = shop.host.client().get("/accounts").await.unwrap()["events"].as_u64();
    let sent = shop.sent as u64;
    assert!(events == Some(sent) || events == Some(sent + 1), "{events:?} of {sent}");
}

#[tokio::test]
async fn a_host_whose_log_was_removed_ends_and_acknowledges_nothing_more() {
    let mut shop = Shop::open().await;
    shop.send().await;
    std::fs::remove_file(shop.path("sagabox.db-wal")).unwrap();
    ends_at_the_next_event(&mut shop).await;
}

/// The event is not acknowledged, and the host ends with the reason. A commit of its own may
/// have shown it before.
async fn ends_at_the_next_event(shop: &mut Shop) {
    let event = cart_finalized("not acknowledged", "cart").to_string();
    let answer = shop.host.client().post_events("application/cloudevents+json", event).await;
    if let Ok(answer) = answer {
        assert_eq!(answer.status().as_u16(), 503, "{answer:?}");
    }
    assert_eq!(shop.host.ended().await.code(), Some(1));
    let log = shop.host.log();
    let said = log.lines().last().unwrap_or_default();
    assert!(said.contains("the store is no longer this host's"), "{log}");
    assert!(said.contains("sagabox.db") && said.contains("while this host ran"), "{log}");
}

#[tokio::test]
async fn a_sink_in_a_file_of_the_store_is_refused() {
    let mut shop = Shop::open().await;
    shop.send().await;
    shop.host.kill().await;
    for file in ["sagabox.db", "sagabox.db-wal", "sagabox.db-journal"] {
        let text = format!("[sink.log]\nfile = \"plugins/{file}\"\n");
        let path = shop.host.folder().join("wrong.toml");
        std::fs::write(&path, text).unwrap();
        let named = path.to_str().expect("a name in UTF-8");
        let plugins = shop.host.plugins();
        let plugins = plugins.to_str().expect("a name in UTF-8");
        let arguments = ["run", plugins, "--config", named, "--listen", "127.0.0.1:0"];
        let ended = run(&arguments, &shop.host.store()).await;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains("is a file of the store; give another"), "{said}");
    }
    shop.host.start().await;
    shop.loses_nothing().await;
}

#[tokio::test]
async fn stores_and_backups_are_their_owners_alone() {
    let mut shop = Shop::open().await;
    shop.send().await;
    let copy = shop.host.folder().join("copy");
    let named = copy.to_str().expect("a name in UTF-8");
    assert!(run(&["backup", named], &shop.host.store()).await.status.success());
    let restored = shop.host.folder().join("restored.db");
    assert!(run(&["restore", named], &restored).await.status.success());
    let of_store = ["", "-wal", "-shm", ".lock"].map(|suffix| format!("sagabox.db{suffix}"));
    let all = of_store.iter().map(|name| shop.path(name)).chain([copy.clone(), restored]);
    for path in all {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

#[test]
fn a_store_is_not_named_as_what_a_directory_of_plugins_holds() {
    let folder = tempfile::TempDir::new().unwrap();
    for name in ["a.wasm", "a.wat", "a.wasm.minisig", "sagabox"] {
        let store = format!("sqlite:{name}");
        let ended = sagabox(folder.path(), &["run", ".", "--store", &store]).with(1);
        let _ = ended.saying("cannot be the name of a store");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The log names each refusal. If it lies in the directory, that must not be the reason
/// for the next one.
#[tokio::test]
async fn a_log_in_the_directory_is_not_refused_for_its_own_lines() {
    let host = Host::builder().plugin("order-saga").start().await;
    symlink("../host.log", host.plugins().join("log.wasm")).unwrap();
    let client = host.client();
    for n in 0..4 {
        let name = format!("broken-{n}.wasm");
        std::fs::write(host.plugins().join(&name), "broken").unwrap();
        crate::hot::refused(&client, &name, "is not a WebAssembly component").await;
    }
    crate::hot::refused(&client, "log.wasm", "is not a WebAssembly component").await;
    let log = host.log();
    let logged: Vec<_> = log.lines().filter(|line| line.contains("log.wasm")).collect();
    assert_eq!(logged.len(), 1, "{logged:#?}");
}
