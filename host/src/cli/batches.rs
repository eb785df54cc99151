//! `sagabox batch`: one action on many dead letters or instances. The commands that select by
//! filters make a batch, too, start it, and follow it to its end.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::ages::Ages;
use super::dead_letters::FilterArgs;
use super::host_args::HostArgs;
use super::output::{self, Row};
use super::pages::{List, Paging};
use crate::api::client::Client;
use crate::io::printable::printable;

/// Between two looks at a batch that is followed.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct Batch {
    #[command(subcommand)]
    command: BatchCommand,
}

#[derive(Debug, Subcommand)]
enum BatchCommand {
    /// Count what a batch would act on, and keep it as a draft
    Draft(Box<Draft>),
    /// Start a draft: the first item, then 5, then 50, then as many in a second as the rate says
    Start(Start),
    /// Pause a batch: it begins no item until it is resumed
    Pause(Halt),
    /// Let a paused batch go on
    Resume(Resume),
    /// End a batch; the items that it has not come to stay as they are
    Cancel(Halt),
    /// List the batches, the newest first
    List(Listing),
    /// Show a batch, with its progress
    Show(Show),
    /// List the items of a batch, with their outcomes
    Items(Items),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    Redrive,
    Skip,
    Discard,
    Cancel,
    End,
}

#[derive(Debug, Args)]
struct Draft {
    /// What the batch does
    #[arg(value_enum)]
    action: Action,
    #[command(flatten)]
    filter: FilterArgs,
    /// Select the instances whose fields fulfil this condition, such as `paid < total`
    #[arg(long = "where")]
    condition: Option<String>,
    #[command(flatten)]
    ages: Ages,
    /// Select all open dead letters, or all running instances of the plugin
    #[arg(long)]
    all: bool,
    /// Name of the operator, which the host records
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    #[command(flatten)]
    host: HostArgs,
}

/// How fast a batch works.
#[derive(Clone, Debug, Args)]
pub(crate) struct Pace {
    /// Items that begin in a second [default: 100]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: Option<u32>,
    /// Begin at the full rate, and do not stop if the first items fail again
    #[arg(long)]
    ignore_failures: bool,
}

