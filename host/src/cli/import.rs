//! `sagabox import`: brings instances from another host, by their files.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::host_args::HostArgs;
use super::input_error::InputError;
use super::output;
use crate::api::client::Client;
use crate::store::query::instance_file::InstanceFile;

/// How long the command waits for the plugin to come to the event that carries an instance.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// The other host must have ended each instance before it continues here; otherwise both hosts act
/// for it. Write the file first, because ending removes the timers: with the page of the instance,
/// or GET /v1/instance/file. Then run `sagabox end` against the other host, and then this command.
///
/// The state, the additional keys and the open timers continue here. Messages and events do not
/// come with the file: what the other host has decided, it delivers.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Files of instances, as a host writes them
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Import also if the other host had messages to deliver; it delivers them, or they are lost
    #[arg(long)]
    without_messages: bool,
    /// Import also if events waited for the instance on the other host; they are not decided
    #[arg(long)]
    without_events: bool,
    /// Reason, which the host records
    #[arg(long)]
    reason: String,
    /// Name of the operator, which the host records
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    #[command(flatten)]
    host: HostArgs,
}

impl Import {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        // A file that cannot be read stops the command before anything is imported.
        let files = self.files.iter().map(|path| Ok((path, read(path)?)));
        let files: Vec<_> = files.collect::<anyhow::Result<_>>()?;
        let client = self.host.client()?;
        let mut imported = Vec::new();
        for (path, file) in files {
            let importing = || format!("import {}", path.display());
            let answer = self.import(&client, file).await.with_context(importing)?;
            if !self.host.json {
                output::data(&sentence(&answer));
            }
            imported.push(answer);
        }
        if self.host.json {
            output::json(&json!({ "imported": imported }));
        }
        Ok(())
    }

    /// The answer of the host, and whether the instance is there.
    async fn import(&self, client: &Client, file: InstanceFile) -> anyhow::Result<Value> {
        // The host reads neither, and they can be large.
        let file = InstanceFile { decisions: Vec::new(), messages: [].into(), ..file };
        let body = json!({
            "plugin": file.plugin,
            "key": file.key,
            "file": file,
            "by": self.by,
            "reason": self.reason,
            "without_messages": self.without_messages,
            "without_events": self.without_events,
        });
        let mut answer: Value = client.post("/instances/import", &body).await?;
        answer["is_there"] = arrives(client, &answer["position"]).await?.into();
        Ok(answer)
    }
}

fn read(path: &Path) -> anyhow::Result<InstanceFile> {
    let file = InstanceFile::open(path).map_err(|error| InputError(error.to_string()))?;
    let none = || InputError(format!("{} is not the file of an instance", path.display()));
    Ok(file.ok_or_else(none)?)
}

/// Whether the plugin comes to the event in time.
async fn arrives(client: &Client, position: &Value) -> anyhow::Result<bool> {
    let (position, started) = (position.to_string(), Instant::now());
    loop {
        let trace: Value = client.get("/event", &[("position", &position)]).await?;
        let has = |name: &str| trace[name].as_array().is_some_and(|list| !list.is_empty());
        if has("decided") {
            return Ok(true);
        }
        if has("dead_letters") {
            let id = &trace["dead_letters"][0];
            anyhow::bail!(
                "the host did not import the instance, because an event came first; dead letter {id} \
                 says why"
            );
        }
        if started.elapsed() >= PATIENCE {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn sentence(answer: &Value) -> String {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let (plugin, key, position) = (text("plugin"), text("key"), &answer["position"]);
    match answer["is_there"] == true {
        true => format!("instance `{key}` of {plugin} is imported"),
        false => format!(
            "instance `{key}` of {plugin} is accepted at position {position}; it is there when the \
             plugin has come to it"
        ),
    }
}
