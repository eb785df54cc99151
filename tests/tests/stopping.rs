//! A host stops when it is asked to: in time, at any moment, and at once when it is asked twice.

use std::process::Stdio;

use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// Longer than any test waits: what holds a stop up must show.
const NEVER: &str = "[limits]\ndrain_ms = 600_000\n";

#[tokio::test]
async fn no_silent_or_half_sent_request_holds_a_stop() {
    let mut host = Host::builder().configuration(NEVER).start().await;
    let address = host.url().trim_start_matches("http://").to_owned();
    let mut open = Vec::new();
    for sent in [
        "",
        "GET /v1/accounts HTTP/1.1\r\nhost: localhost\r\n",
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n[",
        "POST /v1/queues/lease HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 31\r\n\r\n{\"queue\":\"q\",\"wait_ms\":60000}",
    ] {
        let mut stream = TcpStream::connect(&address).await.expect("the host listens");
        stream.write_all(sent.as_bytes()).await.expect("the host reads");
        open.push(stream);
    }
    // Accepted in this order: when this is answered, the others are known.
    host.client().get("/healthz").await.expect("an answer");
    host.terminate().await;
    assert_eq!(host.ended().await.code(), Some(0));
}

/// A host that waits for a sink which never answers.
async fn draining_for_ever() -> (Host, TcpListener, TcpStream) {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    let configuration = format!(
        "[limits]\ndrain_ms = 600_000\n[sink.silent]\nurl = \"{url}\"\ntimeout_ms = 600_000\n\
         [routes]\nInitializeOrder = \"silent\"\n"
    );
    let host = Host::builder().plugin("order-saga").configuration(configuration).start().await;
    host.client().send(&[cart_finalized("1", "cart-1")]).await;
    let connected = tokio::time::timeout(wait::SOON, silent.accept()).await;
    let (stream, _) = connected.expect("the sink is asked").expect("a connection");
    (host, silent, stream)
}

#[tokio::test]
async fn the_second_signal_ends_a_host_at_once_and_nothing_is_lost() {
    for (second, code) in [("TERM", 143), ("INT", 130)] {
        let (mut host, _silent, _stream) = draining_for_ever().await;
        host.terminate().await;
        wait::until("the host stops", wait::SOON, async || {
            if host.log().contains("the host is stopping") { Ok(()) } else { Err(host.log()) }
        })
        .await;
        host.signal(second).await;
        assert_eq!(host.ended().await.code(), Some(code));
        host.start().await;
        host.client().wait_for_pending(1).await;
        host.kill().await;
    }
}

/// The same component under another digest, by a section that says nothing.
fn changed(component: &[u8], number: u8) -> Vec<u8> {
    let custom_section = [0, 3, 1, b'x', number];
    [component, &custom_section].concat()
}

#[tokio::test]
async fn a_signal_while_plugins_are_loaded_ends_the_host_before_it_serves() {
    let folder = TempDir::new().expect("a temporary folder");
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).expect("a folder for plugins");
    let component = std::fs::read(paths::plugin("order-saga")).expect("a plugin");
    for number in 0..100 {
        let file = plugins.join(format!("p-{number}.wasm"));
        std::fs::write(file, changed(&component, number)).expect("a plugin");
    }
    let store = folder.path().join("a.db");
    let mut host = Command::new(paths::binary())
        .arg("run")
        .arg(&plugins)
        .args(["--listen", "127.0.0.1:0", "--store"])
        .arg(format!("sqlite:{}", store.display()))
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary runs");
    wait::until("the store", wait::SOON, async || {
        if store.exists() { Ok(()) } else { Err("no store".to_owned()) }
    })
    .await;
    let id = host.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(sent.expect("kill runs").success());
    let ended = tokio::time::timeout(wait::SOON, host.wait()).await;
    assert_eq!(ended.expect("it ends").expect("a status").code(), Some(0));
    let mut printed = String::new();
    let mut output = host.stdout.take().expect("a piped output");
    output.read_to_string(&mut printed).await.expect("text");
    assert_eq!(printed, "stopped before the host had started\n");
}
