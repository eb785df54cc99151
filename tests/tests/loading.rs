//! From a file to a plugin: what is cheap to know is known first, compiling is bounded, and
//! what was compiled before is this user's alone.

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use sagabox_tests::command::sagabox;
use sagabox_tests::host::Host;
use sagabox_tests::hot::MARK;
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// What a component exports that decides.
pub(crate) const SAGA: &str = "sagabox:plugin/saga-handler@0.1.0";

/// A component with one function that takes long to compile. What it exports has the name of
/// a role, and nothing in it.
pub(crate) fn bomb(export: &str) -> String {
    const STEPS: usize = 120_000;
    const LOCALS: usize = 2_000;
    let mut body = String::new();
    for n in 0..STEPS {
        let (a, b, c) = (n % LOCALS, n * 7 % LOCALS, n * 13 % LOCALS);
        let _ = writeln!(
            body,
            "(local.set {a} (i32.add (local.get {b}) (i32.load (local.get {c})))) (br_if 0 (local.get {a}))"
        );
    }
    let locals = "i32 ".repeat(LOCALS);
    format!(
        "(component (core module (memory 1) (func (local {locals}) (block {body}))) \
         (instance $empty) (export \"{export}\" (instance $empty)))"
    )
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// More memory than the bomb takes until its time is up, on however fast a machine.
const ROOMY: &str = "compile_memory_bytes = 8_000_000_000";

/// What `check` says of a component under these limits.
#[track_caller]
fn refused(component: &str, limits: &str, expected: &str) {
    let folder = TempDir::new().expect("a folder");
    let bytes = wat::parse_str(component).expect("it is well formed");
    std::fs::write(folder.path().join("a.wasm"), bytes).expect("a file");
    let config = folder.path().join("limits.toml");
    std::fs::write(&config, format!("[limits]\n{limits}\n")).expect("a file");
    let checked = sagabox(folder.path(), &["check", "a.wasm", "--config", text(&config)]);
    let _ = checked.with(1).saying(&format!("error: a.wasm: a host refuses it: {expected}"));
}

#[test]
fn a_component_that_takes_too_much_to_compile_is_stopped_and_the_limit_is_named() {
    let bomb = bomb(SAGA);
    let time = "takes more than 1s of the processor to compile (limit compile_time_ms)";
    refused(&bomb, &format!("compile_time_ms = 1\n{ROOMY}"), time);
    let memory = "takes more than 60000000 bytes of memory to compile (limit compile_memory_bytes)";
    refused(&bomb, "compile_memory_bytes = 60_000_000", memory);
}

#[test]
fn what_cannot_be_a_plugin_is_refused_before_it_is_compiled() {
    let none = "plays no role: it exports a:b/c";
    refused(&bomb("a:b/c"), "compile_time_ms = 1", none);
    let larger = "has more than 1000 bytes (limit component_bytes)";
    refused(&bomb(SAGA), "component_bytes = 1_000", larger);
}

#[tokio::test]
async fn a_component_that_cannot_be_compiled_is_refused_once_and_others_serve() {
    let bomb = wat::parse_str(bomb(SAGA)).expect("it is well formed");
    let mut host = Host::builder()
        .plugin("order-saga")
        .file("bomb.wasm", bomb)
        .configuration(format!("[limits]\ncompile_time_ms = 2_000\n{ROOMY}\n"))
        .start()
        .await;
    for _ in 0..2 {
        let client = host.client();
        crate::hot::refused(&client, "bomb.wasm", "(limit compile_time_ms)").await;
        let all = client.get("/plugins").await.expect("the plugins");
        assert_eq!(all["plugins"][0]["name"], "order-saga", "{all}");
        // What was found out is noted for the next start.
        let noted = names(&cache(&host)).iter().any(|name| name.contains(".over-2000-"));
        assert!(noted, "{:?}", names(&cache(&host)));
        host.kill_and_start().await;
    }
    host.assert_runs();
}

#[test]
fn a_component_in_the_text_format_is_a_plugin() {
    let folder = TempDir::new().expect("a folder");
    let bytes = std::fs::read(paths::plugin("order-saga")).expect("the plugin");
    let escaped = bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\{byte:02x}");
        text
    });
    let text = format!("(component binary \"{escaped}\")");
    std::fs::write(folder.path().join("a.wat"), text).expect("a file");
    std::fs::write(folder.path().join("b.wat"), "(component").expect("a file");
    std::fs::write(folder.path().join("notes.txt"), "no plugin").expect("a file");
    let checked = sagabox(folder.path(), &["check", "."]).with(1);
    let _ = checked
        .saying("order-saga 0.1.0 (saga) from ./a.wat")
        .saying("error: ./b.wat: a host refuses it: is not WebAssembly in the text format")
        .saying("1 plugin: 1 error,");
}

// ---- what was compiled before -----------------------------------------------------

