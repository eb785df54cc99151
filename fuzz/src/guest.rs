//! Plugins made of text, whose answers are whatever the fuzzer wants.

use std::path::Path;
use std::sync::LazyLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Role, and the function that decides.
pub const ROLES: [(&str, &str); 4] = [
    ("saga", "handle"),
    ("process-manager", "handle"),
    ("reactor", "handle"),
    ("enricher", "enrich"),
];

/// Where the answers lie: early, so that pointers into them are small numbers.
pub const ANSWER: usize = 256;
pub const ANSWER_BYTES: usize = 2048;
/// Fills the place of the answers in the file.
const BLANK: u8 = 0xa5;

/// The manifest that `described` plugins have, and where it lies.
const MANIFEST: usize = 20_000;

/// The core module of a plugin of this role. `describe` gives what lies at `described`;
/// all else gives what lies at `ANSWER`, into which an event's data is copied first.
fn module(role: usize, described: usize, answer: Option<&[u8]>) -> Vec<u8> {
    let (role_name, decides) = ROLES[role];
    let handler = format!("sagabox:plugin/{role_name}-handler@0.1.0");
    let state_version = u32::from(role_name == "process-manager");
    let answer = answer.map_or(String::new(), |bytes| segment(ANSWER, bytes));
    let migrate = match role_name {
        "process-manager" => format!(
            "(func (export \"{handler}#migrate\") (param i32 i32 i32 i32) (result i32)
               (call $give (local.get 1) (local.get 2)))
             (func (export \"cabi_post_{handler}#migrate\") (param i32)
               (global.set $top (i32.const 65536)))"
        ),
        _ => String::new(),
    };
    let text = format!(
        "(module
           (memory (export \"memory\") 4)
           (global $top (mut i32) (i32.const 65536))
           (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
             (global.set $top (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
             (global.get $top)
             (global.set $top (i32.add (global.get $top) (local.get 3))))
           (func $give (param $data i32) (param $bytes i32) (result i32)
             (if (i32.gt_u (local.get $bytes) (i32.const {ANSWER_BYTES}))
               (then (local.set $bytes (i32.const {ANSWER_BYTES}))))
             (if (local.get $bytes) (then
               (memory.fill (i32.const {ANSWER}) (i32.const 0) (i32.const {ANSWER_BYTES}))
               (memory.copy (i32.const {ANSWER}) (local.get $data) (local.get $bytes))))
             (i32.const {ANSWER}))
           {answer}
           {manifest}
           (func (export \"{handler}#describe\") (result i32) (i32.const {described}))
           (func (export \"{handler}#{decides}\") (param $call i32) (result i32)
             (call $give (i32.load offset=76 (local.get $call)) (i32.load offset=80 (local.get $call))))
           (func (export \"cabi_post_{handler}#{decides}\") (param i32)
             (global.set $top (i32.const 65536)))
           {migrate})",
        manifest = manifest(MANIFEST, state_version),
    );
    let mut module = wat::parse_str(text).expect("the text of the module");
    embed(&mut module, role);
    module
}

/// A manifest with one of everything, each with a name of one character.
fn manifest(at: usize, state_version: u32) -> String {
    let text = "f1.0.0tcel";
    let word = |value: usize| u32::try_from(value).expect("an address").to_le_bytes();
    let words =
        |values: &[usize]| values.iter().flat_map(|value| word(*value)).collect::<Vec<u8>>();
    let (texts, lists) = (at + 200, at + 300);
    // Of the type `t`, of any source, by subject, to be handled, ignored if no instance is there.
    let subscription = words(&[texts + 6, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
    let name = |offset| words(&[texts + offset, 1]);
    let version = usize::try_from(state_version).expect("a small number");
    // Its optional part is zeros: empty lists and none.
    let manifest = words(&[
        texts,
        1,
        texts + 1,
        5,
        0,
        0,
        lists + 100,
        1,
        lists,
        1,
        lists + 8,
        1,
        lists + 16,
        1,
        1,
        version,
    ]);
    [
        segment(at, &manifest),
        segment(texts, text.as_bytes()),
        segment(lists, &[name(7), name(8), name(9)].concat()),
        segment(lists + 100, &subscription),
    ]
    .concat()
}

fn segment(address: usize, bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const {address}) \"{text}\")\n")
}

/// Says in the module which role's world it is of.
pub fn embed(module: &mut Vec<u8>, role: usize) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/0.1"))
        .expect("the interface");
    let world = resolve.select_world(&[package], Some(ROLES[role].0)).expect("its world");
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8).expect("a module");
}

fn component(module: &[u8]) -> Vec<u8> {
    let mut encoder = ComponentEncoder::default().module(module).expect("a module");
    encoder.encode().expect("a component")
}

/// A plugin that answers with the data of its event.
pub fn echo(role: usize) -> Vec<u8> {
    component(&module(role, MANIFEST, None))
}

/// The same as a core module.
pub fn core_echo(role: usize) -> Vec<u8> {
    module(role, MANIFEST, None)
}

/// A plugin whose manifest these bytes are. Its interface's layout is made once.
pub fn described(role: usize, manifest: &[u8]) -> Vec<u8> {
    static BLANKS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let blank = [BLANK; ANSWER_BYTES];
        (0..ROLES.len()).map(|role| component(&module(role, ANSWER, Some(&blank)))).collect()
    });
    let mut bytes = BLANKS[role].clone();
    let blank = [BLANK; ANSWER_BYTES];
    let at = bytes.windows(ANSWER_BYTES).position(|window| window == blank).expect("the place");
    let manifest = &manifest[..manifest.len().min(ANSWER_BYTES)];
    bytes[at..at + ANSWER_BYTES].fill(0);
    bytes[at..at + manifest.len()].copy_from_slice(manifest);
    bytes
}

/// What a plugin of this role exports: functions, with their types, and no more.
pub fn shape(role: usize) -> Vec<u8> {
    let (role_name, decides) = ROLES[role];
    let handler = format!("sagabox:plugin/{role_name}-handler@0.1.0");
    let migrate = match role_name {
        "process-manager" => format!(
            "(func (export \"{handler}#migrate\") (param i32 i32 i32 i32) (result i32) unreachable)"
        ),
        _ => String::new(),
    };
    let text = format!(
        "(module
           (memory (export \"memory\") 4)
           (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) unreachable)
           (func (export \"{handler}#describe\") (result i32) unreachable)
           (func (export \"{handler}#{decides}\") (param i32) (result i32) unreachable)
           {migrate})"
    );
    wat::parse_str(text).expect("the text of the module")
}
