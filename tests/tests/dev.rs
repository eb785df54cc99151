//! `sagabox dev`: a source that changes, and the host that loads what comes of it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use sagabox_tests::client::Client;
use sagabox_tests::command::sagabox;
use sagabox_tests::{paths, wait};
use tempfile::TempDir;

/// Longer than a build takes on a machine that works.
const PATIENCE: Duration = Duration::from_secs(300);

struct Dev {
    folder: TempDir,
    process: Child,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Dev {
    /// A new saga, and `sagabox dev` on it.
    fn start(arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let sdk = paths::repository().join("guest-sdk/rust");
        let sdk = sdk.to_str().expect("paths of tests are text");
        let _ = sagabox(folder.path(), &["new", "billing", "--sdk", sdk]).with(0);
        let mut process = Command::new(paths::binary())
            .args(["dev", "billing", "--target"])
            .arg(paths::target().join("plugins-build"))
            .args(arguments)
            .current_dir(folder.path())
            .env_remove("SAGABOX_CONFIG")
            .env("SAGABOX_CACHE", paths::cache())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let output = process.stdout.take().expect("a piped output");
        let (line, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                if line.send(text).is_err() {
                    return;
                }
            }
        });
        Self { folder, process, lines, said: Vec::new() }
    }

    /// The rest of the first line from here on that contains the text.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                panic!("{error}: no `{text}` after\n{}", self.said.join("\n"))
            });
            self.said.push(line.clone());
            if let Some((_, rest)) = line.split_once(text) {
                return rest.to_owned();
            }
        }
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.source().join(file);
        let text = std::fs::read_to_string(&path).expect("a file of the source");
        assert!(text.contains(from), "`{from}` is not in {file}");
        std::fs::write(&path, text.replace(from, to)).expect("a file of the source");
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("billing")
    }

    /// Signals it alone, as a supervisor does; it passes the signal on to its host.
    fn terminate(&mut self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        assert!(sent.success());
        self.wait_for("stopped");
        assert!(self.process.wait().expect("it ends").success());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

async fn wait_for_version(client: &Client, version: &str) {
    wait::until(&format!("version {version} serves"), wait::SOON, async || {
        let plugins = client.get("/plugins").await?;
        match plugins["plugins"][0]["version"].as_str() == Some(version) {
            true => Ok(()),
            false => Err(plugins.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_built_tried_and_loaded() {
    let mut dev = Dev::start(&["--listen", "127.0.0.1:0"]);
    let url = dev.wait_for("listening on ");
    let client = Client::new(&url);
    dev.wait_for("billing.wasm is copied to the plugin directory");
    wait_for_version(&client, "0.1.0").await;

    dev.replace("Cargo.toml", "version = \"0.1.0\"", "version = \"0.2.0\"");
    dev.wait_for("billing.wasm is copied to the plugin directory");
    wait_for_version(&client, "0.2.0").await;

    // What does not compile, and what does not do what its scenarios say, is not loaded.
    dev.replace("Cargo.toml", "version = \"0.2.0\"", "version = \"0.3.0\"");
    dev.replace("src/lib.rs", "payment failed", "no \"money\"");
    assert!(dev.wait_for("FAILED: ").contains("building"));
    dev.wait_for("the previous version continues to serve");
    dev.replace("src/lib.rs", "no \"money\"", "no money");
    dev.wait_for("FAILED ");
    dev.wait_for("the previous version continues to serve");
    wait_for_version(&client, "0.2.0").await;

    dev.replace("src/lib.rs", "no money", "payment failed");
    dev.wait_for("billing.wasm is copied to the plugin directory");
    wait_for_version(&client, "0.3.0").await;

    dev.terminate();
    assert!(client.get("/healthz").await.is_err(), "its host has ended, too");
}

/// For other languages, and for a host that runs already.
#[test]
fn a_command_may_build_it() {
    let folder = TempDir::new().expect("a temporary folder");
    let source = folder.path().join("source");
    std::fs::create_dir(&source).expect("a folder");
    std::fs::copy(paths::plugin("order-saga"), source.join("made.wasm")).expect("a copy");
    let run = |command: &str| Waiting::start(folder.path(), command);
    let placed = folder.path().join("plugins/out.wasm");
    run("exit 7").wait_for("FAILED: `exit 7` failed: exit status: 7");
    run("true").wait_for("FAILED: `true` did not create");
    run("echo text > out.wasm").wait_for("FAILED: ");
    assert!(!placed.exists());
    run("cp made.wasm out.wasm").wait_for("out.wasm is copied to the plugin directory");
    assert!(
        std::fs::read(&placed).expect("the component")
            == std::fs::read(paths::plugin("order-saga")).expect("it")
    );
}

struct Waiting(Child);

impl Waiting {
    fn start(folder: &Path, command: &str) -> Self {
        let arguments =
            ["dev", "source", "--into", "plugins", "--component", "out.wasm", "--build", command];
        let mut sagabox = Command::new(paths::binary());
        sagabox
            .args(arguments)
            .current_dir(folder)
            .env_remove("SAGABOX_CONFIG")
            .env("SAGABOX_CACHE", paths::cache());
        Self(sagabox.stdout(Stdio::piped()).spawn().expect("the binary runs"))
    }

    #[track_caller]
    fn wait_for(mut self, text: &str) {
        let output = BufReader::new(self.0.stdout.take().expect("a piped output"));
        let mut said = Vec::new();
        for line in output.lines().map_while(Result::ok) {
            if line.contains(text) {
                return;
            }
            said.push(line);
        }
        panic!("no `{text}` in\n{}", said.join("\n"));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
