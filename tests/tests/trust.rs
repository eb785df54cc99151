//! Only what is pinned and signed serves, wherever it came from, and what comes from a
//! registry comes whole and unaltered.

use std::path::{Path, PathBuf};

use minisign::KeyPair;
use sagabox_tests::command::{Ended, sagabox};
use sagabox_tests::host::Host;
use sagabox_tests::paths;
use sagabox_tests::registry::{Door, Registry, digest};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hot::{put, refused, serves, step, version};

fn signer() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().expect("a pair of keys")
}

fn sign(signer: &KeyPair, bytes: &[u8]) -> String {
    minisign::sign(None, &signer.sk, bytes, None, None).expect("a signature").to_string()
}

/// A configuration that trusts the signer alone.
fn trusting(signer: &KeyPair) -> String {
    format!("[plugins]\nkeys = [\"{}\"]\n", signer.pk.to_base64())
}

fn order_saga() -> Vec<u8> {
    std::fs::read(paths::plugin("order-saga")).expect("the plugin")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// The names of the files in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("an entry").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// A folder to pull into, and a registry to pull from.
struct Bench {
    folder: TempDir,
    registry: Registry,
}

impl Bench {
    async fn new(door: Door) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self { folder, registry: Registry::start(door).await }
    }

    fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    /// `tag` with its `:` or `@`.
    async fn pull(&self, tag: &str, arguments: &[&str]) -> Ended {
        let reference = format!("{}/sagas/order-saga{tag}", self.registry.address);
        self.run(&[&["pull", &reference, "--into", "plugins"], arguments].concat()).await
    }

    /// The command is another process; the registry answers it meanwhile.
    async fn run(&self, arguments: &[&str]) -> Ended {
        let folder = self.folder.path().to_owned();
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let running = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            sagabox(&folder, &arguments)
        });
        running.await.expect("the command runs")
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }
}

// ---- pull ---------------------------------------------------------------------

#[tokio::test]
async fn a_component_is_pulled_by_tag_and_by_digest_and_is_pinned() {
    let bench = Bench::new(Door::Open).await;
    let manifest = bench.registry.push("sagas/order-saga", "1.0.0", &order_saga(), &json!({}));
    let pulled = bench.pull(":1.0.0", &[]).await.with(0);
    let pulled = pulled.saying("order-saga 0.1.0 (saga) in plugins/order-saga.wasm");
    let _ = pulled.saying(&format!("sagas/order-saga:1.0.0@{manifest}"));
    let file = bench.plugins().join("order-saga.wasm");
    assert_eq!(std::fs::read(&file).expect("the component"), order_saga());
    assert_eq!(names(&bench.plugins()), ["order-saga.wasm", "sagabox.lock"]);
    let lock =
        std::fs::read_to_string(bench.plugins().join("sagabox.lock")).expect("the lock file");
    assert!(lock.contains(&format!("digest = \"{}\"", digest(&order_saga()))), "{lock}");
    assert!(lock.contains(&format!("@{manifest}\"")), "{lock}");
    let _ = bench.run(&["lock", "plugins", "--check"]).await.with(0);

    std::fs::remove_dir_all(bench.plugins()).expect("the directory");
    let pulled =
        bench.pull(&format!("@{manifest}"), &["--as", "mine.wasm", "--json"]).await.with(0);
    let view = pulled.json();
    assert_eq!((&view["pinned"], &view["signed"]), (&json!(true), &json!(false)), "{view}");
    assert_eq!(names(&bench.plugins()), ["mine.wasm", "sagabox.lock"]);
}

