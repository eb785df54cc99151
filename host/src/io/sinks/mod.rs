//! The transports of sinks, one file each.

mod client;
mod file;
mod http;
mod status;

pub use client::OwnHeaders;
pub(crate) use client::{causes, client, is_transient};
pub(crate) use file::line;
pub use file::{FileId, FileTransport, StdoutTransport};
pub(crate) use http::retry_after;
pub use http::{HttpOptions, HttpTransport};
pub use status::{Meaning, StatusRules};
