//! `sagabox demo`: runs the examples on a new host and shows the results.
//!
//! Every message goes to the host's own queues, from which simulated workers take it. So the
//! demo needs nothing outside of this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{build, output, send};
use crate::api::client::Client;
use crate::config::{Overrides, Settings};
use crate::host::Host;

/// An example is over when there was nothing to do for this long.
const QUIET: Duration = Duration::from_millis(600);
const POLL: Duration = Duration::from_millis(50);
/// The example of which a process is left to wait, after so many of its events.
const WAITS: &str = "group-checkout";
const WAITS_AFTER: usize = 1;
/// The longest that an example may take. One that takes longer waits for a timer.
const EXAMPLE_MAX: Duration = Duration::from_mins(2);

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Directory of the examples
    #[arg(long, default_value = "examples")]
    examples: PathBuf,
    /// Directory of built components [default: build the plugins in ./plugins]
    #[arg(long)]
    plugins: Option<PathBuf>,
    /// Directory for components and data; the demo replaces data of an earlier run
    #[arg(long, default_value = "target/demo")]
    out: PathBuf,
}

impl Demo {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let examples = examples(&self.examples)?;
        let plugins = if let Some(built) = self.plugins {
            built
        } else {
            let out = self.out.join("plugins");
            output::line("building the plugins (a minute the first time)");
            let sources = directories(Path::new("plugins"))?;
            build::build_all(sources, out.clone(), build::TARGET.into(), true).await?;
            out
        };
        std::fs::create_dir_all(&self.out)?;
        let mut missed = 0;
        for example in &examples {
            missed += usize::from(!play(example, &plugins, &self.out).await?);
        }
        anyhow::ensure!(missed == 0, "{missed} examples do not match their expected.json");
        if let Some(example) = examples.iter().find(|example| example.ends_with(WAITS)) {
            leave_waiting(example, &plugins, &self.out).await?;
        }
        output::line(&format!(
            "\nNext steps:\n  {}/*/README.md  explains each example\n  \
             sagabox run {}  runs a host\n  sagabox send {}/events.ndjson  sends events to it\n  \
             sagabox accounts  shows where all events and messages are",
            self.examples.display(),
            plugins.display(),
            examples[0].display(),
        ));
        Ok(())
    }
}

/// The expected results of an example, from its `expected.json`.
#[derive(Debug, Default, Deserialize)]
struct Expected {
    /// The plugins that the example needs; empty for all.
    #[serde(default)]
    plugins: Vec<String>,
    /// The number of instances, by plugin and status.
    #[serde(default)]
    instances: BTreeMap<String, BTreeMap<String, u64>>,
    /// The number of messages, by type.
    #[serde(default)]
    messages: BTreeMap<String, u64>,
    #[serde(default)]
    dead_letters: u64,
}

impl Expected {
    fn of(example: &Path) -> anyhow::Result<Self> {
        let path = example.join("expected.json");
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{}", path.display()))
    }

    /// Creates a folder with only the plugins of the example.
    fn select(&self, plugins: &Path, folder: PathBuf) -> anyhow::Result<PathBuf> {
        if self.plugins.is_empty() {
            return Ok(plugins.to_owned());
        }
        std::fs::create_dir_all(&folder)?;
        for name in &self.plugins {
            let file = format!("{name}.wasm");
            std::fs::copy(plugins.join(&file), folder.join(&file))
                .with_context(|| format!("copy {file} from {}", plugins.display()))?;
        }
        Ok(folder)
    }
}

/// Runs one example. True if its results are the expected ones.
async fn play(example: &Path, plugins: &Path, out: &Path) -> anyhow::Result<bool> {
    let name = example.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let expected = Expected::of(example)?;
    let plugins = &expected.select(plugins, out.join("examples").join(&name))?;
    let database = fresh(&out.join(format!("{name}.db")))?;
    output::line(&format!("\n── {name} ──"));
    let running = Running::start(example, plugins, &database).await?;
    let outcome = feed(&running.client, &example.join("events.ndjson")).await;
    let printed = match &outcome {
        Ok(worked) => print(&running.client, worked, &expected).await,
        Err(_) => Ok(false),
    };
    running.stop().await?;
    outcome?;
    printed
}

/// Leaves a store with a process that waits for its next event, and says how to look at it.
async fn leave_waiting(example: &Path, plugins: &Path, out: &Path) -> anyhow::Result<()> {
    let plugins = &Expected::of(example)?.select(plugins, out.join("examples").join(WAITS))?;
    let events = std::fs::read_to_string(example.join("events.ndjson"))?;
    let first: Vec<&str> = events.lines().take(WAITS_AFTER).collect();
    let file = out.join("waiting.ndjson");
    std::fs::write(&file, first.join("\n"))?;
    let database = fresh(&out.join("waiting.db"))?;
    let running = Running::start(example, plugins, &database).await?;
    let fed = feed(&running.client, &file).await;
    running.stop().await?;
    fed?;
    output::line(&format!(
        "\n── a process that waits ──\n  \
         sagabox run {} --store sqlite:{} --local-without-token\n  \
         serves pages at http://127.0.0.1:8321: open Instances there, and its only row\n  \
         says what the process waits for",
        plugins.display(),
        database.display()
    ));
    Ok(())
}

