//! Plugins examined without a host: checked, played, simulated, tried on history, and compared with
//! what is on record.

pub mod backtest;
pub mod check;
pub mod event_log;
pub mod replay;
pub mod scenario;
pub mod schema;
pub mod simulation;
pub mod types;
mod written;