#[tokio::test]
async fn what_was_altered_or_cut_short_or_is_not_there_changes_nothing() {
    let bench = Bench::new(Door::Open).await;
    let (good, layer) = (order_saga(), digest(&order_saga()));
    let manifest = bench.registry.push("sagas/order-saga", "1.0.0", &good, &json!({}));
    let _ = bench.pull(":2.0.0", &[]).await.with(1).saying("does not have it: manifest unknown");

    bench.registry.cut(&layer);
    let _ = bench.pull(":1.0.0", &[]).await.with(1).saying("the connection broke");

    let bench = Bench { registry: Registry::start(Door::Open).await, ..bench };
    bench.registry.push("sagas/order-saga", "1.0.0", &good, &json!({}));
    let mut altered = good.clone();
    altered[good.len() / 2] ^= 1;
    bench.registry.alter(&layer, &altered);
    let said = "its component does not match its manifest";
    let _ = bench.pull(":1.0.0", &[]).await.with(1).saying(said);
    bench.registry.alter(&layer, &[good.as_slice(), b"more"].concat());
    let said = "is larger than the";
    let _ = bench.pull(":1.0.0", &[]).await.with(1).saying(said);

    bench.registry.alter(&manifest, b"{}");
    let said = "its manifest does not match the reference";
    let _ = bench.pull(&format!("@{manifest}"), &[]).await.with(1).saying(said);

    let gone = Registry::start(Door::Open).await;
    let reference = format!("{}/sagas/order-saga:1.0.0", gone.address);
    drop(gone);
    let _ = bench.run(&["pull", &reference]).await.with(1).saying("cannot be reached");
    let _ = bench.run(&["pull", "Sagas//"]).await.with(2).saying("is not a reference such as");
    assert!(names(&bench.plugins()).is_empty(), "{:?}", names(&bench.plugins()));
}

#[tokio::test]
async fn what_is_no_plugin_is_not_taken() {
    let bench = Bench::new(Door::Open).await;
    bench.registry.push("sagas/order-saga", "junk", b"\0asm\x0d\0\x01\0junk", &json!({}));
    let _ = bench.pull(":junk", &[]).await.with(1).saying("is not a valid component");
    let image = json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:0", "size": 2 },
        "layers": [],
    });
    bench.registry.push_manifest("sagas/order-saga", "image", &image);
    let _ = bench.pull(":image", &[]).await.with(1).saying("it is not a WebAssembly component");
    assert!(names(&bench.plugins()).is_empty());
}

#[tokio::test]
async fn a_registry_may_ask_who_we_are() {
    for door in [Door::Basic, Door::Token] {
        let bench = Bench::new(door).await;
        bench.registry.push("sagas/order-saga", "1.0.0", &order_saga(), &json!({}));
        let help = format!("run `docker login {}`", bench.registry.address);
        let _ = bench.pull(":1.0.0", &[]).await.with(1).saying(&help);
        // As `docker login` writes it.
        let login = |auth: &str| {
            json!({ "auths": { bench.registry.address.clone(): { "auth": auth } } }).to_string()
        };
        bench.write(".docker/config.json", &login("YWRhOndyb25n"));
        let said = "denies access with these credentials";
        let _ = bench.pull(":1.0.0", &[]).await.with(1).saying(said);
        bench.write(".docker/config.json", &login("YWRhOnNlY3JldA=="));
        let _ = bench.pull(":1.0.0", &[]).await.with(0);
    }
}

#[tokio::test]
async fn with_keys_only_what_is_signed_is_pulled() {
    let bench = Bench::new(Door::Open).await;
    let signer = signer();
    bench.write("sagabox.toml", &trusting(&signer));
    bench.registry.push("sagas/order-saga", "plain", &order_saga(), &json!({}));
    let _ =
        bench.pull(":plain", &[]).await.with(1).saying("is not signed, and [plugins] has `keys`");
    let signed =
        |signer: &KeyPair| json!({ "io.github.sagabox.minisig": sign(signer, &order_saga()) });
    let other = KeyPair::generate_unencrypted_keypair().expect("keys");
    bench.registry.push("sagas/order-saga", "forged", &order_saga(), &signed(&other));
    let _ = bench.pull(":forged", &[]).await.with(1).saying("is by none of the `keys`");
    assert!(names(&bench.plugins()).is_empty());
    bench.registry.push("sagas/order-saga", "signed", &order_saga(), &signed(&signer));
    let _ = bench.pull(":signed", &[]).await.with(0).saying("signed by one of the `keys`");
    let expected = ["order-saga.wasm", "order-saga.wasm.minisig", "sagabox.lock"];
    assert_eq!(names(&bench.plugins()), expected);
    let checked = bench.run(&["check", "plugins"]).await.with(0);
    let _ = checked.saying("1 plugin: 0 errors");
}