/// A host that runs an example, in this process.
struct Running {
    client: Client,
    stop: oneshot::Sender<()>,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(example: &Path, plugins: &Path, database: &Path) -> anyhow::Result<Self> {
        let config = Some(example.join(crate::config::FILE)).filter(|path| path.exists());
        let store = Some(format!("sqlite:{}", database.display()));
        let overrides = Overrides { store, ..Overrides::default() };
        let mut settings = Settings::load(config.as_deref(), overrides)?;
        // The services behind the example's sinks do not run here.
        settings.sinks.clear();
        settings.routes.clear();
        // Only this process knows the address.
        settings.access.local_without_token = true;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let host = Host::start(settings, plugins).await?;
        for refused in host.plugin_status.refused() {
            output::line(&format!("refused {}: {}", refused.file, refused.reason));
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(host.serve(listener, async { drop(stopped.await) }));
        Ok(Self { client: Client::new(&address, None, None)?, stop, server })
    }

    async fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        self.server.await?
    }
}

/// What was sent to the host, and what the workers did.
struct Worked {
    accepted: usize,
    messages: usize,
    elapsed: Duration,
}

async fn feed(client: &Client, events: &Path) -> anyhow::Result<Worked> {
    let progress = send::progress();
    let started = Instant::now();
    let files = [events.to_owned()];
    // With one connection, the events arrive in the order of the file.
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
        let done = client.get::<Value>("/accounts", &[]).await?;
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

/// Leases the messages of all queues and acknowledges them. Returns their number.
async fn work(client: &Client) -> anyhow::Result<usize> {
    let status: Value = client.get("/queues", &[]).await?;
    let mut count = 0;
    for queue in status["queues"].as_array().into_iter().flatten() {
        let Some(name) = queue["queue"].as_str() else { continue };
        if queue["ready"].as_u64() == Some(0) {
            continue;
        }
        let take = json!({ "queue": name, "max": 1000, "wait_ms": 0 });
        let lease: Value = client.post("/queues/lease", &take).await?;
        let taken = lease["messages"].as_array().map_or(0, Vec::len);
        if taken > 0 {
            let acknowledge = json!({ "queue": name, "lease": lease["lease"] });
            client.post::<Value>("/queues/acknowledge", &acknowledge).await?;
            count += taken;
        }
    }
    Ok(count)
}

/// Prints the results. True if they are the expected ones.
async fn print(client: &Client, worked: &Worked, expected: &Expected) -> anyhow::Result<bool> {
    let seconds = worked.elapsed.as_secs_f64();
    output::line(&format!(
        "  {} in, {} out, in {seconds:.1} s",
        output::counted(worked.accepted as u64, "event", "events"),
        output::counted(worked.messages as u64, "message", "messages"),
    ));
    let accounts: Value = client.get("/accounts", &[]).await?;
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let mut instances = BTreeMap::new();
    let plugins: Value = client.get("/plugins", &[]).await?;
    for plugin in plugins["plugins"].as_array().into_iter().flatten() {
        let name = plugin["name"].as_str().unwrap_or_default();
        let account = accounts["plugins"].as_array().into_iter().flatten();
        let account = account.into_iter().find(|account| account["plugin"] == name);
        let decided = account.map_or(0, |account| number(&account["handled"]));
        let counts: BTreeMap<String, u64> =
            serde_json::from_value(plugin["instances"].clone()).unwrap_or_default();
        let statuses: Vec<String> = counts.iter().map(|(s, n)| format!("{n} {s}")).collect();
        let processes = match statuses.is_empty() {
            true => String::new(),
            false => format!("; processes: {}", statuses.join(", ")),
        };
        output::line(&format!(
            "  {name} ({}): {}{processes}",
            plugin["role"].as_str().unwrap_or_default(),
            output::counted(decided, "decision", "decisions"),
        ));
        if !counts.is_empty() {
            instances.insert(name.to_owned(), counts);
        }
    }
    let mut messages = BTreeMap::new();
    for sink in accounts["sinks"].as_array().into_iter().flatten() {
        let name = sink["sink"].as_str().unwrap_or_default();
        let message_type = name.strip_prefix("queue:").unwrap_or(name);
        output::line(&format!("  → {message_type} × {}", number(&sink["delivered"])));
        messages.insert(message_type.to_owned(), number(&sink["delivered"]));
    }
    let dead =
        ["plugins", "sinks"].iter().flat_map(|of| accounts[*of].as_array().into_iter().flatten());
    let dead: u64 = dead.map(|account| number(&account["dead"])).sum();
    let balanced = accounts["balanced"] == true;
    let as_expected = instances == expected.instances
        && messages == expected.messages
        && dead == expected.dead_letters;
    output::line(&match (as_expected, balanced) {
        (true, true) => {
            "  ✓ as expected; no event is lost or duplicated: the accounts are balanced".to_owned()
        }
        (false, true) => format!("  ✗ expected: {expected:?}"),
        (_, false) => format!("  ✗ the accounts are not balanced: {accounts}"),
    });
    Ok(as_expected && balanced)
}

fn examples(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut examples = directories(directory)?;
    examples.retain(|example| example.join("events.ndjson").exists());
    anyhow::ensure!(
        !examples.is_empty(),
        "no example with an events.ndjson found in {}; run this command in the repository, or use --examples",
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

/// The path, after removing the database of an earlier run.
fn fresh(database: &Path) -> anyhow::Result<PathBuf> {
    for suffix in ["", "-wal", "-shm"] {
        let path = PathBuf::from(format!("{}{suffix}", database.display()));
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(database.to_owned())
}
