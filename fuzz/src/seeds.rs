//! Writes what the fuzzers begin with: one good input of each kind.

use std::path::Path;

use sagabox_fuzz::guest::{self, ANSWER, ROLES};

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/a","type":"t","subject":"s","time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","dataschema":"https://example.com/schema","extension":"x","data":{"a":1}}"#;
const BINARY: &str = "content-type: text/plain\nce-specversion: 1.0\nce-id: 1\nce-source: /a\nce-type: t\nce-subject: %C3%A4\nce-time: 2026-01-01T00:00:00Z\nce-extension: x\n\nbody";

fn main() -> std::io::Result<()> {
    for (role, (name, _)) in ROLES.iter().enumerate() {
        let role_byte = u8::try_from(role).expect("a small number");
        write("component", name, &[&[255], guest::echo(role).as_slice()].concat())?;
        write(
            "component",
            &format!("{name}-core"),
            &[&[255], guest::core_echo(role).as_slice()].concat(),
        )?;
        write("component", &format!("{name}-code"), &[&[2], [role_byte; 600].as_slice()].concat())?;
        write(
            "manifest",
            name,
            &[&[role_byte], manifest(*name == "process-manager").as_slice()].concat(),
        )?;
    }
    write("component", "made", &[0; 400])?;
    write("component", "made-core", &[&[1], [3_u8; 400].as_slice()].concat())?;
    for (name, what, reply) in replies() {
        write("reply", name, &[&[what], reply.as_slice()].concat())?;
    }
    let structured = format!("content-type: application/cloudevents+json\n\n{EVENT}");
    let batch = format!("content-type: application/cloudevents-batch+json\n\n[{EVENT},{EVENT}]");
    write("events", "structured", structured.as_bytes())?;
    write("events", "batch", batch.as_bytes())?;
    write("events", "binary", BINARY.as_bytes())?;
    for (name, request) in
        [("structured", &structured), ("batch", &batch), ("binary", &BINARY.to_owned())]
    {
        write("roundtrip", name, request.as_bytes())?;
    }
    for (name, data) in odd_data() {
        let event = EVENT.replace("{\"a\":1}", &data);
        let structured = format!("content-type: application/cloudevents+json\n\n{event}");
        write("roundtrip", &format!("{name}-structured"), structured.as_bytes())?;
        let binary = BINARY.replace("text/plain", "application/json").replace("body", &data);
        write("roundtrip", &format!("{name}-binary"), binary.as_bytes())?;
    }
    let page = include_str!("../../CONFIGURATION.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    write("settings", "all", example.expect("the page has an example").as_bytes())?;
    write("settings", "lock", b"version = 1\n\n[[plugin]]\nfile = \"a.wasm\"\nname = \"a\"\nversion = \"1.0.0\"\ndigest = \"sha256:00\"\nsource = \"here\"\n")
}

/// Data of which something got lost once, or that stopped something.
fn odd_data() -> Vec<(&'static str, String)> {
    vec![
        ("surrogate", r#"{"note":"cut \ud83d","\udead":"\u00e4\/"}"#.to_owned()),
        ("numbers", "[1e400,12345678901234567890123,10.00,-0,117.63331139400017]".to_owned()),
        ("twice", r#"{"n":1,"n":2}"#.to_owned()),
        ("blanks", "[ 1 ,\r\n 2 ]".to_owned()),
        ("null", "null".to_owned()),
        ("deep", format!("{}{}", "[".repeat(200), "]".repeat(200))),
    ]
}

fn write(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("seed-{name}")), bytes)
}

fn words(values: &[usize]) -> Vec<u8> {
    let word = |value: &usize| u32::try_from(*value).expect("an address").to_le_bytes();
    values.iter().flat_map(word).collect()
}

/// Texts lie 400 bytes behind the answer's start, lists 200 bytes behind it.
const TEXTS: usize = ANSWER + 400;
const LIST: usize = ANSWER + 200;

/// `top` at the start, `list` and `texts` at their places.
fn lay(top: &[u8], list: &[u8], texts: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; TEXTS - ANSWER + texts.len()];
    bytes[..top.len()].copy_from_slice(top);
    bytes[LIST - ANSWER..LIST - ANSWER + list.len()].copy_from_slice(list);
    bytes[TEXTS - ANSWER..].copy_from_slice(texts);
    bytes
}

/// With one subscription of the type `t`.
fn manifest(has_state: bool) -> Vec<u8> {
    let top = words(&[
        TEXTS,
        1,
        TEXTS + 1,
        5,
        0,
        0,
        LIST,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        usize::from(has_state),
    ]);
    let subscription = words(&[TEXTS + 6, 1, 0, 0, 0, 2, 0, 0, 0, 0]);
    lay(&top, &subscription, b"f1.0.0t")
}

/// Name, who answers, and the answer. The texts are one character each.
fn replies() -> Vec<(&'static str, u8, Vec<u8>)> {
    // Its type, no subject, its content type, no extensions, and a character as its data.
    let message = |text| words(&[TEXTS + text, 1, 0, 0, 0, TEXTS + 3, 1, 0, 0, TEXTS + 3, 1]);
    let question = words(&[0, TEXTS + 2, 1, TEXTS + 3, 1]);
    let texts = b"celx";
    // Ok, decided: a command, no events.
    let command = lay(&words(&[0, 0, LIST, 1, 0, 0]), &message(0), texts);
    let event = lay(&words(&[0, 0, 0, 0, LIST, 1]), &message(1), texts);
    let need = lay(&words(&[0, 1, LIST, 1]), &question, texts);
    let failed = lay(&words(&[1, 0, TEXTS, 4]), &[], texts);
    let published = lay(&words(&[0, 0, LIST, 1]), &message(1), texts);
    // Ok, transit: a state, a command, no events, timers or keys, complete.
    let transit =
        lay(&words(&[0, 0, 1, TEXTS, 1, LIST, 1, 0, 0, 0, 0, 0, 0, 1]), &message(0), texts);
    // A timer `x` after 1 ms; its variants are aligned to eight bytes.
    let timer = words(&[0, 0, TEXTS + 3, 1, 0, 0, 1, 0, TEXTS, 1]);
    let timers = lay(&words(&[0, 0, 0, 0, 0, 0, 0, 0, 0, LIST, 1, 0, 0, 0]), &timer, texts);
    let claim = words(&[0, TEXTS, 1]);
    let keys = lay(&words(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, LIST, 1, 0]), &claim, texts);
    let migrated = lay(&words(&[0, TEXTS, 4]), &[], texts);
    vec![
        ("command", 0, command.clone()),
        ("need", 0, need.clone()),
        ("failed", 0, failed.clone()),
        ("transit", 1, transit),
        ("timers", 1, timers),
        ("keys", 1, keys),
        ("reactor-command", 2, command),
        ("reactor-event", 2, event),
        ("published", 3, published),
        ("enricher-need", 3, need),
        ("migrated", 4, migrated),
    ]
}
