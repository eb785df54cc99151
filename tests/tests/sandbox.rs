//! Guarantee 6 against plugins that try to hurt: each limit is broken by a hostile
//! plugin, which runs beside a good one. The host goes on, the key becomes a dead
//! letter that names the limit, and neither another key of the hostile plugin nor the
//! good plugin notices.

use sagabox_tests::client::Client;
use sagabox_tests::events::{cart_finalized, event};
use sagabox_tests::host::{Builder, Host};
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};

/// Longer than the default: a busy machine must not stop a call that is to break another limit.
const PATIENT: &str = "[plugin.hostile.limits]\ncall_time_ms = 20000\n";
/// Shorter, so that the tests that wait for it end soon.
const STRICT: &str = "[plugin.hostile.limits]\ncall_time_ms = 300\n";

fn attack(id: &str, key: &str, behaviour: &str) -> Value {
    event(id, "attack", key, &json!(behaviour))
}

fn builder() -> Builder {
    Host::builder().plugin("order-saga").plugin("hostile").configuration(PATIENT)
}

/// Has the hostile plugin do it, between calls that must go well.
async fn check(behaviour: &str, reason: &str) {
    check_on(&mut builder().start().await, behaviour, reason).await;
}

async fn check_on(host: &mut Host, behaviour: &str, reason: &str) {
    let client = host.client();
    let mut events = vec![attack("bad", "the bad key", behaviour)];
    for n in 0..20 {
        events.push(attack(&format!("good-{n}"), &format!("key-{n}"), "behave"));
        events.push(cart_finalized(&format!("cart-{n}"), &format!("cart-{n}")));
    }
    // Behind the dead letter: it waits, and is not lost.
    events.push(attack("waits", "the bad key", "behave"));
    client.send(&events).await;

    client.take_exactly("Behaved", 20).await;
    client.take_exactly("InitializeOrder", 20).await;
    let dead_letter = the_dead_letter(&client).await;
    assert_eq!(dead_letter["plugin"], "hostile");
    assert_eq!(dead_letter["key"], "the bad key");
    let said = dead_letter["reason"].as_str().expect("a reason");
    assert!(said.contains(reason), "`{said}` does not say `{reason}`");
    client.wait_for_balance().await;
    host.assert_runs();
}

async fn the_dead_letter(client: &Client) -> Value {
    wait::until("one dead letter", wait::SOON, || async {
        let mut dead_letters = client.dead_letters().await?;
        match dead_letters.len() {
            1 => Ok(dead_letters.remove(0)),
            n => Err(format!("{n} dead letters: {dead_letters:?}")),
        }
    })
    .await
}

// ---- what a call may use -------------------------------------------------------

#[tokio::test]
async fn an_endless_loop_is_stopped() {
    let reason = "did not return within 300ms (limit call_time_ms)";
    check_on(&mut builder().configuration(STRICT).start().await, "loop", reason).await;
}

#[tokio::test]
async fn an_endless_loop_of_host_calls_is_stopped() {
    let reason = "did not return within 300ms (limit call_time_ms)";
    check_on(&mut builder().configuration(STRICT).start().await, "loop in host calls", reason)
        .await;
}

#[tokio::test]
async fn a_memory_bomb_is_stopped() {
    check("memory", "more than 67108864 bytes of memory (limit memory_bytes)").await;
}

#[tokio::test]
async fn a_deep_recursion_is_stopped() {
    check("recursion", "more than 524288 bytes of stack (limit stack_bytes)").await;
}

#[tokio::test]
async fn a_trap_is_a_dead_letter() {
    check("trap", "the plugin was stopped: it trapped: ").await;
}

// ---- what a decision may hold --------------------------------------------------

#[tokio::test]
async fn a_huge_decision_is_refused() {
    check("decision", "at most 8388608 are accepted (limit decision_bytes)").await;
}

#[tokio::test]
async fn a_decision_is_not_copied_beyond_its_limit() {
    check("decision beyond all measure", "more than 8388608 bytes (limit decision_bytes)").await;
    check("messages beyond all measure", "more than 8388608 bytes (limit decision_bytes)").await;
}

