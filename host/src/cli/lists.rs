//! The commands that ask a running host and print what it says.

use clap::Args;

use super::{HostArgs, output};
use crate::client::Answer;
use crate::json::{Difference, Json};

#[derive(Debug, Args)]
pub struct Plugins {
    #[command(flatten)]
    host: HostArgs,
}

impl Plugins {
    pub async fn execute(self) -> anyhow::Result<()> {
        let Answer(answer) = self.host.client()?.get("/plugins", &[]).await?;
        if self.host.json {
            output::json(&answer);
            return Ok(());
        }
        let columns = ["name", "version", "role", "since_at", "file", "preflight"];
        print(&answer, "plugins", &columns, false);
        candidates(&answer);
        for (member, columns) in [
            ("refused", ["file", "refused_at", "reason"]),
            ("checking", ["file", "migrated", "failed"]),
        ] {
            let rows = answer[member].as_array().map(Vec::as_slice).unwrap_or_default();
            if !rows.is_empty() {
                let heading = member.to_uppercase();
                output::line(&format!("\n{heading}\n{}", output::table(&columns, rows)));
            }
        }
        Ok(())
    }
}

/// Those that are tried, how they do, and where their decisions differ.
fn candidates(answer: &Json) {
    let rows = answer["candidates"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return;
    }
    let columns = [
        "plugin",
        "version",
        "kind",
        "status",
        "share",
        "calls",
        "failed",
        "differing",
        "skipped",
        "file",
    ];
    output::line(&format!("\nCANDIDATES\n{}", output::table(&columns, rows)));
    for row in rows {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let who = format!("{} {}", text("plugin"), text("version"));
        if let Some(reason) = row["withdrawn"]["reason"].as_str() {
            output::line(&format!("{who} was withdrawn: {reason}"));
        }
        for differing in row["differences"].as_array().into_iter().flatten() {
            let (key, event_type) = (&differing["key"], &differing["event_type"]);
            let shown = differing["differences"].as_array().into_iter().flatten();
            let shown = shown.filter_map(Difference::read);
            let shown: Vec<String> = shown.map(|difference| difference.to_string()).collect();
            output::line(&format!(
                "{who} decides `{}` of `{}` otherwise: {}",
                event_type.as_str().unwrap_or_default(),
                key.as_str().unwrap_or_default(),
                shown.join("; ")
            ));
        }
    }
}

#[derive(Debug, Args)]
pub struct Instances {
    plugin: String,
    /// Only those: running, completed or ended
    #[arg(long)]
    status: Option<String>,
    /// Those after this key
    #[arg(long)]
    after: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    host: HostArgs,
}

impl Instances {
    pub async fn execute(self) -> anyhow::Result<()> {
        let limit = self.limit.to_string();
        let mut query = page(self.status.as_deref(), self.after.as_deref(), &limit);
        query.push(("plugin", &self.plugin));
        let Answer(answer) = self.host.client()?.get("/instances", &query).await?;
        let columns = ["key", "status", "version", "started_at", "updated_at"];
        print(&answer, "instances", &columns, self.host.json);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Show {
    plugin: String,
    /// The instance's key
    key: String,
    #[command(flatten)]
    host: HostArgs,
}

impl Show {
    pub async fn execute(self) -> anyhow::Result<()> {
        let query = [("plugin", self.plugin.as_str()), ("key", self.key.as_str())];
        let Answer(answer) = self.host.client()?.get("/instance", &query).await?;
        if self.host.json {
            output::json(&answer);
            return Ok(());
        }
        for (name, value) in answer.as_object().into_iter().flatten() {
            if name != "history" {
                let text = match value {
                    Json::Object(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
                    other => output::cell(name, Some(other)),
                };
                output::line(&format!("{}: {text}", name.replace('_', " ")));
            }
        }
        output::line("decisions, newest first:");
        let columns = ["position", "decided_at", "plugin_version", "attempt", "event", "summary"];
        print(&answer, "history", &columns, false);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct DeadLetters {
    /// Only those: open, redriving, redriven, skipped or discarded
    #[arg(long)]
    status: Option<String>,
    /// Only those of this plugin
    #[arg(long)]
    plugin: Option<String>,
    /// Those after this id
    #[arg(long)]
    after: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    host: HostArgs,
}

impl DeadLetters {
    pub async fn execute(self) -> anyhow::Result<()> {
        let limit = self.limit.to_string();
        let mut query = page(self.status.as_deref(), self.after.as_deref(), &limit);
        query.extend(self.plugin.as_deref().map(|plugin| ("plugin", plugin)));
        let Answer(answer) = self.host.client()?.get("/dead-letters", &query).await?;
        let columns = ["id", "status", "plugin", "key", "position", "attempts", "reason"];
        print(&answer, "dead_letters", &columns, self.host.json);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Accounts {
    #[command(flatten)]
    host: HostArgs,
}

impl Accounts {
    pub async fn execute(self) -> anyhow::Result<()> {
        let Answer(answer) = self.host.client()?.get("/accounts", &[]).await?;
        if self.host.json {
            output::json(&answer);
        } else {
            output::line(&accounts(&answer));
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Queues {
    #[command(flatten)]
    host: HostArgs,
}

impl Queues {
    pub async fn execute(self) -> anyhow::Result<()> {
        let Answer(answer) = self.host.client()?.get("/queues", &[]).await?;
        print(&answer, "queues", &["queue", "ready", "leased"], self.host.json);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Sinks {
    #[command(flatten)]
    host: HostArgs,
}

impl Sinks {
    pub async fn execute(self) -> anyhow::Result<()> {
        let Answer(answer) = self.host.client()?.get("/sinks", &[]).await?;
        let columns = ["sink", "since", "next_attempt_at", "reason"];
        print(&answer, "sinks_down", &columns, self.host.json);
        Ok(())
    }
}

/// A table for each list of the accounts, and the single figures before them.
pub fn accounts(accounts: &Json) -> String {
    let mut parts = Vec::new();
    for (name, value) in accounts.as_object().into_iter().flatten() {
        match value {
            Json::Array(rows) if rows.is_empty() => {}
            Json::Array(rows) => {
                let columns: Vec<_> = rows[0].as_object().into_iter().flatten().collect();
                let columns: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
                parts.push(format!("\n{}\n{}", name.to_uppercase(), output::table(&columns, rows)));
            }
            Json::Number(number) => {
                let figure = number.as_u64().map_or(number.to_string(), output::grouped);
                parts.push(format!("{}: {figure}", name.replace('_', " ")));
            }
            other => parts.push(format!("{}: {other}", name.replace('_', " "))),
        }
    }
    parts.join("\n")
}

fn page<'a>(
    status: Option<&'a str>,
    after: Option<&'a str>,
    limit: &'a str,
) -> Vec<(&'static str, &'a str)> {
    let given = [("status", status), ("after", after), ("limit", Some(limit))];
    given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn print(answer: &Json, member: &str, columns: &[&str], json: bool) {
    if json {
        return output::json(answer);
    }
    let rows = answer[member].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        output::line(&format!("no {}", member.replace('_', " ")));
    } else {
        output::line(&output::table(columns, rows));
    }
}
