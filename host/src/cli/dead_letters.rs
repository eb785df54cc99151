//! The commands that resolve dead letters, and that cancel and end instances.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::ages::Ages;
use super::batches::{self, Pace, Whole};
use super::host_args::HostArgs;
use super::input_error::InputError;
use super::output;
use crate::api::client::Client;
use crate::io::files;
use crate::io::printable::printable;

/// The most rounds. Dead letters of one key are resolved one after another, so later ones need
/// another round.
const AGAIN_MAX: u32 = 100;
const AGAIN_DELAY: Duration = Duration::from_millis(100);

/// The most bytes of an edited event. A host accepts far fewer by default.
const EVENT_BYTES_MAX: usize = 256 << 20;
/// The most ids in one request. More ids take several requests.
const IDS_MAX: usize = 1000;

/// All given filters must match.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Select the dead letters of this plugin
    #[arg(long)]
    plugin: Option<String>,
    /// Select the dead letters that this version of a plugin caused
    #[arg(long)]
    plugin_version: Option<String>,
    /// Select by status: open, redriving, redriven, skipped, discarded or compensated
    #[arg(long)]
    status: Option<String>,
    /// Select messages for this sink
    #[arg(long)]
    sink: Option<String>,
    /// Select the dead letters of this key
    #[arg(long, allow_hyphen_values = true)]
    key: Option<String>,
    /// Select events or messages of this type
    #[arg(long = "type")]
    event_type: Option<String>,
    /// Select the dead letters whose reason contains this text
    #[arg(long, allow_hyphen_values = true)]
    reason_contains: Option<String>,
    /// Select the dead letters of this cause: the reason without numbers and names
    #[arg(long, allow_hyphen_values = true)]
    cause: Option<String>,
}

