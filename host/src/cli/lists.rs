//! The commands that read lists and single rows from a running host and print them.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::value::RawValue;

use super::ages::Ages;
use super::dead_letters::FilterArgs;
use super::host_args::HostArgs;
use super::output::{self, Row};
use super::pages::{List, Paging, Parts};
use crate::decisions::json::{Difference, Json};
use crate::store::query::condition::Condition;

#[derive(Debug, Args)]
pub(crate) struct Plugins {
    #[command(flatten)]
    host: HostArgs,
}

impl Plugins {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let Some(answer) = whole(&self.host, "/plugins").await? else { return Ok(()) };
        let columns = ["name", "version", "role", "since", "file", "preflight"];
        print(&answer, "plugins", &columns);
        candidates(&answer);
        kept(&answer);
        for (member, columns) in [
            ("refused", ["file", "refused_at", "reason"]),
            ("checking", ["file", "migrated", "failed"]),
        ] {
            let rows = answer.rows(member);
            if !rows.is_empty() {
                let heading = member.to_uppercase();
                output::line(&format!("\n{heading}\n{}", output::table(&columns, &rows)));
            }
        }
        Ok(())
    }
}

/// Prints the versions that the store keeps beside those that decide.
fn kept(answer: &Row) {
    let rows = answer.rows("kept");
    let is_active = |row: &Row| row.get("is_active").is_some_and(|own| own.get() == "true");
    let rows: Vec<Row> = rows.into_iter().filter(|row| !is_active(row)).collect();
    if !rows.is_empty() {
        let columns = ["plugin", "version", "since", "bytes", "digest"];
        output::line(&format!("\nKEPT\n{}", output::table(&columns, &rows)));
    }
}

