//! The printed types, compared with files, and used: the Rust file is a module of this test.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sagabox_engine::model::Role;
use serde_json::{Value, json};

use super::{Language, Types, print, read};
use crate::verify::check::samples::plugin;

mod printed {
    #![allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]

    include!("snapshots/messages.rs");
}

/// What `schemars` writes for types of Rust, and names that are keywords or no names at all.
fn placed() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "OrderPlaced",
        "description": "A customer has placed an order.\n*/ \"\"\" \\ `end`",
        "type": "object",
        "properties": {
            "orderId": {"type": "string", "description": "Unique in the shop."},
            "type": {"enum": ["online", "in store", "2nd", "Self"]},
            "is-gift": {"type": "boolean"},
            "total": {"type": "number"},
            "fee": {"type": ["number", "string"]},
            "count": {"type": "integer", "format": "uint32", "minimum": 0},
            "balance": {"type": ["integer", "null"]},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
            "prices": {"type": "object", "additionalProperties": {"type": "number"}},
            "payment": {"$ref": "#/$defs/Payment"},
            "place": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}],
                      "minItems": 2, "maxItems": 2},
            "note": {"anyOf": [{"$ref": "#/$defs/Note"}, {"type": "null"}]},
            "extra": true,
        },
        "required": ["orderId", "type", "lines", "payment", "balance", "place"],
        "$defs": {
            "Line": {
                "type": "object",
                "properties": {"sku": {"type": "string"}, "class": {"type": "string"}},
                "required": ["sku", "class"],
            },
            "Note": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "reply": {"anyOf": [{"$ref": "#/$defs/Note"}, {"type": "null"}]},
                    "others": {"type": "array", "items": {"$ref": "#/$defs/Note"}},
                },
                "required": ["text"],
            },
            "Payment": {
                "description": "How it is paid.",
                "oneOf": [
                    {"type": "object", "required": ["by", "number"], "properties": {
                        "by": {"const": "card", "type": "string"}, "number": {"type": "string"}}},
                    {"type": "object", "required": ["by"], "properties": {
                        "by": {"const": "cash", "type": "string"}}},
                    {"type": "string"},
                ],
            },
        },
    })
}

fn types() -> Types {
    let mut shop =
        plugin("shop", Role::Reactor, &["Paid", "Lost"], &["pay.now"], &["order placed"]);
    let mut bank = plugin("bank", Role::Saga, &["order placed"], &[], &[]);
    let schemas = &mut shop.manifest.optional.schemas;
    schemas.insert("order placed".to_owned(), placed());
    let line = &placed()["$defs"]["Line"];
    let amounts =
        json!({"type": "array", "items": {"$ref": "#/$defs/Line"}, "$defs": {"Line": line}});
    schemas.insert("pay.now".to_owned(), amounts);
    schemas.insert(
        "Paid".to_owned(),
        json!({"oneOf": [
        {"const": "fully", "description": "All of it."}, {"const": "in part"}]}),
    );
    bank.manifest.optional.schemas.insert("order placed".to_owned(), json!(true));
    read(&[bank, shop])
}

/// With `SAGABOX_BLESS` set, the file is written instead.
#[track_caller]
fn compare(language: Language, file: &str) {
    let printed = print(&types(), language);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/verify/types/snapshots").join(file);
    if std::env::var_os("SAGABOX_BLESS").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(printed == expected, "{file} differs; printed is:\n{printed}");
}

#[test]
fn rust_is_as_in_its_file_and_reads_and_writes_what_the_schema_allows() {
    compare(Language::Rust, "messages.rs");
    let order = json!({
        "orderId": "o-1", "type": "2nd", "lines": [{"sku": "a", "class": "b"}], "balance": null,
        "payment": {"by": "card", "number": "1"}, "place": [1.5, "x"],
        "note": {"text": "a", "reply": {"text": "b"}},
    });
    let read: printed::OrderPlaced = serde_json::from_value(order.clone()).unwrap();
    assert!(matches!(read.payment, printed::Payment::Card(_)));
    assert_eq!(serde_json::to_value(&read).unwrap(), order);
    assert_eq!(printed::ORDER_PLACED_TYPE, "order placed");
    let paid: printed::Paid = serde_json::from_value(json!("in part")).unwrap();
    assert_eq!(paid, printed::Paid::InPart);
    let lines: printed::PayNow =
        serde_json::from_value(json!([{"sku": "a", "class": "b"}])).unwrap();
    assert_eq!(lines, read.lines);
}

