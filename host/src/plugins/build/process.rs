//! Runs the tools of other languages. Their output becomes part of an error, and they get nothing
//! that a surrounding build has left in the environment.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::BuildError;

/// A command without what a surrounding cargo leaves in the environment.
pub(super) fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let inherited =
            name.starts_with("CARGO") && name != "CARGO_HOME" && name != "CARGO_NET_OFFLINE";
        if inherited
            || name.starts_with("RUSTC")
            || name == "RUSTFLAGS"
            || name == "RUSTUP_TOOLCHAIN"
        {
            command.env_remove(name.as_ref());
        }
    }
    command.stdin(Stdio::null());
    command
}

/// The output of a program; none if it is missing or fails.
pub(super) fn asked(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let output = clean(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// Runs a builder on the project in `source`.
pub(super) fn build(
    mut command: Command,
    program: &'static str,
    source: &Path,
) -> Result<(), BuildError> {
    let output = command.output().map_err(|error| BuildError::Io(source.into(), error))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            Err(BuildError::Failed { source_dir: source.into(), program, output: said(&output) })
        }
    }
}

/// Runs a package manager.
pub(super) fn fetch(
    mut command: Command,
    program: &'static str,
    what: &str,
) -> Result<(), BuildError> {
    let failed = |output: String| BuildError::NotFetched { what: what.to_owned(), program, output };
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed("the program is not found".to_owned()),
        _ => failed(error.to_string()),
    })?;
    if output.status.success() { Ok(()) } else { Err(failed(said(&output))) }
}

/// Tools print their errors to either output.
fn said(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part));
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("\n")
}
