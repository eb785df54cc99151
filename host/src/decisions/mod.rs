//! How decisions and payloads are displayed and compared. Pure.

pub(crate) mod digest;
pub(crate) mod json;
pub(crate) mod kinds;
pub(crate) mod recorded;
pub(crate) mod shown;