#[test]
fn typescript_is_as_in_its_file() {
    compare(Language::TypeScript, "messages.ts");
}

#[test]
fn python_is_as_in_its_file_and_runs() {
    compare(Language::Python, "messages.py");
    let printed = print(&types(), Language::Python);
    let check = "import sys, typing\nspace = {'__name__': 'messages'}\n\
                 exec(compile(sys.stdin.read(), 'messages.py', 'exec'), space)\n\
                 assert space['ORDER_PLACED_TYPE'] == 'order placed'\n\
                 typing.get_type_hints(space['Note'], space)";
    piped("python3", &["-c", check], &printed);
}

#[test]
fn go_is_as_in_its_file() {
    compare(Language::Go, "messages.go");
    piped("gofmt", &["-e"], &print(&types(), Language::Go));
}

/// Where the program is at hand; the files themselves are compared everywhere.
fn piped(program: &str, arguments: &[&str], text: &str) {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else { return };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn json_schema_is_one_document_in_which_references_are_found() {
    compare(Language::JsonSchema, "messages.json");
    let document: Value = serde_json::from_str(&print(&types(), Language::JsonSchema)).unwrap();
    let of = |name: &str| {
        let mut schema = document.clone();
        schema["$ref"] = json!(format!("#/$defs/{name}"));
        crate::io::json_schema::JsonSchema::new(&schema).unwrap()
    };
    assert!(of("PayNow").is_valid(&json!([{"sku": "a", "class": "b"}])));
    assert!(!of("PayNow").is_valid(&json!([{"sku": "a"}])));
}

#[test]
fn what_has_no_schema_is_said() {
    assert_eq!(types().undescribed, ["Lost".to_owned()].into());
    assert_eq!(types().messages.len(), 3);
    let placed = &types().messages[1];
    assert_eq!(placed.description(), "Event `order placed`, sent by shop, taken by bank.");
}

/// Of any schema, the types accept at least what the schema accepts.
#[test]
fn odd_schemas_become_types_all_the_same() {
    let odd: BTreeMap<&str, Value> = [
        ("A", json!({"$ref": "#"})),
        ("B", json!({"$ref": "#/$defs/C", "$defs": {"C": {"type": "array", "items": {"$ref": "#/$defs/C"}}}})),
        ("C", json!({"anyOf": [{"type": "null"}, {"$ref": "#"}]})),
        ("D", json!({"type": ["string", "integer"]})),
        ("E", json!({"enum": [1, "a", null]})),
        ("F", json!({"$ref": "#/$defs/none"})),
        ("G", json!({"type": "object", "properties": {"a~/b": {"$ref": "#"}, "": {"const": 1}}})),
        ("H", json!({"allOf": [{"$ref": "#/$defs/C"}, {"properties": {"b": {"type": "string"}}}],
                     "$defs": {"C": {"type": "object", "properties": {"a": {"type": "null"}}}}})),
        ("I", json!({"anyOf": []})),
        ("J", json!(false)),
    ]
    .into();
    let mut sender = plugin("odd", Role::Reactor, &["X"], &[], &[]);
    for (name, schema) in odd {
        sender.manifest.events.insert(name.to_owned());
        sender.manifest.optional.schemas.insert(name.to_owned(), schema);
    }
    let types = read(&[sender]);
    for language in [Language::Rust, Language::TypeScript, Language::Python, Language::Go] {
        assert!(print(&types, language).len() > 100);
    }
    let rust = print(&types, Language::Rust);
    for part in [
        "pub type A = serde_json::Value;",
        "pub type B = serde_json::Value;",
        "pub type D = serde_json::Value;",
        "pub type F = serde_json::Value;",
        "pub a_b: Option<Box<G>>,",
        "pub a: Option<()>,",
        "pub b: Option<String>,",
    ] {
        assert!(rust.contains(part), "{part} is not in {rust}");
    }
    piped(
        "python3",
        &["-c", "import ast, sys; ast.parse(sys.stdin.read())"],
        &print(&types, Language::Python),
    );
    piped("gofmt", &["-e"], &print(&types, Language::Go));
}