#[derive(Debug, Args)]
struct Start {
    /// Number of the batch
    id: u64,
    /// Reason, which the host records
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    pace: Pace,
    /// Follow the batch to its end
    #[arg(long)]
    wait: bool,
    /// Name of the operator, which the host records
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
struct Resume {
    /// Number of the batch
    id: u64,
    /// Reason, which the host records
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    pace: Pace,
    /// Name of the operator, which the host records
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
struct Halt {
    /// Number of the batch
    id: u64,
    /// Reason, which the host records
    #[arg(long)]
    reason: Option<String>,
    /// Name of the operator, which the host records
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
struct Listing {
    /// Select by status: draft, preparing, running, paused, done or cancelled
    #[arg(long)]
    status: Option<String>,
    /// Select the batches of this plugin
    #[arg(long)]
    plugin: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
struct Show {
    /// Number of the batch
    id: u64,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
struct Items {
    /// Number of the batch
    id: u64,
    /// Select by outcome: pending, in-progress, done, failed, changed or refused
    #[arg(long)]
    outcome: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    host: HostArgs,
}

impl Batch {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        match self.command {
            BatchCommand::Draft(draft) => draft.execute().await,
            BatchCommand::Start(start) => start.execute().await,
            BatchCommand::Pause(halt) => halt.execute("pause").await,
            BatchCommand::Resume(resume) => resume.execute().await,
            BatchCommand::Cancel(halt) => halt.execute("cancel").await,
            BatchCommand::List(listing) => listing.execute().await,
            BatchCommand::Show(show) => show.execute().await,
            BatchCommand::Items(items) => items.execute().await,
        }
    }
}

impl Draft {
    async fn execute(self) -> anyhow::Result<()> {
        let action = self.action.to_possible_value();
        let action = action.map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut body = selected(&action, &self.filter, self.condition.as_deref(), self.all);
        body.extend(self.ages.given().map(|(name, value)| (name.to_owned(), json!(value))));
        body.insert("by".to_owned(), json!(self.by));
        print(&self.host, &self.host.client()?.post::<Box<RawValue>>("/batches", &body).await?)
    }
}

impl Start {
    async fn execute(self) -> anyhow::Result<()> {
        let client = self.host.client()?;
        let body = self.pace.body(&self.by, self.reason.as_deref());
        let path = format!("/batches/{}/start", self.id);
        let started: Box<RawValue> = client.post(&path, &body).await?;
        match self.wait {
            true => follow(&client, &self.host, self.id, "batch").await,
            false => print(&self.host, &started),
        }
    }
}

impl Resume {
    async fn execute(self) -> anyhow::Result<()> {
        let mut body = self.pace.body(&self.by, self.reason.as_deref());
        if !self.pace.ignore_failures {
            // As it was.
            body.remove("ignore_failures");
        }
        let path = format!("/batches/{}/resume", self.id);
        print(&self.host, &self.host.client()?.post::<Box<RawValue>>(&path, &body).await?)
    }
}

impl Halt {
    async fn execute(self, verb: &str) -> anyhow::Result<()> {
        let body = json!({"by": self.by, "reason": self.reason});
        let path = format!("/batches/{}/{verb}", self.id);
        print(&self.host, &self.host.client()?.post::<Box<RawValue>>(&path, &body).await?)
    }
}

impl Listing {
    async fn execute(self) -> anyhow::Result<()> {
        let columns = &[
            "id",
            "status",
            "action",
            "plugin",
            "items",
            "done",
            "failed",
            "changed",
            "refused",
            "by",
            "created_at",
            "reason",
        ];
        let query = [("status", self.status), ("plugin", self.plugin)];
        let query = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let list = List { path: "/batches", query, member: "batches", columns };
        self.paging.print(&list, &self.host, |_| {}).await
    }
}

impl Show {
    async fn execute(self) -> anyhow::Result<()> {
        print(&self.host, &show(&self.host.client()?, self.id).await?)
    }
}

impl Items {
    async fn execute(self) -> anyhow::Result<()> {
        let path = format!("/batches/{}/items", self.id);
        let columns = &["item", "outcome", "plugin", "sink", "key", "reason"];
        let query = self.outcome.into_iter().map(|outcome| ("outcome", outcome)).collect();
        let list = List { path: &path, query, member: "items", columns };
        self.paging.print(&list, &self.host, |_| {}).await
    }
}

impl Pace {
    fn body(&self, by: &str, reason: Option<&str>) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("by".to_owned(), json!(by));
        body.extend(reason.map(|reason| ("reason".to_owned(), json!(reason))));
        body.extend(self.rate.map(|rate| ("rate_per_second".to_owned(), json!(rate))));
        body.insert("ignore_failures".to_owned(), json!(self.ignore_failures));
        body
    }
}

/// The body of a draft.
pub(crate) fn selected(
    action: &str,
    filter: &FilterArgs,
    condition: Option<&str>,
    all: bool,
) -> Map<String, Value> {
    let mut body = Map::from_iter([("action".to_owned(), json!(action))]);
    body.extend(filter.given().map(|(name, value)| (name.to_owned(), json!(value))));
    body.extend(condition.map(|condition| ("where".to_owned(), json!(condition))));
    if all {
        body.insert("all".to_owned(), json!(true));
    }
    body
}

/// A batch that a command makes, starts and follows.
pub(crate) struct Whole<'c> {
    pub host: &'c HostArgs,
    pub action: &'c str,
    /// What it acts on, for people.
    pub noun: &'c str,
    pub by: &'c str,
    pub reason: Option<&'c str>,
    pub pace: &'c Pace,
    pub dry_run: bool,
}

impl Whole<'_> {
    pub(crate) async fn run(&self, mut body: Map<String, Value>) -> anyhow::Result<()> {
        let Whole { host, action, noun, .. } = self;
        let client = host.client()?;
        body.insert("by".to_owned(), json!(self.by));
        body.insert("dry_run".to_owned(), json!(self.dry_run));
        let draft: Value = client.post("/batches", &body).await?;
        if self.dry_run {
            match host.json {
                true => output::json(&draft),
                false => output::line(&format!("would {action}: {} {noun}", count(&draft))),
            }
            return Ok(());
        }
        let id = draft["id"].as_u64().unwrap_or_default();
        let start = self.pace.body(self.by, self.reason);
        let _: Value = client.post(&format!("/batches/{id}/start"), &start).await?;
        if !host.json {
            output::note(&format!(
                "batch {id}: {} {noun}; it continues if this command ends; `sagabox batch pause \
                 {id}` pauses it",
                count(&draft)
            ));
        }
        follow(&client, host, id, &format!("{action} {noun}")).await
    }
}

fn count(batch: &Value) -> String {
    let at_least = if batch["items_exact"] == true { "" } else { "at least " };
    format!("{at_least}{}", batch["items"])
}

/// Waits for the end of a batch and says what came of it.
async fn follow(client: &Client, host: &HostArgs, id: u64, what: &str) -> anyhow::Result<()> {
    let progress = indicatif::ProgressBar::no_length().with_message(what.to_owned());
    let (text, batch) = loop {
        let text = show(client, id).await?;
        let batch: Value = serde_json::from_str(text.get())?;
        let number = |name: &str| batch[name].as_u64().unwrap_or_default();
        progress.set_length(number("items"));
        progress.set_position(number("items") - number("pending") - number("in_progress"));
        if !["preparing", "running"].contains(&batch["status"].as_str().unwrap_or_default()) {
            break (text, batch);
        }
        tokio::time::sleep(LOOK).await;
    };
    progress.finish_and_clear();
    match host.json {
        true => output::json_text(text.get()),
        false => output::line(&outcome(&batch, what)),
    }
    let number = |name: &str| batch[name].as_u64().unwrap_or_default();
    let status = batch["status"].as_str().unwrap_or_default();
    if status != "done" {
        let note = batch["note"].as_str().map(|note| format!(": {}", printable(note)));
        anyhow::bail!("batch {id} is {status}{}", note.unwrap_or_default());
    }
    match number("failed") + number("refused") {
        0 => Ok(()),
        others => anyhow::bail!(
            "{others} items failed again or were refused; `sagabox batch items {id} --outcome failed` \
             and `--outcome refused` list them"
        ),
    }
}

/// Such as `redrive: 30 dead letters, 2 changed`.
fn outcome(batch: &Value, what: &str) -> String {
    let (verb, noun) = what.split_once(' ').unwrap_or((what, "items"));
    let others = ["failed", "changed", "refused", "pending"].map(|name| {
        let count = batch[name].as_u64().unwrap_or_default();
        if count == 0 { String::new() } else { format!(", {count} {name}") }
    });
    format!("{verb}: {} {noun}{}", batch["done"], others.concat())
}

async fn show(client: &Client, id: u64) -> anyhow::Result<Box<RawValue>> {
    let text = client.text(&format!("/batches/{id}"), &[] as &[(&str, &str)]).await?;
    Ok(RawValue::from_string(text)?)
}

fn print(host: &HostArgs, batch: &RawValue) -> anyhow::Result<()> {
    if host.json {
        output::json_text(batch.get());
        return Ok(());
    }
    let row: Row = serde_json::from_str(batch.get())?;
    for (name, _) in row.members() {
        let value = row.cell(name);
        if value != "-" {
            output::line(&format!("{}: {value}", name.replace('_', " ")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_a_batch_names_what_is_not_done() {
        let batch = json!({"done": 30, "failed": 0, "changed": 2, "refused": 1, "pending": 0});
        assert_eq!(
            outcome(&batch, "redrive dead letters"),
            "redrive: 30 dead letters, 2 changed, 1 refused"
        );
    }
}
