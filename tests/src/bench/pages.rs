//! The scenario `pages`: how long pages and lists take on a store with many instances, timers and
//! dead letters, and what open pages cost the host.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::flat;
use super::http::{Connection, get};
use super::load::{self, Load, Target};
use super::report::{Spread, compared, micros_each, millis, percentile, rate, table};
use super::settings::Settings;
use super::shapes::{PROCESS_MANAGER, Shape, batches};
use super::throughput::{self, WARM_UP};
use crate::bench::process::Usage;
use crate::events::event;
use crate::host::Host;
use crate::hot::marked;

/// A process manager with three fields.
const STEPS: Shape = Shape { plugin: "hot", queues: &["Stepped"], has_state: true, event: step };
/// One in so many instances has fields.
const WITH_FIELDS: usize = 4;
/// Events that are made at once: their requests must fit into memory.
const STEP: usize = 100_000;
/// Without a further dead letter for this long, the run has failed.
const STALLED: Duration = Duration::from_mins(1);
/// Pages that are open at a time, each with a stream.
const OPEN: [&str; 10] = [
    "/overview/live",
    "/queues/live?",
    "/timers/live?",
    "/pauses/live",
    "/plugins/live",
    "/plugin/live?plugin=group-checkout",
    "/dead-letters/live",
    "/topology/live",
    "/overview/live",
    "/queues/live?",
];

/// What is asked for: a name, and the address.
const ASKED: [(&str, &str); 44] = [
    ("page: overview", "/overview"),
    ("page: instances, all", "/instances?plugin=group-checkout"),
    ("page: instances, running", "/instances?plugin=group-checkout&status=running"),
    ("page: instances, completed", "/instances?plugin=group-checkout&status=completed"),
    ("page: instances, ended (none)", "/instances?plugin=group-checkout&status=ended"),
    (
        "page: instances, running and older than 1 s",
        "/instances?plugin=group-checkout&status=running&started_before=1s",
    ),
    (
        "page: instances, idle for 30 d (none)",
        "/instances?plugin=group-checkout&updated_before=30d",
    ),
    (
        "page: instances, active in the last 1 s",
        "/instances?plugin=group-checkout&updated_after=1s",
    ),
    ("page: instances, by a field", "/instances?plugin=hot&order=-key"),
    ("page: instances, a field is", "/instances?plugin=hot&where=key+%3D+%22fields-77%22"),
    (
        "page: instances, a range in the order of a field",
        "/instances?plugin=hot&order=key&where=key+%3E+%22fields-9%22",
    ),
    ("page: instances, no field matches", "/instances?plugin=hot&where=count+%3E+7"),
    ("page: instance, running", "/instance?plugin=group-checkout&key=fill-1"),
    ("page: instance, completed", "/instance?plugin=group-checkout&key=fill-0"),
    ("page: search, a key", "/search?text=fields-77"),
    ("page: search, an event", "/search?text=fill-77-initiated"),
    ("page: search, nothing", "/search?text=none"),
    ("page: event", "/event?position=77"),
    ("page: dead letters", "/dead-letters"),
    ("page: dead letters, list", "/dead-letters/list?plugin=hostile&status=open"),
    ("page: dead letters, of a key", "/dead-letters/list?plugin=hostile&key=dead-77"),
    (
        "page: dead letters, by reason (none)",
        "/dead-letters/list?plugin=hostile&reason_contains=nothing+like+this",
    ),
    ("page: dead letter", "/dead-letters/77"),
    ("page: plugins", "/plugins"),
    ("page: plugin", "/plugin?plugin=group-checkout"),
    ("page: topology", "/topology"),
    ("page: queues and sinks", "/queues"),
    ("page: pauses and limits", "/pauses"),
    ("page: timers", "/timers"),
    ("page: timers, of an instance", "/timers?plugin=group-checkout&key=fill-1"),
    ("page: timers, overdue", "/timers?due_before=0s"),
    ("page: timers, of a plugin", "/timers?plugin=group-checkout"),
    ("page: audit log", "/audit"),
    ("api: instances, running, 100", "/v1/instances?plugin=group-checkout&status=running"),
    (
        "api: instances, running, 1000",
        "/v1/instances?plugin=group-checkout&status=running&limit=1000",
    ),
    ("api: instances, count", "/v1/instances/count?plugin=group-checkout"),
    ("api: instances, export 100", "/v1/instances/export?plugin=group-checkout&limit=100"),
    ("api: dead letters", "/v1/dead-letters?plugin=hostile"),
    ("api: causes of dead letters", "/v1/dead-letters/causes"),
    ("api: accounts", "/v1/accounts"),
    ("api: plugins", "/v1/plugins"),
    ("api: sinks", "/v1/sinks"),
    ("api: timers", "/v1/timers"),
    ("metrics", "/metrics"),
];

