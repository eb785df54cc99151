//! The ways out, one file each, and how each is opened.

mod client;
mod file;
mod http;
mod status;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::HeaderName;
use sagabox_engine::model::SinkName;
use sagabox_engine::seams::transport::{Order, Sink, Transport};

pub use client::OwnHeaders;
pub(crate) use client::{causes, client, is_transient};
pub(crate) use file::line;
pub use file::{FileId, FileTransport, StdoutTransport};
pub(crate) use http::retry_after;
pub use http::{HttpOptions, HttpTransport};
pub use status::{Meaning, StatusRules};

use super::files;
use super::secrets::{Given, Redactor, SecretUrl};

/// A sink as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    pub to: Destination,
    pub order: Order,
}

/// One variant for each kind of sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Http {
        url: Given,
        timeout: Duration,
        in_flight: usize,
        headers: Vec<(HeaderName, Given)>,
        status: StatusRules,
    },
    File(PathBuf),
    Stdout,
}

/// Opens all configured sinks. Secrets are read here.
///
/// # Errors
/// Says which sink cannot be opened, and why.
pub fn open(sinks: &BTreeMap<String, SinkSettings>) -> anyhow::Result<HashMap<SinkName, Sink>> {
    let mut taken = BTreeMap::new();
    let mut opened = HashMap::new();
    for (name, SinkSettings { to, order }) in sinks {
        let transport: Arc<dyn Transport> = match to {
            Destination::Http { url, timeout, in_flight, headers, status } => {
                let about = |what: &str| format!("set up sink.{name}{what}");
                let url = url.read().and_then(|text| SecretUrl::parse(text.expose()));
                let url = url.map_err(anyhow::Error::msg).with_context(|| about(".url"))?;
                let mut hidden = Redactor::default();
                hidden.hide_url(url.expose());
                let options = HttpOptions {
                    timeout: *timeout,
                    in_flight: *in_flight,
                    headers: OwnHeaders::read(headers.clone(), hidden)
                        .map_err(anyhow::Error::msg)
                        .with_context(|| about(""))?,
                    status: status.clone(),
                };
                Arc::new(HttpTransport::new(url, options).with_context(|| about(""))?)
            }
            Destination::File(path) => Arc::new(file_sink(name, path, &mut taken)?),
            Destination::Stdout => Arc::new(StdoutTransport),
        };
        opened.insert(SinkName::from(name.as_str()), Sink { transport, order: *order });
    }
    Ok(opened)
}

/// Each file has one writer: two would not know what of it is whose.
fn file_sink(
    name: &str,
    path: &Path,
    taken: &mut BTreeMap<FileId, String>,
) -> anyhow::Result<FileTransport> {
    // Before it is opened: to close a descriptor of the store gives up the store's locks.
    anyhow::ensure!(
        !files::is_of_store(path),
        "sink.{name}: {} is a file of the store; give another",
        path.display()
    );
    let check = |id: Option<FileId>, taken: &BTreeMap<FileId, String>| match id
        .and_then(|id| taken.get(&id))
    {
        None => Ok(()),
        Some(other) => Err(anyhow::anyhow!(
            "sink.{name}: {} is already the file of sink.{other}; configure another \
             file, or route its messages to the other sink",
            path.display()
        )),
    };
    check(FileId::of(path), taken)?;
    let opened = FileTransport::open(path);
    let opened = opened.with_context(|| format!("open {} for sink.{name}", path.display()))?;
    check(Some(opened.id()), taken)?;
    taken.insert(opened.id(), name.to_owned());
    Ok(opened)
}
