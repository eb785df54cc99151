//! Whether the engine accepts events, and if not, why. The committer and the supervisor write it,
//! and `Engine::offer` and `/readyz` read it.

use std::sync::{Mutex, PoisonError};

pub struct Readiness(Mutex<Result<(), String>>);

impl Readiness {
    pub fn new() -> Self {
        Self(Mutex::new(Ok(())))
    }

    pub fn set(&self, ready: Result<(), String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ready;
    }

    pub fn get(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
