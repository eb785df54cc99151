//! The engine of Sagabox. Knows neither SQL, nor wasm, nor HTTP: those stand
//! behind the seams [`seams::store::Store`], [`seams::handler::Handler`],
//! [`seams::lookup::Lookup`] and [`seams::transport::Transport`].

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

/// The wall clock, handed in: it tells dates (due times, hold deadlines, retention, what
/// people read). It may be set at any time, so nothing waits by it; see `pure/monotonic.rs`.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
