//! The engine of Sagabox: log, dispatch, commit, outbox and timers. It knows neither SQL, nor
//! wasm, nor HTTP: those are behind the seams [`seams::store::Store`],
//! [`seams::handler::Handler`], [`seams::lookup::Lookup`] and [`seams::transport::Transport`].

#![deny(missing_docs)]

mod changes;
pub mod engine;
pub mod model;
pub mod pure;
pub mod seams;
#[cfg(any(test, feature = "simulation"))]
pub mod sim;
mod stages;

use std::sync::Arc;

use changes::readiness::Readiness;
use model::Timestamp;
use pure::routes::Routes;

/// The wall clock, which the host hands in. It gives dates: due times, deadlines of holds,
/// retention, and what people read. It may be set at any time, so no wait uses it; see
/// `pure/monotonic.rs`.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
