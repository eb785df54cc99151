//! How decisions and payloads are displayed and compared. Pure.

pub(crate) mod json;