fn step(run: &str, n: usize) -> Value {
    event(&format!("{run}-{n}"), "step", &format!("{run}-{n}"), &json!({}))
}

fn dead(n: usize) -> Value {
    event(&format!("dead-{n}"), "attack", &format!("dead-{n}"), &json!("is not known"))
}

/// # Errors
/// If a run fails, or a page is refused.
pub async fn measure(settings: &Settings) -> Result<String> {
    let mut host = Host::builder()
        .plugin(PROCESS_MANAGER.plugin)
        .plugin("hostile")
        .file("hot.wasm", marked(1, 1, "all", "fields@"))
        .start()
        .await;
    let filling = Instant::now();
    fill(&host, settings).await?;
    let filling = filling.elapsed();
    let mut text = asked(Target::of(&host).address, settings).await?;
    text.push_str(&format!(
        "\n{} instances of one process manager, of which every second is completed and the others \
         have a timer each; {} of another, with three fields each; {} dead letters; filled through \
         HTTP in {:.0} s. Each was asked for {} times, one after another, on a host with nothing \
         else to do.\n\n",
        settings.listed,
        settings.listed / WITH_FIELDS,
        settings.dead_letters,
        filling.as_secs_f64(),
        settings.asks,
    ));
    text.push_str(&beside_open_pages(&host, settings).await?);
    host.stop().await;
    Ok(text)
}

/// Through the host itself: what it writes then is what it writes in production.
async fn fill(host: &Host, settings: &Settings) -> Result<()> {
    let target = Target::of(host);
    flat::start_instances(target, "fill", 0..settings.listed, settings).await?;
    for first in (0..settings.listed).step_by(STEP) {
        let these = (first..settings.listed.min(first + STEP)).step_by(2);
        let count = these.len();
        flat::end_instances(target, "fill", these, count, settings).await?;
    }
    let with_fields = settings.listed / WITH_FIELDS;
    for first in (0..with_fields).step_by(STEP) {
        let these = first..with_fields.min(first + STEP);
        let load = Load {
            messages: these.len(),
            requests: batches(these.map(|n| step("fields", n)), settings.batch),
            connections: settings.connections,
            queues: STEPS.queues,
            workers: settings.workers,
        };
        load::run(target, load).await?;
    }
    let mut connection = Connection::open(target.address).await?;
    for request in batches((0..settings.dead_letters).map(dead), settings.batch) {
        load::offer(&mut connection, &request).await?;
    }
    wait_for_dead_letters(&mut connection, settings.dead_letters).await
}

