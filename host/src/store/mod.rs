//! Where the engine's state lives. The only module that knows SQL.

pub mod admin;
mod insert;
mod letters;
mod live;
mod open;
mod rows;
mod sqlite;
#[cfg(test)]
mod tests;

pub use open::OpenError;
pub use sqlite::SqliteStore;