impl FilterArgs {
    /// The filters that were given, by their names in the API.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("plugin", &self.plugin),
            ("plugin_version", &self.plugin_version),
            ("status", &self.status),
            ("sink", &self.sink),
            ("key", &self.key),
            ("type", &self.event_type),
            ("reason_contains", &self.reason_contains),
            ("cause", &self.cause),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// The selected dead letters, and the operator who resolves them.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Ids of dead letters; without ids, all open dead letters that match the filters
    ids: Vec<u64>,
    /// Select all open dead letters
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only count the dead letters
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pace: Pace,
    /// Name of the operator, which the host records
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Redrive {
    #[command(flatten)]
    which: Which,
    /// Reason, which the host records
    #[arg(long)]
    reason: Option<String>,
    /// File with the event to process in place of the original one: a `CloudEvent` in JSON
    #[arg(long)]
    edit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Drop {
    #[command(flatten)]
    which: Which,
    /// Reason, which the host records
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Instance {
    /// Name of the plugin
    plugin: String,
    /// Key of the instance
    #[arg(required_unless_present_any = ["all", "condition", "Ages"])]
    key: Option<String>,
    /// Select all running instances of the plugin
    #[arg(long, conflicts_with = "key")]
    all: bool,
    /// Select the running instances whose fields fulfil this condition, such as `paid < total`
    #[arg(long = "where", conflicts_with = "key")]
    condition: Option<String>,
    #[command(flatten)]
    ages: Ages,
    /// Only count the instances
    #[arg(long, conflicts_with = "key")]
    dry_run: bool,
    #[command(flatten)]
    pace: Pace,
    /// Reason, which the host records
    #[arg(long)]
    reason: String,
    /// Name of the operator, which the host records
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    #[command(flatten)]
    host: HostArgs,
}

impl Redrive {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let Some(path) = &self.edit else {
            return self.which.resolve("redrive", self.reason.as_deref()).await;
        };
        let [id] = self.which.ids[..] else {
            return Err(
                InputError("--edit needs the id of exactly one dead letter".to_owned()).into()
            );
        };
        if self.which.dry_run || self.which.filter.given().next().is_some() {
            let text = "--edit cannot be combined with --dry-run or filters";
            return Err(InputError(text.to_owned()).into());
        }
        let reading = || format!("read {}", path.display());
        let text = files::bytes(path, EVENT_BYTES_MAX).with_context(reading)?;
        let wrong = |error| InputError(format!("{} is not JSON: {error}", path.display()));
        let body = Edited::new(&self.which.by, self.reason.as_deref(), &text).map_err(wrong)?;
        let client = self.which.host.client()?;
        let path = format!("/dead-letters/{id}/redrive");
        let answer: Box<RawValue> = client.post(&path, &body).await?;
        print(&answer, self.which.host.json, &format!("dead letter {id} is being redriven"));
        Ok(())
    }
}

impl Drop {
    pub(crate) async fn execute(self, verb: &str) -> anyhow::Result<()> {
        self.which.resolve(verb, Some(&self.reason)).await
    }
}

impl Instance {
    pub(crate) async fn execute(self, verb: &str) -> anyhow::Result<()> {
        let Some(key) = &self.key else { return self.many(verb).await };
        let body = json!({"plugin": self.plugin, "key": key, "by": self.by, "reason": self.reason});
        let client = self.host.client()?;
        let answer: Box<RawValue> = client.post(&format!("/instances/{verb}"), &body).await?;
        let effect = match verb {
            "cancel" => "receives the request to compensate and complete",
            _ => "is ended",
        };
        print(&answer, self.host.json, &format!("instance `{key}` {effect}"));
        Ok(())
    }

    async fn many(&self, verb: &str) -> anyhow::Result<()> {
        let mut body = Map::from_iter([
            ("action".to_owned(), json!(verb)),
            ("plugin".to_owned(), json!(self.plugin)),
            ("all".to_owned(), json!(self.all)),
        ]);
        body.extend(self.condition.iter().map(|text| ("where".to_owned(), json!(text))));
        body.extend(self.ages.given().map(|(name, value)| (name.to_owned(), json!(value))));
        let whole = Whole {
            host: &self.host,
            action: verb,
            noun: "instances",
            by: &self.by,
            reason: Some(&self.reason),
            pace: &self.pace,
            dry_run: self.dry_run,
        };
        whole.run(body).await
    }
}

/// The request for a dead letter with an edited event. The event is sent as it is in the file,
/// byte for byte, so what was not edited stays the same.
#[derive(Debug, Serialize)]
pub(crate) struct Edited<'t> {
    by: &'t str,
    reason: Option<&'t str>,
    event: &'t RawValue,
}

impl<'t> Edited<'t> {
    /// # Errors
    /// If the text is not JSON.
    pub(crate) fn new(
        by: &'t str,
        reason: Option<&'t str>,
        text: &'t [u8],
    ) -> Result<Self, serde_json::Error> {
        let text = text.strip_prefix(files::BYTE_ORDER_MARK).unwrap_or(text);
        Ok(Self { by, reason, event: serde_json::from_slice(text)? })
    }
}

fn print(answer: &RawValue, json: bool, text: &str) {
    match json {
        true => output::json_text(answer.get()),
        false => output::data(text),
    }
}

/// The outcomes for the selected dead letters.
#[derive(Default)]
struct Tally {
    resolved: u64,
    refused: Vec<Value>,
    /// Ids that the host had no time for.
    left: Vec<u64>,
}

impl Tally {
    fn add(&mut self, answer: &Value) {
        self.resolved += answer["resolved"].as_u64().unwrap_or(0);
        self.refused.extend(answer["refused"].as_array().cloned().unwrap_or_default());
        let left = answer["left"].as_array().into_iter().flatten();
        self.left.extend(left.filter_map(Value::as_u64));
    }
}

impl Which {
    async fn resolve(&self, verb: &str, reason: Option<&str>) -> anyhow::Result<()> {
        if self.ids.is_empty() {
            let whole = Whole {
                host: &self.host,
                action: verb,
                noun: "dead letters",
                by: &self.by,
                reason,
                pace: &self.pace,
                dry_run: self.dry_run,
            };
            return whole.run(batches::selected(verb, &self.filter, None, self.all)).await;
        }
        if self.filter.given().next().is_some() {
            let text = "give the ids of the dead letters or filters, not both";
            return Err(InputError(text.to_owned()).into());
        }
        let client = self.host.client()?;
        let mut tally = Tally::default();
        self.resolve_ids(&client, verb, reason, &self.ids, &mut tally).await?;
        for _ in 0..AGAIN_MAX {
            let (again, kept) = std::mem::take(&mut tally.refused)
                .into_iter()
                .partition(|dead_letter: &Value| dead_letter["again"] == true);
            tally.refused = kept;
            if again.is_empty() {
                break;
            }
            tokio::time::sleep(AGAIN_DELAY).await;
            let ids: Vec<u64> =
                again.iter().filter_map(|dead_letter| dead_letter["id"].as_u64()).collect();
            self.resolve_ids(&client, verb, reason, &ids, &mut tally).await?;
        }
        let Tally { resolved, refused, left: _ } = tally;
        if self.host.json {
            output::json(&json!({"resolved": resolved, "refused": refused}));
        } else {
            let would = if self.dry_run { "would " } else { "" };
            let resolved = output::counted(resolved, "dead letter", "dead letters");
            output::line(&format!("{would}{verb}: {resolved}"));
        }
        match refused.first() {
            None => Ok(()),
            Some(first) => anyhow::bail!(
                "{} refused; the first, {}: {}",
                output::counted(refused.len() as u64, "dead letter was", "dead letters were"),
                first["id"],
                printable(first["reason"].as_str().unwrap_or_default())
            ),
        }
    }

    async fn resolve_ids(
        &self,
        client: &Client,
        verb: &str,
        reason: Option<&str>,
        ids: &[u64],
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let mut ids = ids.to_vec();
        loop {
            ids.append(&mut tally.left);
            if ids.is_empty() {
                return Ok(());
            }
            let some: Vec<u64> = ids.drain(..ids.len().min(IDS_MAX)).collect();
            let mut body = self.how(reason);
            body.insert("ids".to_owned(), json!(some));
            tally.add(&ask(client, verb, &body).await?);
        }
    }

    fn how(&self, reason: Option<&str>) -> Map<String, Value> {
        let how =
            [("by", json!(self.by)), ("reason", json!(reason)), ("dry_run", json!(self.dry_run))];
        how.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

async fn ask(client: &Client, verb: &str, body: &Map<String, Value>) -> anyhow::Result<Value> {
    Ok(client.post(&format!("/dead-letters/{verb}"), body).await?)
}
