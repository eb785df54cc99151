//! A host as a service: what systemd learns of it, the socket that systemd opens, and the files that a
//! package installs.
#![cfg(target_os = "linux")]

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use sagabox_tests::client::Client;
use sagabox_tests::command::sagabox;
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// The most exposed that `systemd-analyze security` may find the service, on its scale from 0 to 100.
const EXPOSURE_MAX: &str = "15";

/// What supervises the host: the socket on which it reports.
struct Supervisor {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Supervisor {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(wait::SOON)).expect("a timeout");
        Self { folder, socket }
    }

    fn address(&self) -> String {
        self.folder.path().join("notify").display().to_string()
    }

    /// The next report of the host that begins with this line.
    fn report(&self, first: &str) -> String {
        let mut bytes = [0; 4_096];
        loop {
            let length = self.socket.recv(&mut bytes).unwrap_or_else(|error| {
                panic!("no report `{first}` came: {error}");
            });
            let report = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if report.starts_with(first) {
                return report;
            }
        }
    }
}

#[tokio::test]
async fn a_supervisor_learns_when_the_host_is_ready_alive_and_stopping() {
    let supervisor = Supervisor::new();
    let mut host = Host::builder()
        .plugin("order-saga")
        .variable("NOTIFY_SOCKET", &supervisor.address())
        .variable("WATCHDOG_USEC", "200000")
        .start()
        .await;
    let (host, reports) = tokio::task::spawn_blocking(move || {
        let ready = supervisor.report("READY=1");
        for _ in 0..3 {
            supervisor.report("WATCHDOG=1");
        }
        (supervisor, ready)
    })
    .await
    .map(|(supervisor, ready)| {
        assert!(ready.contains(&format!("STATUS=listening on {}", host.url())), "{ready}");
        (&mut host, supervisor)
    })
    .expect("the reports");
    host.stop().await;
    let stopping = reports.report("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC="), "{stopping}");
}

#[tokio::test]
async fn the_host_serves_on_the_socket_that_systemd_has_opened() {
    let folder = TempDir::new().expect("a temporary folder");
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).expect("a folder");
    // A free port; systemd's own tool opens it, and starts the host with the first connection.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = port.expect("a free port").to_string();
    // This one is taken, so the host must take the other socket.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken_address = taken.local_addr().expect("an address").to_string();
    let mut activate = tokio::process::Command::new("systemd-socket-activate")
        .args(["--listen", &address])
        .arg(paths::binary())
        .arg("run")
        .arg(&plugins)
        .args(["--listen", &taken_address])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("systemd-socket-activate, of Debian's package systemd");
    let mut said = BufReader::new(activate.stderr.take().expect("a pipe")).lines();
    let first = tokio::time::timeout(wait::SOON, said.next_line()).await;
    let first = first.expect("a line soon").expect("a line").unwrap_or_default();
    assert!(first.starts_with("Listening on"), "{first}");
    // Reading on keeps the pipe from filling up.
    let rest = tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
    let client = Client::new(format!("http://{address}"));
    let ready = client.get("/readyz").await.expect("an answer");
    assert_eq!(ready["status"], "ready");
    activate.kill().await.expect("the host can be killed");
    rest.abort();
}

