//! Where the engine's state lives. The only module that knows SQL.

pub mod admin;
pub mod backup;
mod dead_letters;
mod expire;
mod files;
pub mod history;
mod inbox;
pub mod lists;
pub mod live;
mod open;
mod recover;
mod rows;
mod seen;
mod serving;
mod sqlite;
mod tables;
#[cfg(test)]
mod tests;
mod trouble;
mod writer;

pub use open::OpenError;
pub use sqlite::SqliteStore;
