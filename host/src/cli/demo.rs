//! `sagabox demo`: plays the examples on a fresh host and tells what happened.
//!
//! Every message goes to the host's own queues, and simulated workers take it
//! from there: nothing outside of this process is needed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{build, lists, output, send};
use crate::client::Client;
use crate::config::{Overrides, Settings};
use crate::host::Host;

/// Nothing to do for so long means that the example is over.
const QUIET: Duration = Duration::from_millis(600);
const POLL: Duration = Duration::from_millis(50);
/// An example that takes longer has a timer that nobody waits for.
const EXAMPLE_MAX: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub struct Demo {
    /// Directory of the examples
    #[arg(long, default_value = "examples")]
    examples: PathBuf,
    /// Components that are built already [default: build those in ./plugins]
    #[arg(long)]
    plugins: Option<PathBuf>,
    /// Directory for components and data; what an earlier demo left is replaced
    #[arg(long, default_value = "target/demo")]
    out: PathBuf,
}

impl Demo {
    pub async fn execute(self) -> anyhow::Result<()> {
        let examples = examples(&self.examples)?;
        let plugins = match self.plugins {
            Some(built) => built,
            None => {
                let out = self.out.join("plugins");
                output::line("building the plugins (a minute the first time)");
                let sources = directories(Path::new("plugins"))?;
                build::build_all(sources, out.clone(), build::TARGET.into()).await?;
                out
            }
        };
        std::fs::create_dir_all(&self.out)?;
        for example in &examples {
            play(example, &plugins, &self.out).await?;
        }
        output::line(&format!(
            "\nWhere to look next:\n  {}/*/README.md  what each example shows\n  \
             sagabox run {}  a host that stays\n  sagabox send {}/events.ndjson  feed it\n  \
             sagabox accounts  what became of every event and message",
            self.examples.display(),
            plugins.display(),
            examples[0].display(),
        ));
        Ok(())
    }
}

async fn play(example: &Path, plugins: &Path, out: &Path) -> anyhow::Result<()> {
    let name = example.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let database = fresh(&out.join(format!("{name}.db")))?;
    let config = Some(example.join(crate::config::FILE)).filter(|path| path.exists());
    let overrides =
        Overrides { store: Some(format!("sqlite:{}", database.display())), listen: None };
    let mut settings = Settings::load(config.as_deref(), overrides)?;
    // The example's sinks are services that nobody has started.
    settings.sinks.clear();
    settings.routes.clear();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let host = Host::start(settings, plugins).await?;
    for refused in &host.loaded.refused {
        output::line(&format!("refused {}: {}", refused.path.display(), refused.reason));
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(host.serve(listener, async { drop(stopped.await) }));
    let client = Client::new(&address)?;
    output::line(&format!("\n── {name} ──"));
    let outcome = feed(&client, &example.join("events.ndjson")).await;
    if let Ok(worked) = &outcome {
        tell(&client, worked).await?;
    }
    let _ = stop.send(());
    server.await??;
    outcome.map(|_| ())
}

/// What was sent and done.
struct Worked {
    accepted: usize,
    messages: usize,
    elapsed: Duration,
}

async fn feed(client: &Client, events: &Path) -> anyhow::Result<Worked> {
    let progress = send::progress();
    let started = Instant::now();
    let files = [events.to_owned()];
    // One connection keeps the order of the file.
    let sending = send::send_all(client, &files, 500, 1, &progress);
    let mut sending = std::pin::pin!(sending);
    let mut sent = None;
    let mut messages = 0;
    let mut last = (Instant::now(), 0);
    loop {
        tokio::select! {
            outcome = &mut sending, if sent.is_none() => {
                let (summary, error) = outcome;
                if let Some(error) = error {
                    return Err(error);
                }
                sent = Some(summary);
            }
            () = tokio::time::sleep(POLL) => {}
        }
        let handled = work(client).await?;
        messages += handled;
        let done = client.get::<Value>(&["accounts"], &[]).await?;
        let mark = hash(&done);
        if handled > 0 || mark != last.1 || sent.is_none() {
            last = (Instant::now(), mark);
        }
        if let Some(summary) = sent
            && (last.0.elapsed() > QUIET || started.elapsed() > EXAMPLE_MAX)
        {
            progress.finish_and_clear();
            let elapsed = last.0.duration_since(started);
            return Ok(Worked { accepted: summary.accepted, messages, elapsed });
        }
    }
}

fn hash(value: &Value) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

/// Takes what is in the queues and does it, which is easy here. Returns how much it was.
async fn work(client: &Client) -> anyhow::Result<usize> {
    let status: Value = client.get(&["queues"], &[]).await?;
    let mut count = 0;
    for queue in status["queues"].as_array().into_iter().flatten() {
        let Some(name) = queue["type"].as_str() else { continue };
        if queue["ready"].as_u64() == Some(0) {
            continue;
        }
        let take = json!({ "max": 1000, "wait_ms": 0 });
        let lease: Value = client.post(&["queues", name, "lease"], &take).await?;
        let taken = lease["messages"].as_array().map_or(0, Vec::len);
        if taken > 0 {
            let acknowledge = json!({ "lease": lease["lease"] });
            let path = ["queues", name, "acknowledge"];
            client.post::<Value>(&path, &acknowledge).await?;
            count += taken;
        }
    }
    Ok(count)
}

async fn tell(client: &Client, worked: &Worked) -> anyhow::Result<()> {
    let seconds = worked.elapsed.as_secs_f64().max(0.001);
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = worked.accepted as f64 / seconds;
    output::line(&format!(
        "{} events in {seconds:.1} s ({rate:.0} events/s), {} messages taken by workers",
        output::grouped(worked.accepted as u64),
        output::grouped(worked.messages as u64),
    ));
    let plugins: Value = client.get(&["plugins"], &[]).await?;
    for plugin in plugins["plugins"].as_array().into_iter().flatten() {
        let counts = plugin["instances"].as_object().into_iter().flatten();
        let counts: Vec<_> = counts.map(|(status, count)| format!("{count} {status}")).collect();
        if let (Some(name), false) = (plugin["name"].as_str(), counts.is_empty()) {
            output::line(&format!("{name}: instances {}", counts.join(", ")));
        }
    }
    let accounts: Value = client.get(&["accounts"], &[]).await?;
    output::line(&lists::accounts(&accounts));
    Ok(())
}

fn examples(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut examples = directories(directory)?;
    examples.retain(|example| example.join("events.ndjson").exists());
    anyhow::ensure!(
        !examples.is_empty(),
        "there is no example with an events.ndjson in {}; run this in the repository, or say --examples",
        directory.display()
    );
    Ok(examples)
}

fn directories(parent: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(parent).with_context(|| format!("read {}", parent.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// A path at which no database of an earlier run lies.
fn fresh(database: &Path) -> anyhow::Result<PathBuf> {
    for suffix in ["", "-wal", "-shm"] {
        let path = PathBuf::from(format!("{}{suffix}", database.display()));
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(database.to_owned())
}