#[tokio::test]
async fn a_huge_state_is_refused() {
    check("state", "2097152 bytes of state; at most 1048576 are accepted (limit state_bytes)")
        .await;
}

#[tokio::test]
async fn too_many_messages_are_refused() {
    check("messages", "1001 messages; at most 1000 are accepted (limit messages)").await;
}

#[tokio::test]
async fn too_many_timers_are_refused() {
    check("timers", "1001 timers; at most 1000 are accepted (limit timers)").await;
}

#[tokio::test]
async fn too_many_keys_are_refused() {
    check("keys", "1001 keys; at most 1000 are accepted (limit keys)").await;
}

#[tokio::test]
async fn a_long_key_is_refused() {
    check("long key", "an additional key has 513 bytes; at most 512 are accepted").await;
}

#[tokio::test]
async fn too_many_questions_are_refused() {
    check("questions", "1001 questions at once; at most 100 are accepted (limit questions)").await;
}

#[tokio::test]
async fn a_need_without_a_question_is_refused() {
    check("no question", "needs answers, but asks no question").await;
}

#[tokio::test]
async fn what_is_not_declared_is_refused() {
    check("undeclared command", "the command `Refund`, which is not in the manifest's list").await;
    check("undeclared lookup", "the lookup `prices`, which is not in the manifest's list").await;
}

#[tokio::test]
async fn junk_in_a_message_is_refused() {
    check("junk media type", "is not a media type such as application/json").await;
    check("junk extension", "of the characters a-z and 0-9").await;
}

// ---- what is cut, and fails no call ---------------------------------------------

#[tokio::test]
async fn a_flood_of_log_lines_is_cut() {
    let host = builder().start().await;
    host.client().send(&[attack("1", "key", "log lines")]).await;
    host.client().take_exactly("Behaved", 1).await;
    let log = host.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("flood ")).collect();
    assert_eq!(lines.len(), 100);
    // Each says what it is about.
    let about = " plugin=hostile key=key event=1 event_type=attack";
    assert!(lines.iter().all(|line| line.ends_with(about)), "{}", lines[0]);
    let said = "9900 further lines of this call are dropped";
    assert!(log.contains(said), "{log}");
    host.client().assert_no_dead_letters().await;
}

#[tokio::test]
async fn a_flood_of_log_bytes_is_cut() {
    let host = builder().start().await;
    host.client().send(&[attack("1", "key", "log bytes")]).await;
    host.client().take_exactly("Behaved", 1).await;
    let flood = host.log().matches("flood ").count() * "flood ".len();
    assert!((65_000..=65_536).contains(&flood), "{flood} bytes in the log");
    host.client().assert_no_dead_letters().await;
}

/// A leak in a plugin, and what it remembers, goes with its instance.
#[tokio::test]
async fn an_instance_is_replaced_after_its_calls() {
    let configuration = "[plugin.hostile.limits]\ncalls_per_instance = 1\n";
    let host = builder().configuration(configuration).start().await;
    let events: Vec<Value> =
        (0..10).map(|n| attack(&n.to_string(), &n.to_string(), "behave")).collect();
    host.client().send(&events).await;
    for command in host.client().take_exactly("Behaved", 10).await.values() {
        assert_eq!(command["data"]["calls"], 1, "{command}");
    }
}

#[tokio::test]
async fn a_plugin_that_always_spins_delays_no_other() {
    // Long enough that a good plugin that waited for the hostile one would be late.
    let configuration = "[limits]\nshards = 2\n[plugin.hostile.limits]\ncall_time_ms = 20000\n";
    let host = builder().configuration(configuration).start().await;
    let client = host.client();
    let spins: Vec<Value> =
        (0..10).map(|n| attack(&n.to_string(), &n.to_string(), "loop")).collect();
    client.send(&spins).await;
    let carts: Vec<Value> =
        (0..200).map(|n| cart_finalized(&format!("c-{n}"), &format!("cart-{n}"))).collect();
    client.send(&carts).await;
    client.take_exactly("InitializeOrder", 200).await;
    // None of the loops has ended: nothing waited for them.
    client.assert_no_dead_letters().await;
}