async fn wait_for_dead_letters(connection: &mut Connection, expected: usize) -> Result<()> {
    let mut seen = (0, Instant::now());
    loop {
        let answer = connection.call(&get("/v1/accounts")).await?;
        let accounts: Value = serde_json::from_slice(answer.body).context("the accounts")?;
        let plugins = accounts["plugins"].as_array().context("the accounts of the plugins")?;
        let hostile = plugins.iter().find(|account| account["plugin"] == "hostile");
        let dead = hostile.and_then(|account| account["dead"].as_u64()).unwrap_or_default();
        if dead == expected as u64 {
            return Ok(());
        }
        if dead != seen.0 {
            seen = (dead, Instant::now());
        }
        ensure!(seen.1.elapsed() < STALLED, "stalled: {dead} of {expected} dead letters came");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Asks for everything, one after another, and for the next in turn: no page is asked for again while
/// its rows are the last that were read.
async fn asked(address: SocketAddr, settings: &Settings) -> Result<String> {
    let mut connection = Connection::open(address).await?;
    let mut taken = ASKED.map(|_| (Vec::with_capacity(settings.asks), 0));
    for _ in 0..settings.asks {
        for ((name, path), (times, bytes)) in ASKED.iter().zip(&mut taken) {
            let start = Instant::now();
            let answer = connection.call(&get(path)).await.with_context(|| (*name).to_owned())?;
            times.push(start.elapsed());
            // A search that finds one thing leads to it.
            ensure!([200, 303].contains(&answer.status), "{name}: {} {path}", answer.status);
            *bytes = answer.body.len();
        }
    }
    let rows = ASKED.iter().zip(&mut taken).map(|((name, _), (times, bytes))| {
        let mut row = vec![(*name).to_owned()];
        row.extend([500, 950, 1000].map(|at| millis(percentile(times, at))));
        row.push(bytes.to_string());
        row
    });
    let rows: Vec<_> = rows.collect();
    Ok(table(&["asked for", "p50 ms", "p95 ms", "longest ms", "bytes"], &rows))
}

/// The throughput of a process manager with no page open, and with ten, in turns.
async fn beside_open_pages(host: &Host, settings: &Settings) -> Result<String> {
    const WAYS: [&str; 2] = ["no page open", "ten pages open"];
    let target = Target::of(host);
    throughput::run(target, PROCESS_MANAGER, "warm", WARM_UP, settings).await?;
    let mut rates = WAYS.map(|_| Spread::default());
    let mut cpu = WAYS.map(|_| Spread::default());
    for round in 0..settings.rounds {
        for at in 0..WAYS.len() {
            let open = (at == 1).then(|| Open::at(target.address));
            let before = Usage::of(host.process())?;
            let name = format!("open{at}-{round}");
            let outcome =
                throughput::run(target, PROCESS_MANAGER, &name, settings.events, settings).await?;
            rates[at].push(rate(settings.events, outcome.elapsed));
            let spent = Usage::of(host.process())?.since(&before).cpu;
            cpu[at].push(micros_each(spent, settings.events).parse()?);
            if let Some(open) = open {
                open.close().await?;
            }
        }
    }
    let rows = WAYS.iter().zip(&rates).zip(&cpu);
    let rows = rows.map(|((name, rates), cpu)| (*name, rates, [format!("{:.1}", cpu.median())]));
    Ok(compared(["CPU µs/event"], rows))
}

/// Pages that are open.
struct Open(JoinSet<Result<()>>);

impl Open {
    fn at(address: SocketAddr) -> Self {
        Self(OPEN.into_iter().map(|path| follow(address, path)).collect())
    }

    /// # Errors
    /// If a stream was refused, or broke.
    async fn close(mut self) -> Result<()> {
        while let Some(ended) = self.0.try_join_next() {
            ended.context("an open page")??;
        }
        self.0.shutdown().await;
        Ok(())
    }
}

/// Reads a stream, and opens it again when it ends, as a browser does.
async fn follow(address: SocketAddr, path: &'static str) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let mut stream = TcpStream::connect(address).await.context(path)?;
        stream.write_all(&get(path)).await.context(path)?;
        let count = stream.read(&mut buffer).await.context(path)?;
        let is_there = buffer[..count].starts_with(b"HTTP/1.1 200");
        ensure!(is_there, "{path}: {}", String::from_utf8_lossy(&buffer[..count]));
        while stream.read(&mut buffer).await.context(path)? > 0 {}
    }
}
