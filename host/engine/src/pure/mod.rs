//! Rules without I/O: they read no store, start no task and receive the time as an argument. The
//! same input gives the same answer. They know the vocabulary ([`crate::model`]) and each other.

pub(crate) mod age;
pub(crate) mod breaker;
pub mod correlate;
pub(crate) mod dead_letters;
pub mod fields;
pub mod filter;
pub(crate) mod gate;
pub(crate) mod hash;
pub mod histogram;
pub mod identity;
pub(crate) mod lanes;
pub(crate) mod lease_outcomes;
pub(crate) mod monotonic;
pub(crate) mod pace;
pub(crate) mod parking;
pub mod pointer;
pub mod retry;
pub(crate) mod routes;
pub(crate) mod waits;
pub(crate) mod watermark;
