//! The engine of Sagabox. Knows neither SQL, nor wasm, nor HTTP: those stand
//! behind the seams [`store::Store`], [`handler::Handler`], [`lookup::Lookup`]
//! and [`transport::Transport`].

mod age;
mod asking;
mod backlog;
mod breaker;
mod canary;
mod commit;
mod comparison;
mod compensation;
pub mod correlate;
mod deferred;
mod detached;
mod dispatch;
pub mod engine;
mod fates;
pub mod filter;
pub mod handler;
mod hash;
pub mod housekeeping;
pub mod identity;
pub mod json;
mod lanes;
pub mod lookup;
pub mod model;
mod monotonic;
mod outbox;
mod outlet;
mod parking;
mod plugins;
pub mod pointer;
mod queue;
mod readers;
mod receipt;
mod rejection;
mod relay;
mod requests;
mod resolve;
pub mod retry;
mod roster;
mod routes;
mod serving;
mod shard;
#[cfg(any(test, feature = "simulation"))]
pub mod sim;
mod sinks;
pub mod store;
mod tail;
mod timer_index;
mod timers;
pub mod transport;
mod units;
mod waits;
mod watermark;

use std::sync::Arc;

use model::Timestamp;
use routes::Routes;
use serving::Serving;

/// The wall clock, handed in: it tells dates (due times, hold deadlines, retention, what
/// people read). It may be set at any time, so nothing waits by it; see [`monotonic`].
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
