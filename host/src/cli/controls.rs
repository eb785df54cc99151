//! The commands that hold work back: pauses, limits, and attempts before their time.

use clap::{Args, Subcommand};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::host_args::HostArgs;
use super::output::{self, Row};

/// What is paused or limited.
#[derive(Debug, Subcommand)]
enum Target {
    /// The door: new events of senders
    Ingest,
    /// A plugin
    Plugin {
        /// Name of the plugin
        plugin: String,
    },
    /// One key of a plugin
    Key {
        /// Name of the plugin
        plugin: String,
        /// Own key of the instance, or key of the lane
        #[arg(allow_hyphen_values = true)]
        key: String,
    },
    /// A configured sink
    Sink {
        /// Name of the sink
        sink: String,
    },
    /// The host's own queue of a message type
    Queue {
        /// Message type
        queue: String,
    },
    /// A message type, wherever its messages leave
    Type {
        /// Message type
        #[arg(id = "type")]
        message_type: String,
    },
}

impl Target {
    fn json(&self) -> Value {
        match self {
            Self::Ingest => json!({"kind": "ingest"}),
            Self::Plugin { plugin } => json!({"kind": "plugin", "plugin": plugin}),
            Self::Key { plugin, key } => json!({"kind": "key", "plugin": plugin, "key": key}),
            Self::Sink { sink } => json!({"kind": "sink", "sink": sink}),
            Self::Queue { queue } => json!({"kind": "sink", "sink": format!("queue:{queue}")}),
            Self::Type { message_type } => json!({"kind": "type", "type": message_type}),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Ingest => "the door".to_owned(),
            Self::Plugin { plugin } => format!("plugin {plugin}"),
            Self::Key { plugin, key } => format!("key `{key}` of {plugin}"),
            Self::Sink { sink } => format!("sink {sink}"),
            Self::Queue { queue } => format!("queue {queue}"),
            Self::Type { message_type } => format!("type {message_type}"),
        }
    }
}

/// Without a target, list what is paused.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(subcommand)]
    target: Option<Target>,
    /// Reason, which the host records
    #[arg(long, global = true)]
    reason: Option<String>,
    /// Time until the pause ends by itself, such as 10m
    #[arg(long = "for", value_name = "DURATION", global = true)]
    duration: Option<String>,
    /// Time at which the pause ends by itself (RFC 3339)
    #[arg(long, value_name = "TIME", global = true, conflicts_with = "duration")]
    until: Option<String>,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(subcommand)]
    target: Target,
    /// Reason, which the host records
    #[arg(long, global = true)]
    reason: Option<String>,
    #[command(flatten)]
    who: Who,
}

/// Without a target, list the limits; with a target and no number, remove its limit.
#[derive(Debug, Args)]
pub(crate) struct Limit {
    #[command(subcommand)]
    target: Option<Target>,
    /// Messages whose delivery or lease begins in a second
    #[arg(long, value_name = "NUMBER", global = true)]
    per_second: Option<f64>,
    /// Messages that are being delivered, or are leased, at a time
    #[arg(long, value_name = "NUMBER", global = true)]
    in_flight: Option<u32>,
    /// The same for each ordering key of a message type
    #[arg(long, value_name = "NUMBER", global = true)]
    concurrency: Option<u32>,
    /// Reason, which the host records
    #[arg(long, global = true)]
    reason: Option<String>,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(subcommand)]
    when: When,
}

#[derive(Debug, Subcommand)]
enum When {
    /// Make the next attempts now
    Now {
        #[command(subcommand)]
        what: What,
        /// Reason, which the host records
        #[arg(long, global = true)]
        reason: Option<String>,
        #[command(flatten)]
        who: Who,
    },
}

#[derive(Debug, Subcommand)]
enum What {
    /// The next attempt at the first event of a key
    Key {
        /// Name of the plugin
        plugin: String,
        /// Key
        #[arg(allow_hyphen_values = true)]
        key: String,
    },
    /// All messages of a sink that wait for an attempt, and the sink if it is down
    Sink {
        /// Name of the sink
        sink: String,
    },
    /// All messages of a queue that wait for an attempt
    Queue {
        /// Message type
        queue: String,
    },
}