#[tokio::test]
async fn a_lock_file_that_comes_by_itself_takes_nothing_out() {
    let bench = Bench::new(Door::Open).await;
    bench.registry.push("sagas/order-saga", "1.0.0", &order_saga(), &json!({}));
    std::fs::create_dir(bench.plugins()).expect("a directory");
    std::fs::copy(paths::plugin("shipment"), bench.plugins().join("shipment.wasm"))
        .expect("a copy");
    let _ = bench.pull(":1.0.0", &[]).await.with(0).saying("not pinned: no lock file exists");
    assert_eq!(names(&bench.plugins()), ["order-saga.wasm", "shipment.wasm"]);
    let _ = bench.run(&["lock", "plugins"]).await.with(0).saying("pins 2 plugins");
}

#[tokio::test]
async fn what_is_pinned_and_missing_is_pulled_again() {
    let bench = Bench::new(Door::Open).await;
    bench.registry.push("sagas/order-saga", "latest", &order_saga(), &json!({}));
    let _ = bench.pull("", &[]).await.with(0);
    let file = bench.plugins().join("order-saga.wasm");
    std::fs::remove_file(&file).expect("the component");
    // The tag has moved on, the lock file has not.
    let shipment = std::fs::read(paths::plugin("shipment")).expect("the plugin");
    bench.registry.push("sagas/order-saga", "latest", &shipment, &json!({}));
    let _ =
        bench.run(&["pull", "--into", "plugins"]).await.with(0).saying("order-saga 0.1.0 (saga)");
    assert_eq!(std::fs::read(&file).expect("the component"), order_saga());
    let _ = bench.run(&["pull", "--into", "plugins"]).await.with(0).saying("matches its pin");
}

// ---- lock ---------------------------------------------------------------------

#[tokio::test]
async fn a_lock_file_is_compared_with_what_is_there() {
    let bench = Bench::new(Door::Open).await;
    std::fs::create_dir(bench.plugins()).expect("a directory");
    std::fs::copy(paths::plugin("order-saga"), bench.plugins().join("a.wasm")).expect("a copy");
    bench.write("plugins/junk.wasm", "junk");
    let _ =
        bench.run(&["lock", "plugins", "--check"]).await.with(1).saying("sagabox.lock not found");
    let locked = bench.run(&["lock", "plugins"]).await.with(0).saying("pins 1 plugin");
    let _ = locked.saying("not pinned: plugins/junk.wasm is not a WebAssembly component");
    let _ = bench.run(&["lock", "plugins", "--check"]).await.with(0);
    std::fs::copy(paths::plugin("shipment"), bench.plugins().join("b.wasm")).expect("a copy");
    let checked = bench.run(&["lock", "plugins", "--check", "--json"]).await.with(1).json();
    let line = checked["differences"][0].as_str().expect("a line");
    assert!(line.starts_with("b.wasm: shipment 0.1.0 of sha256:"), "{line}");
    // A host says the same.
    let said = "a host refuses it: its digest sha256:";
    let _ = bench.run(&["check", "plugins"]).await.with(1).saying(said);
}

// ---- a host -------------------------------------------------------------------

#[tokio::test]
async fn what_is_not_pinned_is_refused_and_the_old_version_serves_on() {
    let host = Host::builder().file("hot.wasm", version(1, 1, "all")).start().await;
    let client = host.client();
    let lock = || {
        let plugins = host.plugins();
        sagabox(host.folder(), &["lock", text(&plugins)]).with(0)
    };
    let _ = lock();
    put(&host, "hot.wasm", &version(2, 1, "all"));
    let reason = refused(&client, "hot.wasm", "is not in sagabox.lock, which pins hot 1.1.0").await;
    assert!(reason.contains(&digest(&version(2, 1, "all"))), "{reason}");
    client.send(&[step(1, "a")]).await;
    let commands = client.take_exactly("Stepped", 1).await;
    assert!(commands.values().all(|command| command["data"]["version"] == "1.1.0"));
    // The file is as it was; the lock file changes.
    let _ = lock();
    serves(&client, 2).await;
    // What serves is not taken out by a lock file that does not know it.
    std::fs::write(host.plugins().join("sagabox.lock"), "version = 1\n").expect("the lock file");
    put(&host, "hot.wasm", &version(3, 1, "all"));
    refused(&client, "hot.wasm", "is not in sagabox.lock; if").await;
    serves(&client, 2).await;
    client.send(&[step(2, "a")]).await;
    client.take_exactly("Stepped", 1).await;
    client.assert_no_dead_letters().await;
    client.wait_for_balance().await;
}

