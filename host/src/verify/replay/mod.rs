//! Replay: a candidate decides again what is on record, and what differs is reported.
//!
//! Each decision is replayed by itself, from its recorded inputs: the event, the state
//! that the decision before it left, the answers, time, attempt and seed. So one that
//! differs does not make all after it differ. Nothing is committed or sent: the store
//! is opened for reading only, in one snapshot, also while a host serves from it.
//!
//! What is not on record, and therefore not compared or replayed, is in `Skipped` and
//! in ARCHITECTURE.md.

mod run;
mod states;

pub use run::{Differing, Outcome, Selection, replay};
