//! What the compiler says of wrong uses that only it can find. Those that the macros find
//! themselves are tested in `macros`.
//!
//! Each file in `cases` is a program that must not compile. The texts after `//~` at its beginning
//! must be in the compiler's errors. Not more is compared: the rest differs between versions of the
//! compiler, and with the source of the standard library.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[test]
fn wrong_uses_do_not_compile_and_say_what_is_right() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = cases(&sdk.join("tests/wrong_uses/cases"));
    let errors = compile(sdk, &cases);
    for (name, path) in &cases {
        let text = fs::read_to_string(path).unwrap();
        let expected: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("//~ ")).collect();
        assert!(!expected.is_empty(), "{name} expects nothing");
        let found = errors.get(name).unwrap_or_else(|| panic!("{name} compiles"));
        for part in expected {
            assert!(found.contains(part), "{name}: `{part}` is not in\n{found}");
        }
    }
}

/// The programs by name.
fn cases(folder: &Path) -> BTreeMap<String, PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = paths.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path));
    let cases: BTreeMap<String, PathBuf> = named.collect();
    assert!(!cases.is_empty());
    cases
}

/// Compiles each as a program of one package. Returns the errors of each as the compiler displays
/// them.
fn compile(sdk: &Path, cases: &BTreeMap<String, PathBuf>) -> BTreeMap<String, String> {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wrong-uses");
    fs::create_dir_all(&package).unwrap();
    // A string of JSON is one of TOML.
    let quoted = |path: &Path| Value::from(path.to_str().unwrap()).to_string();
    let mut manifest = format!(
        "[package]\nname = \"wrong-uses\"\nedition = \"2024\"\npublish = false\n\n\
         [dependencies]\nsagabox-sdk = {{ path = {} }}\n\n[workspace]\n",
        quoted(sdk)
    );
    for (name, path) in cases {
        write!(manifest, "\n[[bin]]\nname = {name:?}\npath = {}\n", quoted(path)).unwrap();
    }
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // The same dependencies as everywhere, which are here already.
    fs::copy(sdk.join("../../Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["check", "--bins", "--keep-going", "--offline", "--message-format=json"]);
    cargo.arg("--target-dir").arg(package.join("target")).current_dir(&package);
    let output = cargo.output().unwrap();
    let mut errors: BTreeMap<String, String> = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).unwrap();
        let is_error = line["reason"] == "compiler-message" && line["message"]["level"] == "error";
        if let (true, Some(name)) = (is_error, line["target"]["name"].as_str()) {
            let rendered = line["message"]["rendered"].as_str().unwrap_or_default();
            errors.entry(name.to_owned()).or_default().push_str(rendered);
        }
    }
    let other = errors.keys().find(|name| !cases.contains_key(*name));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.is_empty() && other.is_none(), "{other:?}: {errors:?}\n{said}");
    errors
}
