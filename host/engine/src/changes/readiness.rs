//! Whether the engine accepts events, and if not, why. The committer and the supervisor write it,
//! and `Engine::offer` and `/readyz` read it.

use std::sync::Mutex;

use crate::lock;

pub(crate) struct Readiness(Mutex<Result<(), String>>);

impl Readiness {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Ok(())))
    }

    pub(crate) fn set(&self, ready: Result<(), String>) {
        *lock(&self.0) = ready;
    }

    pub(crate) fn get(&self) -> Result<(), String> {
        lock(&self.0).clone()
    }
}
