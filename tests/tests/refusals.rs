//! A directory in which only some files are plugins: those serve, the others are named with a reason.

use std::time::Duration;

use sagabox_tests::events::cart_finalized;
use sagabox_tests::host::Host;
use sagabox_tests::paths;

/// A component as any toolchain builds it, but for another world.
const FOREIGN: &str = r#"(component
    (core module $m (func (export "run")))
    (core instance $i (instantiate $m))
    (func (export "run") (canon lift (core func $i "run"))))"#;

/// A component that asks for the network.
const NETWORK: &str = r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#;

/// What refuses a file must say why: at least a few words after its name.
const REASON_CHARACTERS_MIN: usize = 10;

#[tokio::test]
async fn a_good_plugin_serves_among_files_that_are_none() {
    let good = std::fs::read(paths::plugin("order-saga")).expect("the plugin");
    let bad = [
        ("empty.wasm", Vec::new()),
        ("text.wasm", b"this is no plugin\n".to_vec()),
        ("core-module.wasm", b"\0asm\x01\0\0\0".to_vec()),
        ("foreign.wasm", wat::parse_str(FOREIGN).expect("a component")),
        ("network.wasm", wat::parse_str(NETWORK).expect("a component")),
        ("truncated.wasm", good[..good.len() / 2].to_vec()),
    ];
    let builder = Host::builder().plugin("order-saga");
    let host = bad
        .iter()
        .fold(builder, |builder, (name, content)| builder.file(name, content.clone()))
        .start()
        .await;

    let output = host.output();
    let line_of = |name: &str| {
        output
            .iter()
            .find(|line| line.contains(name))
            .unwrap_or_else(|| panic!("no line names {name}: {output:#?}"))
    };
    for (name, _) in &bad {
        let line = line_of(name);
        let (_, reason) = line.split_once(name).expect("the line has the name");
        assert!(reason.trim().len() >= REASON_CHARACTERS_MIN, "no reason in `{line}`");
    }
    line_of("order-saga");

    let client = host.client();
    let plugins = client.get("/plugins").await.expect("the list of plugins").to_string();
    assert!(plugins.contains("order-saga"), "{plugins}");
    client.send(&[cart_finalized("1", "cart-1")]).await;
    client.take_exactly("InitializeOrder", 1).await;
}

#[tokio::test]
async fn a_directory_without_plugins_still_accepts_events() {
    let host = Host::builder().start().await;
    let sent = host.client().send(&[cart_finalized("1", "cart-1")]).await;
    assert_eq!(sent.accepted, 1);
    let lease = host
        .client()
        .lease("InitializeOrder", 1, Duration::ZERO, Duration::from_secs(1))
        .await
        .expect("a queue that never had a message is an empty queue");
    assert!(lease.messages.is_empty());
}
