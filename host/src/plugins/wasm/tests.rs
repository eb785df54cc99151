//! Tests the adapter with components made of text, small enough to read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use sagabox_engine::model::{Event, Failure, Timestamp};
use sagabox_engine::seams::handler::{Call, Handler, Reply};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::sandbox::{Sandbox, Settings};
use super::{Loading, core_module, load_directory};

mod sockets;

const NOW: u64 = 1_700_000_000_123;

/// The part of WASI that the tests import.
const WASI: &str = "
    package wasi:clocks@0.2.3 {
        interface wall-clock {
            record datetime { seconds: u64, nanoseconds: u32 }
            now: func() -> datetime;
        }
        interface monotonic-clock {
            use wasi:io/poll@0.2.3.{pollable};
            now: func() -> u64;
            subscribe-duration: func(when: u64) -> pollable;
        }
    }
    package wasi:random@0.2.3 {
        interface random { get-random-u64: func() -> u64; }
        interface insecure-seed { insecure-seed: func() -> tuple<u64, u64>; }
    }
    package wasi:io@0.2.3 {
        interface error { resource error; }
        interface poll { resource pollable { block: func(); } }
        interface streams {
            use error.{error};
            variant stream-error { last-operation-failed(error), closed }
            resource output-stream {
                blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
            }
        }
    }
    package wasi:cli@0.2.3 {
        interface exit { exit: func(status: result); }
        interface environment { get-environment: func() -> list<tuple<string, string>>; }
        interface stdout {
            use wasi:io/streams@0.2.3.{output-stream};
            get-stdout: func() -> output-stream;
        }
    }
    package wasi:sockets@0.2.3 {
        interface network {
            resource network;
            enum error-code { unknown, access-denied }
            enum ip-address-family { ipv4, ipv6 }
        }
        interface instance-network {
            use network.{network};
            instance-network: func() -> network;
        }
        interface tcp { resource tcp-socket { is-listening: func() -> bool; } }
        interface tcp-create-socket {
            use network.{error-code, ip-address-family};
            use tcp.{tcp-socket};
            create-tcp-socket: func(family: ip-address-family) -> result<tcp-socket, error-code>;
        }
        interface ip-name-lookup {
            use network.{error-code, network};
            resource resolve-address-stream;
            resolve-addresses:
                func(network: borrow<network>, name: string) -> result<resolve-address-stream, error-code>;
        }
    }
    package wasi:filesystem@0.2.3 {
        interface types { resource descriptor { sync: func(); } }
        interface preopens {
            use types.{descriptor};
            get-directories: func() -> list<tuple<descriptor, string>>;
        }
    }";

/// A plugin of the roles `roles` (role and name), whose handlers run `handle` and then
/// send one command, with the 64 bytes at 1,000 as its data.
struct Guest<'t> {
    roles: &'t [(&'t str, &'t str)],
    /// The interfaces of WASI, those of the world, and the core imports.
    interfaces: &'t [&'t str],
    imports: &'t str,
    handle: &'t str,
}

const PLAIN: Guest<'static> =
    Guest { roles: &[("saga", "plain")], interfaces: &[], imports: "", handle: "" };

fn word(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap().to_le_bytes()
}

fn data(address: usize, words: &[usize]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|value| word(*value)).collect();
    let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const {address}) \"{text}\")\n")
}

