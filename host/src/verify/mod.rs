//! Plugins examined without a host: judged, played, simulated, and compared with what is on
//! record.

pub mod check;
pub mod replay;
pub mod scenario;
pub mod simulation;