#[derive(Debug, Args)]
struct Who {
    /// Name of the operator, which the host records
    #[arg(long, env = "USER", default_value = "operator", global = true)]
    by: String,
    #[command(flatten)]
    host: HostArgs,
}

impl Pause {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let Some(target) = &self.target else {
            let columns = ["target", "waiting", "oldest_at", "since", "until", "by", "reason"];
            return list(&self.who.host, "/pauses", "pauses", &columns).await;
        };
        let body = json!({
            "target": target.json(), "by": self.who.by, "reason": self.reason,
            "for": self.duration, "until": self.until,
        });
        post(&self.who.host, "/pauses", &body, |_| format!("{} is paused", target.text())).await
    }
}

impl Resume {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let target = &self.target;
        let body = json!({"target": target.json(), "by": self.who.by, "reason": self.reason});
        let effect = |_: &Row| format!("{} is resumed", target.text());
        post(&self.who.host, "/pauses/resume", &body, effect).await
    }
}

impl Limit {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let Some(target) = &self.target else {
            let columns =
                ["target", "per_second", "in_flight", "concurrency", "since", "by", "reason"];
            return list(&self.who.host, "/limits", "limits", &columns).await;
        };
        let body = json!({
            "target": target.json(), "by": self.who.by, "reason": self.reason,
            "per_second": self.per_second, "in_flight": self.in_flight,
            "concurrency": self.concurrency,
        });
        let is_set =
            self.per_second.is_some() || self.in_flight.is_some() || self.concurrency.is_some();
        let effect = if is_set { "is limited" } else { "has no limit any more" };
        post(&self.who.host, "/limits", &body, |_| format!("{} {effect}", target.text())).await
    }
}

impl Retry {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let When::Now { what, reason, who } = self.when;
        let mut body = match what {
            What::Key { plugin, key } => json!({"plugin": plugin, "key": key}),
            What::Sink { sink } => json!({"sink": sink}),
            What::Queue { queue } => json!({"sink": format!("queue:{queue}")}),
        };
        body["by"] = json!(who.by);
        body["reason"] = json!(reason);
        let effect = |answer: &Row| match answer.cell("retried").as_str() {
            "0" => "nothing waits for an attempt".to_owned(),
            "1" => "1 key goes on now".to_owned(),
            count => format!("{count} keys go on now"),
        };
        post(&who.host, "/retries", &body, effect).await
    }
}

async fn post(
    host: &HostArgs,
    path: &str,
    body: &Value,
    effect: impl FnOnce(&Row) -> String,
) -> anyhow::Result<()> {
    let answer: Box<RawValue> = host.client()?.post(path, body).await?;
    if host.json {
        output::json_text(answer.get());
    } else {
        output::data(&effect(&serde_json::from_str(answer.get())?));
    }
    Ok(())
}

async fn list(host: &HostArgs, path: &str, member: &str, columns: &[&str]) -> anyhow::Result<()> {
    let text = host.client()?.text(path, &[]).await?;
    if host.json {
        output::json_text(&text);
        return Ok(());
    }
    let answer: Value = serde_json::from_str(&text)?;
    let mut rows = Vec::new();
    for row in answer[member].as_array().into_iter().flatten() {
        let mut row = row.clone();
        row["target"] = json!(name(&row["target"]));
        rows.push(serde_json::from_str::<Row>(&row.to_string())?);
    }
    match rows.is_empty() {
        true => output::line(&format!("no {member}")),
        false => output::raw(&output::table(columns, &rows)),
    }
    Ok(())
}

/// A target on one line: its kind and names.
fn name(target: &Value) -> String {
    let members = ["kind", "plugin", "key", "sink", "type"];
    let texts = members.into_iter().filter_map(|member| target[member].as_str());
    texts.collect::<Vec<_>>().join(" ")
}
