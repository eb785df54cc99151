//! `sagabox audit`: who did what on a host, and what was refused.

use clap::Args;
use serde_json::value::RawValue;

use super::output;
use super::pages::{List, Paging};
use super::{HostArgs, InputError};
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
                query.push((name, time.0.to_string()));
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
        let mut after = "0".to_owned();
        loop {
            let mut given: Vec<(&str, &str)> =
                query.iter().map(|(name, value)| (*name, value.as_str())).collect();
            given.extend([("limit", PAGE), ("after", after.as_str())]);
            let page: Page = client.get("/audit", &given).await?;
            page.entries.iter().for_each(|entry| output::json_line(entry.get()));
            let Some(next) = page.next else { return Ok(()) };
            after = next.to_string();
        }
    }
}

#[derive(serde::Deserialize)]
struct Page {
    entries: Vec<Box<RawValue>>,
    next: Option<u64>,
}
