//! `sagabox audit`: who did what on a host, and what was refused.

use clap::Args;
use serde_json::value::RawValue;

use super::host_args::HostArgs;
use super::input_error::InputError;
use super::output;
use super::pages::{List, Paging};
use crate::io::durations;

const PAGE: &str = "1000";

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Select by the name of the token; `local` without a token, `unknown` for refused requests
    #[arg(long)]
    who: Option<String>,
    /// Select by a part of the method and path, such as cancel
    #[arg(long)]
    action: Option<String>,
    /// Select entries from this time on, such as 2026-01-31T12:00:00Z
    #[arg(long)]
    since: Option<String>,
    /// Select entries from before this time
    #[arg(long)]
    until: Option<String>,
    /// Print all selected entries, one JSON object on each line
    #[arg(long, conflicts_with_all = ["limit", "after", "all", "json"])]
    ndjson: bool,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    host: HostArgs,
}

impl Audit {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let mut query = Vec::new();
        query.extend(self.who.clone().map(|who| ("who", who)));
        query.extend(self.action.clone().map(|action| ("action_contains", action)));
        for (name, time) in [("from", &self.since), ("to", &self.until)] {
            if let Some(text) = time {
                let time = durations::instant(text).map_err(InputError)?;
                query.push((name, time.to_rfc3339()));
            }
        }
        if self.ndjson {
            return self.export(&query).await;
        }
        let columns =
            &["id", "at", "who", "origin", "action", "status", "count", "target", "reason"];
        let list = List { path: "/audit", query, member: "entries", columns };
        self.paging.print(&list, &self.host, |_| {}).await
    }

    async fn export(&self, query: &[(&str, String)]) -> anyhow::Result<()> {
        let client = self.host.client()?;
        let mut after = None::<String>;
        loop {
            let mut given: Vec<(&str, &str)> =
                query.iter().map(|(name, value)| (*name, value.as_str())).collect();
            given.push(("limit", PAGE));
            given.extend(after.as_deref().map(|after| ("after", after)));
            let page: Page = client.get("/audit", &given).await?;
            page.entries.iter().for_each(|entry| output::json_line(entry.get()));
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Page {
    entries: Vec<Box<RawValue>>,
    next: Option<String>,
}