impl Guest<'_> {
    /// The core module with its world. Layouts are those of the canonical ABI.
    fn module(&self) -> Vec<u8> {
        self.module_that_first("")
    }

    /// The same, but it does this first when it is asked to describe itself.
    fn module_that_first(&self, does: &str) -> Vec<u8> {
        self.module_with(does, "", [0; 10])
    }

    /// The same with an optional part of its manifest, whose texts begin at 6,000.
    fn described(&self, texts: &str, optional: [usize; 10]) -> Vec<u8> {
        let texts = format!("(data (i32.const 6000) \"{texts}\")");
        core_module::componentize(&self.module_with("", &texts, optional)).unwrap()
    }

    fn module_with(&self, does: &str, texts: &str, optional: [usize; 10]) -> Vec<u8> {
        const TEXTS: &str = "1.0.0 happened Do application/json";
        let (version, event, command, json) = ((3000, 5), (3006, 8), (3015, 2), (3018, 16));
        let mut text = format!(
            "(module {imports}
              (memory (export \"memory\") 1) (global $top (mut i32) (i32.const 8192))
              (global $calls (mut i32) (i32.const 0))
              (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
                (global.set $top (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                (global.get $top)
                (global.set $top (i32.add (global.get $top) (local.get 3))))
              (data (i32.const 3000) \"{TEXTS}\")\n",
            imports = self.imports
        );
        text += texts;
        // One subscription: the type, of any source, by subject, handle, ignore.
        text += &data(2000, &[event.0, event.1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
        // The list of commands, and the command that is sent.
        text += &data(2100, &[command.0, command.1]);
        text += &data(2200, &[command.0, command.1, 0, 0, 0, json.0, json.1, 0, 0, 1000, 64]);
        // Ok, decided, one command, no events.
        text += &data(2300, &[0, 0, 2200, 1, 0, 0]);
        for (index, (role, name)) in self.roles.iter().enumerate() {
            let (manifest, at) = (4000 + 200 * index, 4120 + 200 * index);
            text += &format!("(data (i32.const {at}) \"{name}\")\n");
            let own = [at, name.len(), version.0, version.1, 0, 0, 2000, 1, 2100, 1];
            let (rest, optional) = ([0; 6], optional);
            text += &data(manifest, &[own.as_slice(), &rest, &optional].concat());
            let handler = format!("sagabox:plugin/{role}-handler@0.1.0");
            text += &format!(
                "(func $says_who_it_is_{index} (export \"{handler}#describe\") (result i32)
                   {does} (i32.const {manifest}))
                 (func (export \"{handler}#handle\") (param i32) (result i32)
                   (local $resource i32)
                   (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                   {}
                   (i32.const 2300))
                 (func (export \"cabi_post_{handler}#handle\") (param i32)
                   (global.set $top (i32.const 8192)))\n",
                self.handle
            );
        }
        let mut module = wat::parse_str(format!("{text})")).unwrap();
        let mut resolve = Resolve::default();
        resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/0.1")).unwrap();
        let includes =
            self.roles.iter().map(|(role, _)| format!("include sagabox:plugin/{role}@0.1.0;"));
        let imports = self.interfaces.iter().map(|name| format!("import {name}@0.2.3;"));
        let world: String = includes.chain(imports).collect();
        let world = format!("package test:guest; world guest {{ {world} }} {WASI}");
        let package = resolve.push_str("guest.wit", &world).unwrap();
        let world = resolve.select_world(&[package], Some("guest")).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        module
    }

    fn component(&self) -> Vec<u8> {
        core_module::componentize(&self.module()).unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn handler(&self) -> Arc<dyn Handler> {
        only(load(&[("plugin.wasm", self.component())], Settings::default()))
    }
}

fn load(files: &[(&str, Vec<u8>)], settings: Settings) -> Loading {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    load_directory(folder.path(), &Sandbox::new(settings).unwrap(), &HashMap::new()).unwrap()
}

fn only(mut loading: Loading) -> Arc<dyn Handler> {
    let reasons: Vec<_> = loading.refused.iter().map(|refused| &refused.reason).collect();
    assert!(reasons.is_empty(), "{reasons:?}");
    loading.loaded.remove(0).handler
}

fn refused(files: &[(&str, Vec<u8>)], settings: Settings) -> Vec<String> {
    load(files, settings).refused.into_iter().map(|refused| refused.reason).collect()
}

fn call(seed: u64) -> Call {
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"happened","data":{}}"#;
    Call {
        event: Arc::new(Event::from_json(event.as_bytes()).unwrap()),
        state: None,
        now: Timestamp(NOW),
        attempt: 1,
        key: "k".into(),
        answers: Vec::new(),
        seed: seed.into(),
    }
}

/// The data of the one command, as numbers of 8 bytes.
fn sent(handler: &dyn Handler, seed: u64) -> Vec<u64> {
    let Reply::Decided(decision) = handler.handle(&call(seed)).unwrap() else { panic!("asked") };
    let data = &decision.messages[0].data;
    data.chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[track_caller]
fn fails(handler: &dyn Handler, expected: &str) {
    let failure = handler.handle(&call(0)).unwrap_err();
    assert_eq!(failure, Failure::Permanent(expected.to_owned()));
}

const CLOCKS_AND_RANDOMNESS: Guest<'static> = Guest {
    roles: &[("saga", "curious")],
    interfaces: &[
        "wasi:clocks/wall-clock",
        "wasi:io/poll",
        "wasi:clocks/monotonic-clock",
        "wasi:random/random",
        "wasi:random/insecure-seed",
    ],
    imports: r#"
        (import "wasi:clocks/wall-clock@0.2.3" "now" (func $wall (param i32)))
        (import "wasi:clocks/monotonic-clock@0.2.3" "now" (func $mono (result i64)))
        (import "wasi:clocks/monotonic-clock@0.2.3" "subscribe-duration" (func $after (param i64) (result i32)))
        (import "wasi:io/poll@0.2.3" "[method]pollable.block" (func $block (param i32)))
        (import "wasi:io/poll@0.2.3" "[resource-drop]pollable" (func $drop (param i32)))
        (import "wasi:random/random@0.2.3" "get-random-u64" (func $random (result i64)))
        (import "wasi:random/insecure-seed@0.2.3" "insecure-seed" (func $seed (param i32)))"#,
    handle: "
        (call $wall (i32.const 1000))
        (i64.store (i32.const 1016) (call $mono))
        (local.set $resource (call $after (i64.const 5000)))
        (call $block (local.get $resource))
        (call $drop (local.get $resource))
        (i64.store (i32.const 1024) (call $mono))
        (i64.store (i32.const 1032) (call $random))
        (i64.store (i32.const 1040) (call $random))
        (call $seed (i32.const 1048))",
};

#[test]
fn clocks_and_randomness_are_the_calls() {
    let handler = CLOCKS_AND_RANDOMNESS.handler();
    let first = sent(&*handler, 1);
    assert_eq!(first[..4], [NOW / 1_000, 123_000_000, NOW * 1_000_000, NOW * 1_000_000 + 5_000]);
    let random = &first[4..8];
    assert!(random.iter().all(|number| *number != 0) && random[0] != random[1], "{random:?}");
    assert_ne!(sent(&*handler, 2)[4..8], *random, "another seed, another stream");
    // It is used by now. Then a fresh one.
    assert_eq!(sent(&*handler, 1), first);
    assert_eq!(sent(&*CLOCKS_AND_RANDOMNESS.handler(), 1), first);
}

#[test]
fn strict_refuses_what_is_answered_otherwise() {
    let strict = Settings { strict: true, ..Settings::default() };
    let files = [("a.wasm", CLOCKS_AND_RANDOMNESS.component()), ("b.wasm", PLAIN.component())];
    let reasons = refused(&files, strict);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let expected = "@0.2.3`, which `strict` forbids; a plugin may import \
                    sagabox:plugin/logging@0.1.0 alone";
    assert!(
        reasons[0].starts_with("imports `wasi:") && reasons[0].ends_with(expected),
        "{reasons:?}"
    );
}

#[test]
fn output_goes_to_the_log_and_the_environment_is_empty() {
    let guest = Guest {
        roles: &[("saga", "printing")],
        interfaces: &[
            "wasi:io/error",
            "wasi:io/streams",
            "wasi:cli/stdout",
            "wasi:cli/environment",
            "wasi:filesystem/types",
            "wasi:filesystem/preopens",
        ],
        imports: r#"
            (import "wasi:cli/stdout@0.2.3" "get-stdout" (func $stdout (result i32)))
            (import "wasi:io/streams@0.2.3" "[method]output-stream.blocking-write-and-flush"
                (func $write (param i32 i32 i32 i32)))
            (import "wasi:io/streams@0.2.3" "[resource-drop]output-stream" (func $drop (param i32)))
            (import "wasi:cli/environment@0.2.3" "get-environment" (func $environment (param i32)))
            (import "wasi:filesystem/preopens@0.2.3" "get-directories" (func $directories (param i32)))"#,
        handle: "
            (local.set $resource (call $stdout))
            (call $write (local.get $resource) (i32.const 3000) (i32.const 5) (i32.const 1000))
            (call $drop (local.get $resource))
            (call $environment (i32.const 1016))
            (call $directories (i32.const 1024))",
    };
    // The write went well, and both lists have no element.
    let sent = sent(&*guest.handler(), 0);
    assert_eq!((sent[0] & 0xff, sent[2] >> 32, sent[3] >> 32), (0, 0, 0));
}

#[test]
fn exit_fails_the_call() {
    let guest = Guest {
        roles: &[("saga", "quitting")],
        interfaces: &["wasi:cli/exit"],
        imports: r#"(import "wasi:cli/exit@0.2.3" "exit" (func $exit (param i32)))"#,
        handle: "(call $exit (i32.const 1))",
    };
    fails(
        &*guest.handler(),
        "the plugin was stopped: it called exit with the status 1 instead of returning",
    );
}

#[test]
fn what_an_earlier_call_survived_is_not_blamed_for_a_later_failure() {
    let guest = Guest {
        handle: "
            (if (i32.eq (global.get $calls) (i32.const 1))
                (then (drop (memory.grow (i32.const 60000)))) (else unreachable))",
        ..PLAIN
    };
    let handler = guest.handler();
    sent(&*handler, 0);
    fails(
        &*handler,
        "the plugin was stopped: it trapped: wasm trap: wasm `unreachable` instruction executed",
    );
}

#[test]
fn where_a_call_was_stopped_is_in_the_log_and_not_in_the_reason() {
    let guest = Guest {
        imports: "(func $astray (drop (i32.load (i32.const -8))))",
        handle: "(call $astray)",
        ..PLAIN
    };
    let sandbox = Sandbox::new(Settings::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plain.wasm"), guest.component()).unwrap();
    let handler = only(load_directory(folder.path(), &sandbox, &HashMap::new()).unwrap());
    fails(
        &*handler,
        "the plugin was stopped: it trapped: wasm trap: out of bounds memory access: a pointer \
         leads nowhere, or functions call each other too deeply",
    );
    let lines = sandbox.lines().of("plain");
    assert_eq!(lines[0].text, "it was in astray");
    assert_eq!(lines[0].event.as_deref(), Some("1"));
}

#[test]
fn a_host_without_room_for_an_instance_lets_the_call_be_tried_again() {
    // More than the pool has.
    const INSTANCES: usize = 1_001;
    let component = PLAIN.component();
    let sandbox = Sandbox::new(Settings::default()).unwrap();
    let engine = &sandbox.engine;
    let compiled = wasmtime::component::Component::new(engine, &component).unwrap();
    let linker = wasmtime::component::Linker::<()>::new(engine);
    let mut taken: Vec<_> = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plain.wasm"), &component).unwrap();
    let handler = only(load_directory(folder.path(), &sandbox, &HashMap::new()).unwrap());
    while taken.len() < INSTANCES {
        let mut store = wasmtime::Store::new(engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        if linker.instantiate(&mut store, &compiled).is_err() {
            break;
        }
        taken.push(store);
    }
    // On a machine that cannot reserve a pool this does not happen.
    if taken.len() < INSTANCES {
        let failure = handler.handle(&call(0)).unwrap_err();
        assert!(
            matches!(&failure, Failure::Transient(reason) if reason.contains("no room")),
            "{failure:?}"
        );
        taken.clear();
    }
    sent(&*handler, 0);
}

#[test]
fn a_component_is_loaded_whole_or_not_at_all() {
    let two = |name| Guest { roles: &[("saga", "two"), ("reactor", name)], ..PLAIN }.component();
    let files = [("a.wasm", PLAIN.component()), ("b.wasm", two("plain")), ("c.wasm", two("two"))];
    let loading = load(&files, Settings::default());
    let names: Vec<_> =
        loading.loaded.iter().map(|plugin| plugin.handler.manifest().name.to_string()).collect();
    assert_eq!(names, ["plain"]);
    let reasons: Vec<_> = loading.refused.iter().map(|refused| refused.reason.as_str()).collect();
    assert!(reasons[0].starts_with("its name `plain` (as reactor) is taken by "), "{reasons:?}");
    assert_eq!(reasons[1], "two of its roles have the name `two`; each needs its own");
}

#[test]
fn a_core_module_of_preview_1_is_a_plugin() {
    let guest = Guest {
        roles: &[("saga", "old")],
        interfaces: &[],
        imports: r#"
            (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#,
        handle: "
            (drop (call $time (i32.const 0) (i64.const 0) (i32.const 1000)))
            (drop (call $random (i32.const 1008) (i32.const 12)))
            (i32.store (i32.const 1024) (i32.const -1))
            (drop (call $sizes (i32.const 1024) (i32.const 1028)))
            (i32.store (i32.const 1200) (i32.const 3000))
            (i32.store (i32.const 1204) (i32.const 5))
            (drop (call $write (i32.const 1) (i32.const 1200) (i32.const 1) (i32.const 1032)))",
    };
    // The file that a compiler wrote, without any further tool.
    let handler = only(load(&[("old.wasm", guest.module())], Settings::default()));
    let first = sent(&*handler, 7);
    assert_eq!((first[0], first[3], first[4]), (NOW * 1_000_000, 0, 5));
    assert_ne!(first[1], 0);
    assert_eq!(sent(&*handler, 7), first, "the same call again");
    let strict = Settings { strict: true, ..Settings::default() };
    assert!(refused(&[("old.wasm", guest.module())], strict)[0].contains("which `strict` forbids"));
}

#[test]
fn what_a_module_of_preview_1_prints_in_parts_is_one_line() {
    let write = |address: usize, bytes: usize| {
        format!(
            "(i32.store (i32.const 1200) (i32.const {address}))
             (i32.store (i32.const 1204) (i32.const {bytes}))
             (drop (call $write (i32.const 1) (i32.const 1200) (i32.const 1) (i32.const 1032)))"
        )
    };
    // `happened`, and a character of three bytes, cut in two.
    let parts = [write(3006, 5), write(3011, 3), write(1300, 1), write(1301, 2)].concat();
    let guest = Guest {
        roles: &[("saga", "printing")],
        interfaces: &[],
        imports: r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#,
        handle: &format!("(i32.store (i32.const 1300) (i32.const 0xac82e2)) {parts} unreachable"),
    };
    // It imports nothing of WASI.
    let strict = Settings { strict: true, ..Settings::default() };
    fails(
        &*only(load(&[("a.wasm", guest.module())], strict)),
        "the plugin was stopped: it trapped: wasm trap: wasm `unreachable` instruction executed; \
         it wrote: happened\u{20ac}",
    );
}

#[test]
fn a_plugin_that_traps_in_describe_is_reported_with_what_it_wrote_and_where_it_was() {
    let guest = Guest {
        imports: r#"(import "sagabox:plugin/logging@0.1.0" "log" (func $log (param i32 i32 i32)))"#,
        ..PLAIN
    };
    let does = "(call $log (i32.const 4) (i32.const 3006) (i32.const 8))
                (call $log (i32.const 1) (i32.const 3000) (i32.const 5)) unreachable";
    let component = core_module::componentize(&guest.module_that_first(does)).unwrap();
    let loading = load(&[("a.wasm", component)], Settings::default());
    let refused = &loading.refused[0];
    let reason = "the plugin was stopped: it trapped: wasm trap: wasm `unreachable` instruction \
                  executed";
    assert_eq!(refused.reason, reason);
    let expected = ["it wrote: happened", "it wrote: 1.0.0", "at says_who_it_is_0"];
    assert_eq!(refused.details[..3], expected, "{:?}", refused.details);
    let expected = format!("{reason}\n    it wrote: happened\n    it wrote: 1.0.0\n    at says");
    assert!(refused.to_string().starts_with(&expected), "{refused}");
}

#[test]
fn the_configuration_must_match_the_schema_that_the_plugin_has_for_it() {
    let schema = r#"{"properties":{"seconds":{"type":"integer"}},"additionalProperties":false}"#;
    // A configuration schema, and nothing else.
    let texts = schema.replace('"', "\\22");
    let component = PLAIN.described(&texts, [0, 0, 1, 6000, schema.len(), 0, 0, 0, 0, 0]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.wasm"), component).unwrap();
    let sandbox = Sandbox::new(Settings::default()).unwrap();
    let load = |section: &str| {
        let sections = HashMap::from([("plain".to_owned(), section.to_owned())]);
        load_directory(folder.path(), &sandbox, &sections).unwrap()
    };
    let manifest = only(load(r#"{"seconds": 5}"#)).manifest().clone();
    assert!(manifest.optional.configuration_schema.is_some(), "{manifest:?}");
    let refused = load(r#"{"secs": 5}"#).refused.remove(0).reason;
    let expected = "the section [plugin.plain] of the configuration does not fit it: unknown member \
                    `secs`; it reads seconds";
    assert_eq!(refused, expected);
}

#[test]
fn an_optional_part_that_is_wrong_refuses_the_plugin_with_the_place() {
    let reason = |texts: &str, optional| {
        refused(&[("a.wasm", PLAIN.described(texts, optional))], Settings::default()).remove(0)
    };
    let words = |address: usize, words: &[usize]| -> String {
        let bytes = words.iter().flat_map(|value| word(*value));
        let text: String = bytes.map(|byte| format!("\\{byte:02x}")).collect();
        format!("\") (data (i32.const {address}) \"{text}")
    };
    // One schema, whose type and text are at 6,000.
    let schema = |text: &str, schema: &str| {
        let record = words(6500, &[6000, text.len(), 6000 + text.len(), schema.len()]);
        format!("{text}{}{}", schema.replace('"', "\\22"), record)
    };
    let one_schema = [6500, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let found = reason(&schema("Do", "{"), one_schema);
    assert!(found.starts_with("its manifest: schemas: that of `Do` is no JSON: "), "{found}");
    let found = reason(&schema("Done", "{}"), one_schema);
    assert!(found.contains("neither takes, sends nor emits `Done`"), "{found}");
    let found = reason(&schema("happened", r#"{"type":7}"#), one_schema);
    assert!(found.contains("schemas: that of `happened` is no JSON Schema: at `/type`"), "{found}");
    // A summary, of a saga.
    let found = reason("no fields", [0, 0, 0, 0, 0, 0, 0, 1, 6000, 9]);
    assert!(found.contains("a saga has no state"), "{found}");
}

#[test]
fn what_a_call_wrote_last_is_part_of_the_reason_why_it_failed() {
    let guest = Guest {
        imports: r#"(import "sagabox:plugin/logging@0.1.0" "log" (func $log (param i32 i32 i32)))"#,
        handle: "(call $log (i32.const 4) (i32.const 3006) (i32.const 8)) unreachable",
        ..PLAIN
    };
    fails(
        &*guest.handler(),
        "the plugin was stopped: it trapped: wasm trap: wasm `unreachable` instruction executed; \
         it wrote: happened",
    );
    let (failed, log) = guest.handler().handle_with_log(&call(0));
    assert!(failed.is_err());
    assert_eq!(log, "error happened");
}

#[test]
fn a_call_has_its_own_log_alone_on_an_instance_that_is_used_again() {
    let guest = Guest {
        imports: r#"(import "sagabox:plugin/logging@0.1.0" "log" (func $log (param i32 i32 i32)))"#,
        handle: "(call $log (i32.const 2) (i32.const 3006) (i32.const 8))",
        ..PLAIN
    };
    let handler = guest.handler();
    for _ in 0..3 {
        let (decided, log) = handler.handle_with_log(&call(0));
        assert!(decided.is_ok(), "{decided:?}");
        assert_eq!(log, "info happened");
    }
}
