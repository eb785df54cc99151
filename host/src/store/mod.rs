//! The engine's durable state. The only module that knows SQL.

mod answers;
pub mod backup;
mod cause;
mod components;
pub mod connect;
mod dead_letters;
mod decisions;
mod expire;
mod fields;
mod files;
mod id_spans;
mod inbox;
pub mod inspect;
mod migrations;
mod open;
pub mod query;
mod recover;
mod rows;
mod seen;
mod sqlite;
mod tables;
#[cfg(test)]
mod tests;
mod trouble;
mod writer;

pub use open::OpenError;
pub use sqlite::SqliteStore;
