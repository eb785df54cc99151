//! Resolving dead letters, cancelling and ending instances.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{HostArgs, InputError, output};
use crate::client::{Answer, Client};

/// Letters of one key are resolved one after another: those behind are asked again.
const AGAIN_MAX: u32 = 100;
const AGAIN_DELAY: Duration = Duration::from_millis(100);

/// Which letters, by whom and why.
#[derive(Debug, Args)]
pub struct Which {
    /// Their ids
    ids: Vec<u64>,
    /// Every open one
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Those of this plugin
    #[arg(long, conflicts_with = "ids")]
    plugin: Option<String>,
    /// Those that this version of a plugin failed at
    #[arg(long, conflicts_with = "ids")]
    plugin_version: Option<String>,
    /// Those of messages for this sink
    #[arg(long, conflicts_with = "ids")]
    sink: Option<String>,
    /// Those of this key
    #[arg(long, conflicts_with = "ids")]
    key: Option<String>,
    /// Those of this type of event or message
    #[arg(long = "type", conflicts_with = "ids")]
    event_type: Option<String>,
    /// Those whose reason contains this
    #[arg(long, conflicts_with = "ids")]
    reason_contains: Option<String>,
    /// Only tell how many there are
    #[arg(long)]
    dry_run: bool,
    /// Who asks for it; it is kept
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
pub struct Redrive {
    #[command(flatten)]
    which: Which,
    /// Why; it is kept
    #[arg(long)]
    reason: Option<String>,
    /// A file with the event to try in place of the dead one, as a `CloudEvent` in JSON
    #[arg(long)]
    edit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Drop {
    #[command(flatten)]
    which: Which,
    /// Why; it is kept
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub struct Instance {
    plugin: String,
    /// The instance's key
    key: String,
    /// Why; it is kept
    #[arg(long)]
    reason: String,
    /// Who asks for it; it is kept
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    #[command(flatten)]
    host: HostArgs,
}

impl Redrive {
    pub async fn execute(self) -> anyhow::Result<()> {
        let Some(path) = &self.edit else {
            return self.which.resolve("redrive", self.reason.as_deref()).await;
        };
        let [id] = self.which.ids[..] else {
            return Err(InputError("--edit takes the id of one dead letter".to_owned()).into());
        };
        let reading = || format!("read {}", path.display());
        let text = std::fs::read(path).with_context(reading)?;
        let wrong = |error| InputError(format!("{} is not JSON: {error}", path.display()));
        let body = Edited::new(&self.which.by, self.reason.as_deref(), &text).map_err(wrong)?;
        let client = self.which.host.client()?;
        let answer: Answer = client.post(&format!("/dead-letters/{id}/redrive"), &body).await?;
        tell(&answer, self.which.host.json, &format!("dead letter {id} is being redriven"));
        Ok(())
    }
}

/// What is sent for a letter whose event was edited. The event goes on as it stands in the
/// file: what was not edited stays, byte for byte.
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
        // Some editors put a byte order mark before the text.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Ok(Self { by, reason, event: serde_json::from_slice(text)? })
    }
}

impl Drop {
    pub async fn execute(self, verb: &str) -> anyhow::Result<()> {
        self.which.resolve(verb, Some(&self.reason)).await
    }
}

impl Instance {
    pub async fn execute(self, verb: &str) -> anyhow::Result<()> {
        let body = json!({
            "plugin": self.plugin, "key": self.key, "by": self.by, "reason": self.reason,
        });
        let answer: Answer = self.host.client()?.post(&format!("/instances/{verb}"), &body).await?;
        let told = match verb {
            "cancel" => "was told to come to an end",
            _ => "is ended",
        };
        tell(&answer, self.host.json, &format!("instance `{}` {told}", self.key));
        Ok(())
    }
}

fn tell(Answer(answer): &Answer, json: bool, text: &str) {
    match json {
        true => output::json(answer),
        false => output::line(text),
    }
}

impl Which {
    async fn resolve(&self, verb: &str, reason: Option<&str>) -> anyhow::Result<()> {
        let client = self.host.client()?;
        let progress = indicatif::ProgressBar::no_length().with_message(verb.to_owned());
        let mut resolved = 0;
        let mut refused = Vec::new();
        let mut after = 0;
        loop {
            let mut body = self.body(reason);
            body.insert("after".to_owned(), json!(after));
            let answer = ask(&client, verb, &body).await?;
            resolved += answer["resolved"].as_u64().unwrap_or(0);
            refused.extend(answer["refused"].as_array().cloned().unwrap_or_default());
            progress.set_position(resolved);
            match answer["next"].as_u64() {
                Some(next) => after = next,
                None => break,
            }
        }
        for _ in 0..AGAIN_MAX {
            let (again, kept): (Vec<Value>, Vec<Value>) =
                refused.into_iter().partition(|letter| letter["again"] == true);
            refused = kept;
            if again.is_empty() {
                break;
            }
            tokio::time::sleep(AGAIN_DELAY).await;
            let mut body = self.body(reason);
            let ids: Vec<&Value> = again.iter().map(|letter| &letter["id"]).collect();
            body.insert("ids".to_owned(), json!(ids));
            let answer = ask(&client, verb, &body).await?;
            resolved += answer["resolved"].as_u64().unwrap_or(0);
            refused.extend(answer["refused"].as_array().cloned().unwrap_or_default());
            progress.set_position(resolved);
        }
        progress.finish_and_clear();
        if self.host.json {
            output::json(&json!({"resolved": resolved, "refused": refused}));
        } else {
            let would = if self.dry_run { "would " } else { "" };
            output::line(&format!("{would}{verb}: {resolved} dead letters"));
        }
        match refused.first() {
            None => Ok(()),
            Some(first) => anyhow::bail!(
                "{} dead letters were refused; the first: {}",
                refused.len(),
                first["reason"].as_str().unwrap_or_default()
            ),
        }
    }

    fn body(&self, reason: Option<&str>) -> Map<String, Value> {
        let given = [
            ("plugin", &self.plugin),
            ("plugin_version", &self.plugin_version),
            ("sink", &self.sink),
            ("key", &self.key),
            ("type", &self.event_type),
            ("reason_contains", &self.reason_contains),
        ];
        let mut body = Map::new();
        for (name, value) in given {
            if let Some(value) = value {
                body.insert(name.to_owned(), json!(value));
            }
        }
        body.insert("by".to_owned(), json!(self.by));
        body.insert("reason".to_owned(), json!(reason));
        body.insert("dry_run".to_owned(), json!(self.dry_run));
        if !self.ids.is_empty() {
            body.insert("ids".to_owned(), json!(self.ids));
        }
        if self.all {
            body.insert("all".to_owned(), json!(true));
        }
        body
    }
}

async fn ask(client: &Client, verb: &str, body: &Map<String, Value>) -> anyhow::Result<Value> {
    Ok(client.post(&format!("/dead-letters/{verb}"), body).await?)
}