fn cache(host: &Host) -> PathBuf {
    host.plugins().join(".cache")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Of a plugin, where the host keeps what it has compiled.
fn compiled(host: &Host, plugin: &str) -> PathBuf {
    let bytes = std::fs::read(paths::plugin(plugin)).expect("the plugin");
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let found = names(&cache(host)).into_iter().find(|name| name.starts_with(&digest));
    cache(host).join(found.unwrap_or_else(|| panic!("{plugin} was not kept")))
}

async fn serving(host: &Host) -> Vec<String> {
    let all = host.client().get("/plugins").await.expect("the plugins");
    let name = |plugin: &Value| plugin["name"].as_str().unwrap_or_default().to_owned();
    all["plugins"].as_array().into_iter().flatten().map(name).collect()
}

/// The lock file pins the component, and so what is run in its place.
#[tokio::test]
async fn compiled_code_of_another_component_does_not_run_under_a_pinned_digest() {
    let mut host = Host::builder().plugin("order-saga").plugin("shipment").start().await;
    std::fs::remove_file(host.plugins().join("shipment.wasm")).expect("the file");
    wait::until("one is left", wait::SOON, || async {
        let serving = serving(&host).await;
        if serving == ["order-saga"] { Ok(()) } else { Err(format!("{serving:?}")) }
    })
    .await;
    let plugins = host.plugins();
    let _ = sagabox(host.folder(), &["lock", text(&plugins)]).with(0);
    host.kill().await;
    let (own, other) = (compiled(&host, "order-saga"), compiled(&host, "shipment"));
    let code = std::fs::read(&other).expect("the other's");
    std::fs::write(&own, &code).expect("it is swapped");
    host.start().await;
    assert_eq!(serving(&host).await, ["order-saga"]);
    host.kill().await;
    assert_ne!(std::fs::read(&own).expect("its own"), code, "it was compiled anew");

    // A folder of another user: whatever lies there was put there by that user.
    if chown(cache(&host), Some(12_345), None).is_err() {
        return; // Only root can attack like this.
    }
    let before = std::fs::read(&own).expect("its own");
    std::fs::write(&own, &code).expect("it is swapped");
    host.start().await;
    assert_eq!(serving(&host).await, ["order-saga"]);
    assert_eq!(std::fs::read(&own).expect("the other's"), code, "nothing is written there either");
    let said = "it belongs to another user (uid 12345)";
    assert!(host.log().contains(said), "{}", host.log());
    host.kill().await;

    // Its own folder again, but a file in it that others can write.
    chown(cache(&host), Some(0), None).expect("back again");
    std::fs::write(&own, &before).expect("what it was");
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o666)).expect("a mode");
    host.start().await;
    assert_eq!(serving(&host).await, ["order-saga"]);
    host.kill().await;
    let mode = std::fs::metadata(&own).expect("its own").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "it was compiled anew");
}

/// A directory of plugins may have the name of the folder for candidates.
#[tokio::test]
async fn a_lock_file_counts_whatever_the_directory_is_called() {
    let folder = TempDir::new().expect("a folder");
    let plugins = folder.path().join("candidates");
    std::fs::create_dir(&plugins).expect("a folder");
    std::fs::copy(paths::plugin("order-saga"), plugins.join("a.wasm")).expect("a copy");
    let _ = sagabox(folder.path(), &["lock", "candidates"]).with(0).saying("pins 1 plugin");
    std::fs::copy(paths::plugin("shipment"), plugins.join("a.wasm")).expect("a copy");
    let said = "is not in sagabox.lock";
    let _ = sagabox(folder.path(), &["check", "candidates"]).with(1).saying(said);
    let _ = sagabox(folder.path(), &["check", "candidates/a.wasm"]).with(1).saying(said);
    let lock = std::fs::read(plugins.join("sagabox.lock")).expect("the lock file");
    let host =
        Host::builder().directory("candidates").plugin("shipment").file("sagabox.lock", lock);
    let host = host.start().await;
    let all = host.client().get("/plugins").await.expect("the plugins");
    assert_eq!(all["plugins"], json!([]), "{all}");
    crate::hot::refused(&host.client(), "shipment.wasm", said).await;
}

// ---- a plugin that does not say who it is ------------------------------------------

#[test]
fn a_plugin_that_traps_in_describe_says_where() {
    let folder = TempDir::new().expect("a folder");
    let mut bytes = std::fs::read(paths::plugin("hot")).expect("the plugin");
    // Its mark has five parts, which are numbers and words between colons.
    let at = bytes.windows(MARK.len()).position(|window| window == MARK).expect("the mark");
    bytes[at..at + MARK.len()].fill(b'@');
    std::fs::write(folder.path().join("hot.wasm"), bytes).expect("a file");
    let trapped = "the plugin was stopped: it trapped: wasm trap: wasm `unreachable` instruction";
    let scenario =
        "- scenario: it counts\n  when: {type: step, subject: k}\n  then: {sends: [Stepped]}\n";
    std::fs::write(folder.path().join("count.yaml"), scenario).expect("a file");
    for arguments in
        [&["check", "hot.wasm"][..], &["test", "hot.wasm", "--scenarios", "count.yaml"]]
    {
        let ended = sagabox(folder.path(), arguments).with(1).saying(trapped);
        let said = [ended.output, ended.error].concat();
        let places: Vec<&str> =
            said.lines().filter(|line| line.trim().starts_with("at ")).collect();
        assert!(places.iter().any(|place| place.contains("hot::")), "{said}");
    }
}
