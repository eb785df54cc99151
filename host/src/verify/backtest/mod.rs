//! Backtests: plugins tried on a log of what really happened.
//!
//! The engine is the host's own, with the store in memory and virtual time
//! (`sagabox_engine::sim`). Each event arrives at its own time, so timers, holds and retries happen
//! between the events when they would have happened. Nothing fails that did not fail in the log:
//! that is the part of `simulation`, with which this shares the outside.
//!
//! Knows no HTTP and no wall clock.

mod compare;
mod expect;
mod findings;
mod lateness;
mod matching;
mod outside;
mod report;
mod rows;
mod run;

pub use compare::{Group, compare};
pub use expect::{Expectation, Mismatch, check, read_expectations};
pub use findings::Findings;
pub use lateness::Lateness;
pub use outside::Outside;
pub use report::{Arrived, summary, text};
pub use rows::rows;
pub use run::{Backtest, BacktestError};