#[tokio::test]
async fn what_is_unsigned_or_altered_is_refused_and_the_old_version_serves_on() {
    let signer = signer();
    let first = version(1, 1, "all");
    let mut host = Host::builder()
        .file("hot.wasm", first.clone())
        .file("hot.wasm.minisig", sign(&signer, &first))
        .configuration(trusting(&signer))
        .start()
        .await;
    let client = host.client();
    serves(&client, 1).await;
    // The signature of the version before lies there still.
    let second = version(2, 1, "all");
    put(&host, "hot.wasm", &second);
    refused(&client, "hot.wasm", "hot.wasm.minisig does not fit").await;
    serves(&client, 1).await;
    put(&host, "hot.wasm.minisig", &sign(&signer, &second).into_bytes()[..100]);
    refused(&client, "hot.wasm", "or only a part of one").await;
    put(&host, "hot.wasm.minisig", sign(&signer, &second).as_bytes());
    serves(&client, 2).await;

    let other = KeyPair::generate_unencrypted_keypair().expect("keys");
    let third = version(3, 1, "all");
    put(&host, "hot.wasm.minisig", sign(&other, &third).as_bytes());
    put(&host, "hot.wasm", &third);
    refused(&client, "hot.wasm", "is by none of the `keys` under [plugins]").await;
    std::fs::remove_file(host.plugins().join("hot.wasm.minisig")).expect("the signature");
    refused(&client, "hot.wasm", "is not signed: no hot.wasm.minisig exists next to it").await;
    serves(&client, 2).await;
    client.send(&[step(1, "a")]).await;
    let commands = client.take_exactly("Stepped", 1).await;
    assert!(commands.values().all(|command| command["data"]["version"] == "1.2.0"));

    // A start asks the same, and so do the commands that check a candidate.
    let plugins = host.plugins();
    let configuration = host.folder().join("sagabox.toml");
    let ask = |arguments: &[&str]| {
        sagabox(host.folder(), &[arguments, &["--config", text(&configuration)]].concat())
    };
    let said = "a host refuses it: is not signed";
    let _ = ask(&["check", text(&plugins)]).with(1).saying(said);
    let candidate = plugins.join("hot.wasm");
    let store = format!("sqlite:{}", host.store().display());
    let _ = ask(&["replay", text(&candidate), "--store", &store]).with(2).saying(said);
    let _ = ask(&["lock", text(&plugins)]).with(0).saying("not pinned: ").saying("is not signed");
    std::fs::remove_file(plugins.join("sagabox.lock")).expect("the lock file");
    host.kill_and_start().await;
    let output = host.output().join("\n");
    assert!(output.contains("refused") && output.contains("is not signed"), "{output}");
    put(&host, "hot.wasm.minisig", sign(&signer, &third).as_bytes());
    serves(&host.client(), 3).await;
}

#[tokio::test]
async fn a_host_takes_what_is_pulled_beside_it() {
    let registry = Registry::start(Door::Open).await;
    let host = Host::builder().configuration("[plugins]\nlocked = true\n").start().await;
    let client = host.client();
    put(&host, "hot.wasm", &version(1, 1, "all"));
    refused(&client, "hot.wasm", "no sagabox.lock exists next to it").await;
    for number in [1, 2] {
        registry.push("tests/hot", "latest", &version(number, 1, "all"), &Value::Null);
        let (folder, plugins) = (host.folder().to_owned(), host.plugins());
        let reference = format!("oci://{}/tests/hot", registry.address);
        let pulling = tokio::task::spawn_blocking(move || {
            sagabox(&folder, &["pull", &reference, "--into", text(&plugins)])
        });
        let _ = pulling.await.expect("the command runs").with(0);
        serves(&client, number).await;
    }
    let all = client.get("/plugins").await.expect("the plugins");
    assert_eq!(all["refused"], json!([]), "{all}");
}
