//! The ways in and out: files, events as others write them, lookups, sinks, and how figures,
//! dates and texts are written for people.

pub mod cloudevents;
pub(crate) mod durations;
pub(crate) mod figures;
pub(crate) mod files;
pub mod lookup;
pub(crate) mod printable;
pub mod secrets;
pub mod sinks;