#[tokio::test]
async fn the_time_of_a_plugin_is_counted() {
    let host = builder().start().await;
    let client = host.client();
    client.send(&[attack("1", "key", "loop"), attack("2", "other", "behave")]).await;
    the_dead_letter(&client).await;
    client.take_exactly("Behaved", 1).await;
    let page = client.text("/metrics").await.expect("the metrics");
    let value = |name: &str| {
        let sample = format!("{name}{{plugin=\"hostile\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&sample));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("{name}: {page}"))
    };
    assert!(value("sagabox_plugin_call_seconds_count") >= 2.0);
    assert!(value("sagabox_plugin_call_seconds_sum") >= 0.3);
}

// ---- files that are refused before any call -------------------------------------

/// The component around a core module, which exports nothing that is called.
fn around(module: &str) -> Vec<u8> {
    let text = format!("(component (core module $m {module}) (core instance (instantiate $m)))");
    wat::parse_str(text).expect("a component")
}

#[tokio::test]
async fn a_file_that_cannot_be_a_plugin_is_refused() {
    let good = std::fs::read(paths::plugin("order-saga")).expect("the plugin");
    let tables = "(table 1 funcref)".repeat(1_000);
    let http = r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#;
    let newer = r#"(component (import "wasi:cli/environment@0.3.0" (instance)))"#;
    let foreign = r#"(component
        (core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func (export "run") (canon lift (core func $i "run"))))"#;
    let bad: [(&str, Vec<u8>, &str); 10] = [
        ("empty.wasm", Vec::new(), "is empty"),
        ("junk.wasm", b"no plugin".to_vec(), "is not a WebAssembly component"),
        ("module.wasm", b"\0asm\x01\0\0\0".to_vec(), "core WebAssembly module"),
        ("truncated.wasm", good[..good.len() / 2].to_vec(), "is not a valid component"),
        ("foreign.wasm", wat::parse_str(foreign).expect("a component"), "plays no role"),
        (
            "http.wasm",
            wat::parse_str(http).expect("a component"),
            "a plugin makes no HTTP requests",
        ),
        ("newer.wasm", wat::parse_str(newer).expect("a component"), "it is of WASI 0.3.0"),
        ("tables.wasm", around(&tables), "tables"),
        ("elements.wasm", around("(table 200000 funcref)"), "limit table_elements"),
        ("memory.wasm", around("(memory 2000)"), "limit memory_bytes"),
    ];
    let host = bad
        .iter()
        .fold(builder(), |builder, (name, content, _)| builder.file(name, content.clone()))
        .start()
        .await;
    let output = host.output();
    for (name, _, reason) in &bad {
        let line = output.iter().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("no line names {name}: {output:#?}"));
        assert!(line.starts_with("refused ") && line.contains(reason), "`{line}`: no `{reason}`");
    }
    host.client().send(&[cart_finalized("1", "cart-1"), attack("2", "key", "behave")]).await;
    host.client().take_exactly("InitializeOrder", 1).await;
    host.client().take_exactly("Behaved", 1).await;
}

#[tokio::test]
async fn limits_that_a_plugin_cannot_start_with_refuse_it() {
    let configuration = "[plugin.hostile.limits]\nmemory_bytes = 65536\n";
    let host = builder().configuration(configuration).start().await;
    let output = host.output();
    let line = output.iter().find(|line| line.contains("hostile.wasm")).expect("a line");
    assert!(line.starts_with("refused ") && line.contains("memory_bytes"), "{line}");
    host.client().send(&[cart_finalized("1", "cart-1")]).await;
    host.client().take_exactly("InitializeOrder", 1).await;
}

/// The document's table of the limits names the test of each row; this one is
/// the test that they are there.
#[test]
fn each_row_of_the_sandbox_table_has_its_test() {
    let read = |path: &str| std::fs::read_to_string(paths::repository().join(path)).expect(path);
    let (document, tests) = (read("CONFIGURATION.md"), read("tests/tests/sandbox.rs"));
    let table = document.split_once("## Limits of a call").expect("its section").1;
    let table = table.split_once("\n## ").map_or(table, |(table, _)| table);
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains(" default "))
        .collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[cells.len() - 2].trim_matches('`');
        assert!(tests.contains(&format!("fn {name}()")), "no test `{name}`: {row}");
    }
}
