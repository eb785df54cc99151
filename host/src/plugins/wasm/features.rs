//! Says which extensions of WebAssembly an invalid component uses that this host does not run, in
//! the words of the toolchains.
//!
//! A validator with all extensions shows it: if the file is valid with all of them, and not without
//! one, then it uses that one. The texts of errors are not used, because they change.

use wasmparser::{Validator, WasmFeatures};

/// The extensions that the host does not run, and what their users can do.
const UNSUPPORTED: [(WasmFeatures, &str); 4] = [
    (
        WasmFeatures::CM_ASYNC,
        "it has asynchronous functions, and a host calls synchronous ones alone: build it with \
         `--sync` (componentize-qjs), or with functions that are not `async`",
    ),
    (
        WasmFeatures::EXCEPTIONS,
        "it uses exceptions of WebAssembly, which this host does not run: build it without them \
         (C++: `-fno-exceptions`)",
    ),
    (
        WasmFeatures::GC,
        "it uses garbage-collected WebAssembly, which this host does not run: use a toolchain \
         that compiles to linear memory; Kotlin, Dart and Java do not",
    ),
    (
        WasmFeatures::THREADS,
        "it uses threads or shared memory, which this host does not run: build it without \
         `-pthread`",
    ),
];

/// The extensions that make the component invalid; empty if there is another cause.
pub(super) fn unsupported(component: &[u8]) -> Vec<&'static str> {
    let is_valid =
        |features| Validator::new_with_features(features).validate_all(component).is_ok();
    let all = WasmFeatures::all();
    if !is_valid(all) {
        return Vec::new();
    }
    let used = UNSUPPORTED.iter().filter(|(feature, _)| !is_valid(all.difference(*feature)));
    used.map(|(_, words)| *words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(component: &str, expected: &[&str]) {
        let bytes = wat::parse_str(component).unwrap();
        let found = unsupported(&bytes);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, part) in found.iter().zip(expected) {
            assert!(found.contains(part), "{found}");
        }
    }

    #[test]
    fn an_extension_that_the_host_does_not_run_is_named() {
        check("(component (core module (tag) (func (throw 0))))", &["uses exceptions"]);
        check("(component (core module (type (struct (field i32)))))", &["garbage-collected"]);
        check("(component (core module (memory 1 1 shared)))", &["threads"]);
        check(
            r#"(component
                (core module $m
                    (func (export "f") (result i32) unreachable)
                    (func (export "cb") (param i32 i32 i32) (result i32) unreachable))
                (core instance $i (instantiate $m))
                (func (export "f") async
                    (canon lift (core func $i "f") async (callback (core func $i "cb")))))"#,
            &["`--sync`"],
        );
    }

    #[test]
    fn what_is_wrong_otherwise_is_not_explained() {
        check("(component (core module (func (memory.size) drop)))", &[]);
        check("(component (core module (func)))", &[]);
    }
}
