//! The engine of Sagabox: log, dispatch, commit, outbox and timers. It knows neither SQL, nor
//! wasm, nor HTTP: those are behind the seams [`seams::store::Store`],
//! [`seams::handler::Handler`], [`seams::lookup::Lookup`] and [`seams::transport::Transport`].

#![deny(missing_docs)]

mod changes;
pub mod engine;
pub mod model;
#[cfg(test)]
mod properties;
pub mod pure;
pub mod seams;
#[cfg(any(test, feature = "simulation"))]
pub mod sim;
mod stages;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use changes::readiness::Readiness;
use model::Timestamp;
use pure::routes::Routes;

/// The wall clock, which the host hands in. It gives dates: due times, deadlines of holds,
/// retention, and what people read. It may be set at any time, so no wait uses it; see
/// `pure/monotonic.rs`.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Locks, also if a thread has panicked that held the lock: no lock here guards a change of several
/// steps that a panic could leave half done. A panic of a stage ends the epoch, and everything
/// begins again from the store; one of a handler fails its call alone.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on a condition, by the same policy as [`lock`].
pub(crate) fn wait<'l, T>(condition: &Condvar, guard: MutexGuard<'l, T>) -> MutexGuard<'l, T> {
    condition.wait(guard).unwrap_or_else(PoisonError::into_inner)
}