#[test]
fn the_unit_is_valid_and_hardened() {
    let folder = TempDir::new().expect("a temporary folder");
    let packaging = paths::repository().join("host/packaging");
    for unit in ["sagabox.service", "sagabox.socket"] {
        let text = std::fs::read_to_string(packaging.join(unit)).expect("a unit");
        // Nothing is installed here: systemd checks whether the command can be executed, and whether
        // `man` finds the page.
        let binary = paths::binary().display().to_string();
        let text = text.replace("/usr/bin/sagabox", &binary);
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("Documentation="))
            .fold(String::new(), |text, line| text + line + "\n");
        std::fs::write(folder.path().join(unit), text).expect("a copy of the unit");
    }
    let service = folder.path().join("sagabox.service");
    let socket = folder.path().join("sagabox.socket");
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .args([&service, &socket])
        .output()
        .expect("systemd-analyze, of Debian's package systemd");
    let said = String::from_utf8_lossy(&verified.stderr);
    let about_ours: Vec<&str> = said.lines().filter(|line| line.contains("sagabox")).collect();
    assert!(verified.status.success() && about_ours.is_empty(), "{said}");
    let scored = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true"])
        .arg(format!("--threshold={EXPOSURE_MAX}"))
        .arg(&service)
        .output()
        .expect("systemd-analyze");
    let said = String::from_utf8_lossy(&scored.stdout);
    assert!(scored.status.success(), "{said}");
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let folder = TempDir::new().expect("a temporary folder");
    let help = sagabox(folder.path(), &["--help"]).with(0).output;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        // What is indented further belongs to the line before.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 30, "{commands:?}");
    for shell in ["bash", "fish", "zsh"] {
        let script = sagabox(folder.path(), &["completions", shell]).with(0).output;
        for command in &commands {
            assert!(script.contains(command), "{shell} does not complete {command}");
        }
    }
    let script = sagabox(folder.path(), &["completions", "bash"]).with(0).output;
    let file = folder.path().join("sagabox.bash");
    std::fs::write(&file, script).expect("the script");
    let parsed = Command::new("bash").arg("-n").arg(&file).output().expect("bash");
    assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));

    let _ = sagabox(folder.path(), &["manual", "man"]).with(0);
    for command in &commands {
        let page = folder.path().join(format!("man/sagabox-{command}.1"));
        let text = std::fs::read_to_string(&page).expect("a manual page");
        assert!(text.contains(".SH NAME") && text.contains(".SH OPTIONS"), "{}", page.display());
    }
}

#[tokio::test]
async fn the_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let folder = TempDir::new().expect("a temporary folder");
    let here = folder.path();
    let nowhere = ["--host", "127.0.0.1:1"];
    let doctor = |arguments: &[&str]| sagabox(here, &[&["doctor"], arguments, &nowhere].concat());
    let _ = doctor(&[]).with(0).saying("the first start creates it").saying("no host answers at");
    let _ = doctor(&["--running"]).with(1).saying("error    host: no host answers at");
    let _ = doctor(&["plugins"]).with(1).saying("create the directory, and put components there");

    std::fs::write(here.join("sagabox.toml"), "[retry]\natempts = 3\n").expect("a file");
    let _ = doctor(&[]).with(1).saying("error    configuration:").saying("atempts");
    std::fs::remove_file(here.join("sagabox.toml")).expect("a file");

    std::fs::write(here.join("other.db"), "something else").expect("a file");
    let _ = doctor(&["--store", "other.db"]).with(1).saying("is not a database of Sagabox");

    let plugins = here.join("plugins");
    std::fs::create_dir(&plugins).expect("a folder");
    std::fs::write(plugins.join("broken.wasm"), "no component").expect("a file");
    let _ = doctor(&["plugins"]).with(1).saying("a host refuses it");
    let json = doctor(&["plugins", "--json"]).with(1).json();
    assert_eq!(json["healthy"], false);
    assert!(json["findings"].as_array().is_some_and(|findings| findings.len() > 3), "{json}");
}

#[tokio::test]
async fn the_doctor_sees_the_trouble_of_a_running_host() {
    use std::os::unix::fs::PermissionsExt as _;

    // Nothing listens at the sink's port.
    let configuration = "[sink.orders]\nurl = \"http://127.0.0.1:1/\"\n\
                         [routes]\nInitializeOrder = \"orders\"\n\
                         [retry]\ndelay_ms_min = 1\ndelay_ms_max = 20\n";
    let host = Host::builder().plugin("order-saga").configuration(configuration).start().await;
    let event = sagabox_tests::events::cart_finalized("e-1", "cart-1");
    host.client().send(&[event]).await;
    let client = host.client();
    wait::until("a sink that is down", wait::SOON, async || {
        let down = client.sinks_down().await?;
        if down.is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(host.store(), mode).expect("the store's mode");
    let (url, store) = (host.url(), host.store().display().to_string());
    let folder = host.folder().to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        sagabox(&folder, &["doctor", "--host", &url, "--store", &store, "--running"])
    });
    let _ = tokio::time::timeout(Duration::from_secs(60), ended)
        .await
        .expect("the doctor ends")
        .expect("the doctor")
        .with(0)
        .saying("a host has it open")
        .saying("other users can read all events")
        .saying("accepts events")
        .saying("warning  sink orders:");
}