/// Prints the candidates, their calls and failures, and the decisions that differ.
fn candidates(answer: &Row) {
    let rows = answer.rows("candidates");
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
    output::line(&format!("\nCANDIDATES\n{}", output::table(&columns, &rows)));
    for row in rows {
        let who = format!("{} {}", row.cell("plugin"), row.cell("version"));
        let withdrawn = row.get("withdrawn").map(RawValue::get);
        if let Some(Ok(withdrawn)) = withdrawn.map(serde_json::from_str::<Row>) {
            output::data(&format!("{who} was withdrawn: {}", withdrawn.cell("reason")));
        }
        for kind in row.rows("kinds") {
            let count = kind.cell("decisions");
            let noun = if count == "1" { "decision" } else { "decisions" };
            output::data(&format!("{who}: {count} {noun}: {}", kind.cell("kind")));
        }
        for differing in row.rows("differences") {
            let shown: Vec<String> = differing
                .items("differences")
                .iter()
                .filter_map(|difference| Json::parse(difference.get().as_bytes()).ok())
                .filter_map(|difference| Difference::read(&difference))
                .map(|difference| difference.to_string())
                .collect();
            output::data(&format!(
                "{who} decides `{}` of `{}` differently: {}",
                differing.cell("event_type"),
                differing.cell("key"),
                shown.join("; ")
            ));
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Instances {
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
    /// Sort by a field; -FIELD sorts downwards [default: by age, the oldest first, if a status or an
    /// age is given; otherwise by key]
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    order: Option<String>,
    /// Print how many there are, by status
    #[arg(long, conflicts_with_all = ["order", "after", "limit", "all"])]
    count: bool,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    host: HostArgs,
}

impl Instances {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let mut query = vec![("plugin", self.plugin)];
        query.extend(self.status.map(|status| ("status", status)));
        let condition = self.condition;
        query.extend(condition.clone().map(|condition| ("where", condition)));
        query.extend(self.ages.given().map(|(name, value)| (name, value.to_owned())));
        if self.count {
            return count(query, &self.host).await;
        }
        let fields = named_fields(self.order.as_deref(), condition.as_deref());
        query.extend(self.order.map(|order| ("order", order)));
        let mut columns = vec!["key", "status"];
        columns.extend(fields.iter().map(String::as_str));
        columns.extend(["summary", "version", "started_at", "updated_at"]);
        let list = List { path: "/instances", query, member: "instances", columns: &columns };
        self.paging.print(&list, &self.host, |_| {}).await
    }
}

/// The fields by which instances are sorted and selected: each is a column, so that a person sees
/// why a row is there, and where it stands.
fn named_fields(order: Option<&str>, condition: Option<&str>) -> Vec<String> {
    let order = order.map(|order| order.strip_prefix('-').unwrap_or(order));
    // What is wrong with the condition is reported by the host.
    let condition = condition.and_then(|condition| Condition::parse(condition).ok());
    let named = condition.iter().flat_map(Condition::fields).filter(|name| Some(*name) != order);
    // `key` is a member of each row.
    order.into_iter().chain(named).filter(|name| *name != "key").map(str::to_owned).collect()
}

/// A part of a count.
#[derive(serde::Deserialize)]
struct Counted {
    counts: BTreeMap<String, u64>,
    next: Option<String>,
}

/// Counts part by part, so that no request takes long.
async fn count(query: Vec<(&'static str, String)>, host: &HostArgs) -> anyhow::Result<()> {
    let client = host.client()?;
    let (mut counts, mut after) = (BTreeMap::<String, u64>::new(), None::<String>);
    loop {
        let own = query.iter().map(|(name, value)| (*name, value.as_str()));
        let query: Vec<_> = own.chain(after.as_deref().map(|after| ("after", after))).collect();
        let text = client.text("/instances/count", &query).await?;
        let part: Counted = serde_json::from_str(&text)
            .map_err(|error| anyhow::anyhow!("the host's response is not a count: {error}"))?;
        for (status, count) in part.counts {
            *counts.entry(status).or_default() += count;
        }
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    let total: u64 = counts.values().sum();
    if host.json {
        output::json_text(&serde_json::json!({"counts": counts, "total": total}).to_string());
        return Ok(());
    }
    for (status, count) in counts {
        output::line(&format!("{status}: {}", output::grouped(count)));
    }
    output::line(&format!("total: {}", output::grouped(total)));
    Ok(())
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Name of the plugin
    plugin: String,
    /// Key of the instance
    key: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    host: HostArgs,
}

impl Show {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let of = [("plugin", self.plugin.as_str()), ("key", self.key.as_str())];
        let why = self.host.client()?.text("/instance/why", &of).await?;
        let query = vec![("plugin", self.plugin), ("key", self.key)];
        let columns = &["position", "decided_at", "plugin_version", "attempt", "event", "summary"];
        let list = List { path: "/instance", query, member: "history", columns };
        let first = |answer: &Row| {
            members(answer, &["history", "next", "why"]);
            if let Some(why) = answer.object("why") {
                explain(&why);
            }
            output::line("decisions, newest first:");
        };
        let parts = Parts { first, rows: messages };
        self.paging.print_with(&list, &self.host, Some(("why", why)), parts).await
    }
}

/// Prints what became of the messages of these decisions.
fn messages(decisions: &[Row]) {
    let mut is_first = true;
    for decision in decisions {
        for message in decision.rows("deliveries") {
            if std::mem::take(&mut is_first) {
                output::line("messages of these decisions:");
            }
            let details = ["sink", "id", "worker", "attempt", "leased_at", "until", "reason"];
            let details = details.into_iter().filter(|name| has(&message, name));
            let details = details
                .map(|name| format!(", {} {}", name.replace('_', " "), message.cell(name)))
                .collect::<String>();
            let (position, status) = (decision.cell("position"), message.cell("status"));
            output::raw(&format!("  {position} {}: {status}{details}", message.cell("type")));
        }
    }
}

/// Prints why an instance waits, and what can still come for it.
fn explain(why: &Row) {
    let reasons = why.rows("reasons");
    if reasons.is_empty() {
        output::line("it does not wait");
    } else {
        output::line("why it waits:");
    }
    for reason in reasons {
        let dates = ["since", "until"].into_iter().filter(|name| has(&reason, name));
        let dates = dates.map(|name| format!(", {name} {}", reason.cell(name))).collect::<String>();
        output::raw(&format!("  {}{dates}", reason.cell("text")));
    }
    let can_come = why.rows("can_come");
    if !can_come.is_empty() {
        output::line("what can still come:");
    }
    for event in can_come {
        let from = event.items("from");
        let from: Vec<String> = from.iter().map(|name| output::cell("from", Some(name))).collect();
        let from = match (event.cell("by_host") == "yes", from.is_empty()) {
            (true, _) => "the host".to_owned(),
            (false, true) => "outside".to_owned(),
            (false, false) => from.join(", "),
        };
        output::raw(&format!("  {} from {from}", event.cell("type")));
    }
}

fn has(row: &Row, name: &str) -> bool {
    row.get(name).is_some_and(|value| value.get() != "null")
}

#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    host: HostArgs,
}

impl DeadLetters {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let query = self.filter.given().map(|(name, value)| (name, value.to_owned())).collect();
        let columns = &["id", "status", "plugin", "key", "sink", "position", "attempts", "reason"];
        let list = List { path: "/dead-letters", query, member: "dead_letters", columns };
        self.paging.print(&list, &self.host, |_| {}).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct DeadLetter {
    /// Id of the dead letter
    id: u64,
    #[command(flatten)]
    host: HostArgs,
}

impl DeadLetter {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let Some(dead_letter) = whole(&self.host, &format!("/dead-letters/{}", self.id)).await?
        else {
            return Ok(());
        };
        members(&dead_letter, &["log"]);
        for line in dead_letter.rows("log") {
            output::raw(&format!("log: {} {}", line.cell("level"), line.cell("text")));
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Accounts {
    #[command(flatten)]
    host: HostArgs,
}

impl Accounts {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        if let Some(answer) = whole(&self.host, "/accounts").await? {
            output::line(&accounts(&answer));
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Queues {
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    host: HostArgs,
}

impl Queues {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let columns = &["queue", "ready", "leased"];
        let list = List { path: "/queues", query: Vec::new(), member: "queues", columns };
        let first = |_: &Row| {};
        self.paging.print_with(&list, &self.host, None, Parts { first, rows: workers }).await
    }
}

/// Prints the workers that have leased messages, under the table of their queues.
fn workers(queues: &[Row]) {
    for queue in queues {
        for worker in queue.rows("workers") {
            let name = name_of_worker(&worker);
            let of = (queue.cell("queue"), worker.cell("leased"));
            let (since, end) = (worker.cell("oldest_at"), worker.cell("next_end_at"));
            output::raw(&format!(
                "{}: {name} has leased {}, since {since}, next end {end}, last seen {}",
                of.0,
                of.1,
                worker.cell("seen_at")
            ));
        }
    }
}

fn name_of_worker(row: &Row) -> String {
    match has(row, "worker") {
        true => format!("the worker {}", row.cell("worker")),
        false => "a worker without a name".to_owned(),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Leases {
    /// Select the messages of this queue
    #[arg(long)]
    queue: Option<String>,
    /// Select the messages that the worker with this name has leased
    #[arg(long, allow_hyphen_values = true)]
    worker: Option<String>,
    /// Select the messages that this plugin has sent
    #[arg(long)]
    plugin: Option<String>,
    /// Select the messages of this key
    #[arg(long, allow_hyphen_values = true)]
    key: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    host: HostArgs,
}

impl Leases {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let all = [
            ("queue", self.queue),
            ("worker", self.worker),
            ("plugin", self.plugin),
            ("key", self.key),
        ];
        let query = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let columns =
            &["queue", "worker", "id", "plugin", "key", "attempt", "leased_at", "ends_at"];
        let list = List { path: "/queues/leases", query, member: "leases", columns };
        self.paging.print(&list, &self.host, |_| {}).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Timers {
    /// Select the timers of this plugin
    #[arg(long)]
    plugin: Option<String>,
    /// Select the timers of the instance with this key
    #[arg(long, allow_hyphen_values = true)]
    key: Option<String>,
    /// Select the timers with this name
    #[arg(long, allow_hyphen_values = true)]
    name: Option<String>,
    /// Select the timers that are due earlier than this time, or in less than this duration, such as
    /// 2h
    #[arg(long, value_name = "TIME")]
    due_before: Option<String>,
    /// Select the timers that are due at this time or later
    #[arg(long, value_name = "TIME")]
    due_after: Option<String>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    host: HostArgs,
}

impl Timers {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let all = [
            ("plugin", self.plugin),
            ("key", self.key),
            ("name", self.name),
            ("due_before", self.due_before),
            ("due_after", self.due_after),
        ];
        let query = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let columns = &["due", "plugin", "key", "name", "set_by"];
        let list = List { path: "/timers", query, member: "timers", columns };
        self.paging.print(&list, &self.host, |_| {}).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Sinks {
    #[command(flatten)]
    host: HostArgs,
}

impl Sinks {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        if let Some(answer) = whole(&self.host, "/sinks").await? {
            let columns =
                ["sink", "pending", "leased", "delivered", "parked", "dead", "oldest_at", "paused"];
            print(&answer, "sinks", &columns);
            let down = answer
                .rows("sinks")
                .into_iter()
                .filter_map(|row| Some((row.cell("sink"), row.object("down")?)));
            for (sink, down) in down {
                let (since, next) = (down.cell("since"), down.cell("next_attempt_at"));
                let reason = down.cell("reason");
                output::data(&format!(
                    "{sink} is down since {since}, next attempt at {next}: {reason}"
                ));
            }
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Lookups {
    #[command(flatten)]
    host: HostArgs,
}

impl Lookups {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        if let Some(answer) = whole(&self.host, "/lookups").await? {
            print(&answer, "lookups_down", &["lookup", "since", "next_attempt_at", "reason"]);
        }
        Ok(())
    }
}

/// The accounts as text: the single figures, then a table for each list.
pub(crate) fn accounts(accounts: &Row) -> String {
    let mut parts = Vec::new();
    for (name, value) in accounts.members() {
        if value.get().starts_with('[') {
            let rows = accounts.rows(name);
            let columns: Vec<_> = rows.iter().take(1).flat_map(Row::members).collect();
            let columns: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
            if !rows.is_empty() {
                let heading = name.to_uppercase();
                parts.push(format!("\n{heading}\n{}", output::table(&columns, &rows)));
            }
        } else {
            parts.push(format!("{}: {}", name.replace('_', " "), output::cell(name, Some(value))));
        }
    }
    parts.join("\n")
}

/// The whole answer of a host. None if it was printed already, as JSON.
async fn whole(host: &HostArgs, path: &str) -> anyhow::Result<Option<Row>> {
    let text = host.client()?.text(path, &[]).await?;
    if host.json {
        output::json_text(&text);
        return Ok(None);
    }
    let answer = serde_json::from_str(&text);
    Ok(Some(
        answer.map_err(|error| {
            anyhow::anyhow!("the host's response is not a JSON object: {error}")
        })?,
    ))
}

/// Prints all members of an object, except those that are shown in another form.
fn members(of: &Row, left_out: &[&str]) {
    for (name, value) in of.members().filter(|(name, _)| !left_out.contains(name)) {
        let text = match value.get().as_bytes().first() {
            Some(b'{') => output::json_of(value),
            _ => output::cell(name, Some(value)),
        };
        output::raw(&format!("{}: {text}", name.replace('_', " ")));
    }
}

fn print(answer: &Row, member: &str, columns: &[&str]) {
    let rows = answer.rows(member);
    if rows.is_empty() {
        output::line(&format!("no {}", member.replace('_', " ")));
    } else {
        output::raw(&output::table(columns, &rows));
    }
}
