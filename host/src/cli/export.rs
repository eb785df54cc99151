//! `sagabox export`: writes the instances of a plugin for other programs, one JSON object a line.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ages::Ages;
use super::host_args::HostArgs;

/// As many as a page has at most.
const PAGE: &str = "1000";

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Name of the plugin
    plugin: String,
    /// Select by status: running, completed or ended
    #[arg(long)]
    status: Option<String>,
    /// Select by the plugin's fields, as in 'paid < total and due < "2026-01-01"'
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    #[command(flatten)]
    ages: Ages,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Deserialize)]
struct Page {
    instances: Vec<Box<RawValue>>,
    next: Option<String>,
}

impl Export {
    /// Page by page, so that neither side has more than one in memory.
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let client = self.host.client()?;
        let mut after: Option<String> = None;
        loop {
            let mut query = vec![("plugin", self.plugin.as_str()), ("limit", PAGE)];
            query.extend(self.status.as_deref().map(|status| ("status", status)));
            query.extend(self.condition.as_deref().map(|condition| ("where", condition)));
            query.extend(self.ages.given());
            query.extend(after.as_deref().map(|after| ("after", after)));
            let text = client.text("/instances/export", &query).await?;
            let page: Page =
                serde_json::from_str(&text).context("the host's response is not a page")?;
            let mut out = std::io::stdout().lock();
            for instance in &page.instances {
                match writeln!(out, "{}", instance.get()) {
                    Ok(()) => {}
                    // The reader has what it wanted.
                    Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                    Err(error) => return Err(error).context("write to standard output"),
                }
            }
            drop(out);
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}
