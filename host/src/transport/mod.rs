//! The ways out, one file each.

mod file;
mod http;

pub use file::{FileTransport, StdoutTransport};
pub use http::{HttpOptions, HttpTransport};
pub(crate) use http::{causes, is_transient, retry_after};
