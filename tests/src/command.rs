//! The real binary as a command that ends: what it said, and how it ended.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::paths;

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub output: String,
    pub error: String,
}

impl Ended {
    /// # Panics
    /// If it ended otherwise, with all that it said.
    #[track_caller]
    #[must_use]
    pub fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "it said:\n{}\n{}", self.output, self.error);
        self
    }

    /// # Panics
    /// If the text is in nothing that it said.
    #[track_caller]
    #[must_use]
    pub fn saying(self, text: &str) -> Self {
        let said = self.output.contains(text) || self.error.contains(text);
        assert!(said, "`{text}` is not in:\n{}\n{}", self.output, self.error);
        self
    }

    /// # Panics
    /// If its output is no JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.output)
            .unwrap_or_else(|error| panic!("{error}:\n{}\n{}", self.output, self.error))
    }
}

/// Runs the binary in a folder, without the environment's settings; its logins at
/// registries are those in `.docker` there.
///
/// # Panics
/// If it cannot be run, or is ended by a signal.
#[must_use]
pub fn sagabox(folder: &Path, arguments: &[&str]) -> Ended {
    sagabox_with(folder, arguments, &[])
}

/// The same, with variables in its environment.
///
/// # Panics
/// If it cannot be run, or is ended by a signal.
#[must_use]
pub fn sagabox_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let output = Command::new(paths::binary())
        .args(arguments)
        .current_dir(folder)
        .env_remove("SAGABOX_CONFIG")
        .env_remove("SAGABOX_STORE")
        .env_remove("SAGABOX_STRICT")
        .env_remove("SAGABOX_TOKEN")
        .env_remove("SAGABOX_TOKEN_FILE")
        .env_remove("SAGABOX_LOCAL_WITHOUT_TOKEN")
        .env_remove("REGISTRY_AUTH_FILE")
        .env_remove("XDG_RUNTIME_DIR")
        .env("SAGABOX_CACHE", paths::cache())
        .env("DOCKER_CONFIG", folder.join(".docker"))
        .envs(variables.iter().copied())
        .output()
        .expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        code: output.status.code().expect("no signal ended it"),
        output: text(&output.stdout),
        error: text(&output.stderr),
    }
}
