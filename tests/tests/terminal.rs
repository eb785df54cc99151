//! What people read is text alone: nothing that came from outside moves a cursor, sets a
//! colour or forges a line, in any table, message or line of the log.

use sagabox_tests::command::sagabox;
use sagabox_tests::events::event;
use sagabox_tests::host::{Builder, Host};
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};

const PLUGIN: &str = "group-checkout";
/// In keys, and so in reasons, tables, problems and the log.
const NAMES: [&str; 6] = [
    "esc\u{1b}]0;pwned\u{7}\u{1b}[2Jkey",
    "a\nb  running        1  forged",
    "a\r\n2026-01-01T00:00:00Z ERROR forged",
    "rtl\u{202e}yek\u{2066}",
    "c1 \u{9b}31m \u{85} \u{7f}",
    "hidden\u{200b}\u{feff}\u{fdd0}\u{10ffff}",
];

fn is_forbidden(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'
            | '\u{feff}' | '\u{fdd0}' | '\u{10ffff}')
}

#[track_caller]
fn check_clean(what: &str, text: &str) {
    let found = text.chars().find(|character| is_forbidden(*character));
    assert!(found.is_none(), "{what}: {found:?} is in {text:?}");
    let is_forged =
        |line: &str| line.starts_with("b  running") || line.starts_with("2026-01-01T00:00:00Z");
    assert!(!text.lines().any(is_forged), "{what}: {text}");
}

/// A host with an instance of each name that runs, and a dead letter of each.
async fn host(builder: Builder) -> Host {
    let host = builder
        .plugin(PLUGIN)
        .variable("RUST_LOG", "info,sagabox=debug,sagabox_engine=debug")
        .start()
        .await;
    let mut events = Vec::new();
    for (number, name) in NAMES.iter().enumerate() {
        let data = json!({"groupCheckoutId": name, "guestStayIds": ["a guest"]});
        events.push(event(&format!("e-{number}"), "GroupCheckoutInitiated", "a group", &data));
        // A stay that is no text: the plugin says what it cannot read.
        let broken = json!({"groupCheckoutId": name, "guestStayId": {*name: 1}});
        events.push(event(&format!("b-{number}"), "GuestCheckoutFailed", "a group", &broken));
    }
    host.client().send(&events).await;
    wait::until("dead letters", wait::SOON, async || {
        match host.client().dead_letters().await?.len() {
            found if found == NAMES.len() => Ok(()),
            found => Err(found.to_string()),
        }
    })
    .await;
    host
}

#[tokio::test]
async fn no_command_prints_what_a_terminal_obeys() {
    let host = host(Host::builder()).await;
    let url = host.url();
    let commands: [&[&str]; 10] = [
        &["instances", PLUGIN],
        &["instances", PLUGIN, "--all"],
        &["dead-letters"],
        &["dead-letter", "1"],
        &["plugins"],
        &["accounts"],
        &["queues"],
        &["sinks"],
        &["lookups"],
        &["top"],
    ];
    for command in commands {
        for format in [None, Some("--json")] {
            let arguments = [command, &["--host", &url], format.as_slice()].concat();
            let ended = sagabox(host.folder(), &arguments).with(0);
            check_clean(&arguments.join(" "), &ended.output);
            check_clean(&arguments.join(" "), &ended.error);
        }
    }
    let rows = sagabox(host.folder(), &["instances", PLUGIN, "--host", &url]).with(0);
    assert_eq!(rows.output.lines().count(), NAMES.len() + 1, "a row is a line: {}", rows.output);
    let shown = sagabox(host.folder(), &["dead-letter", "1", "--json", "--host", &url]).with(0);
    assert_eq!(shown.json()["key"], NAMES[0], "programs get what it is");
}

#[tokio::test]
async fn no_command_repeats_a_name_as_it_is() {
    let host = host(Host::builder()).await;
    let url = host.url();
    for name in NAMES {
        for command in ["show", "cancel", "end"] {
            let mut arguments = vec![command, PLUGIN, name, "--host", &url];
            if command != "show" {
                arguments.extend(["--reason", name]);
            }
            let ended = sagabox(host.folder(), &arguments);
            check_clean(command, &ended.output);
            check_clean(command, &ended.error);
        }
        let unknown = format!("x{name}");
        for unknown in [["show", name, "k"], ["show", PLUGIN, &unknown]] {
            let ended = sagabox(host.folder(), &[&unknown[..], &["--host", &url]].concat()).with(1);
            check_clean("an error", &ended.error);
            assert_eq!(ended.error.lines().count(), 1, "{:?}", ended.error);
        }
    }
}

#[tokio::test]
async fn no_line_of_the_log_is_forged_or_coloured() {
    let host = host(Host::builder()).await;
    let log = host.log();
    check_clean("the log", &log);
    assert!(log.contains("became a dead letter"), "{log}");
    assert!(log.lines().all(|line| line.starts_with("20") && line.contains('Z')), "{log}");
}

#[tokio::test]
async fn a_log_for_programs_is_one_object_a_line() {
    for builder in [
        Host::builder().argument("--log-format=json"),
        Host::builder().variable("SAGABOX_LOG_FORMAT", "json"),
        Host::builder().configuration("[log]\nformat = \"json\"\n"),
    ] {
        let mut host = host(builder).await;
        host.stop().await;
        let log = host.log();
        check_clean("the log", &log);
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
        }
    }
}

#[test]
fn a_slip_in_the_environment_is_an_error_that_names_it() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    for (name, value, said) in [
        ("RUST_LOG", "inof", "RUST_LOG: `inof` is invalid"),
        ("RUST_LOG", "info,sagabox=loud", "RUST_LOG: `sagabox=loud` is invalid"),
        ("SAGABOX_LOG_FORMAT", "xml", "xml"),
    ] {
        let output = std::process::Command::new(paths::binary())
            .args(["run", "."])
            .env(name, value)
            .current_dir(folder.path())
            .output()
            .expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(said), "{error}");
    }
}
