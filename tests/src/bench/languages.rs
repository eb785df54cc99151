//! The scenario `languages`: the same saga in every language, beside each other: what its component
//! costs, and how many events go through a host; and the memory of a host that serves a plugin of
//! each language.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::load::{self, Load, Target};
use super::process;
use super::report::{Spread, mebibytes, rate, rate_cells, table};
use super::settings::Settings;
use super::shapes::{SAGA, batches};
use super::throughput::{self, WARM_UP};
use crate::command::{Ended, sagabox_with};
use crate::events::event;
use crate::host::{Builder, Host};
use crate::paths;

/// The plugin in Rust is built with the others of the repository.
const RUST: &str = "rust";
/// The folders of the example, in the order of the table.
const LANGUAGES: [&str; 6] = [RUST, "c", "cpp", "typescript", "go", "python"];
/// Four plugins in as many languages, each of which takes the events of the one before it. The
/// saga in Rust serves beside them.
const TOGETHER: [&str; 4] = ["typescript", "python", "go", "c"];
const COMMANDS_TOGETHER: &[&str] = &["CloseOrder"];

/// # Errors
/// If a plugin cannot be built, or a run fails.
pub async fn measure(settings: &Settings) -> Result<String> {
    let scratch = TempDir::new()?;
    let mut rows = Vec::new();
    for language in LANGUAGES {
        eprintln!("languages: {language}");
        let component = component(scratch.path(), language)?;
        let costs = costs(scratch.path(), &component)?;
        let rates = rates(&component, settings).await?;
        rows.push(row(language, &costs, &rates)?);
    }
    let header = [
        "order-saga in",
        "component KiB",
        "load, compiled now ms",
        "load, from the cache ms",
        "memory of an instance KiB",
        "call, used instance µs",
        "call, fresh instance µs",
        "events/s through a host",
        "slowest",
        "fastest",
    ];
    let mut text = table(&header, &rows);
    text.push('\n');
    eprintln!("languages: all together");
    text.push_str(&together(scratch.path(), settings).await?);
    Ok(text)
}

fn run(folder: &Path, arguments: &[&str]) -> Result<Ended> {
    let ended = sagabox_with(folder, arguments, &[]);
    ensure!(ended.code == 0, "sagabox {}: {}", arguments.join(" "), ended.error);
    Ok(ended)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

fn component(folder: &Path, language: &str) -> Result<PathBuf> {
    match language {
        RUST => Ok(paths::plugin(SAGA.plugin)),
        _ => {
            let source = paths::repository().join("examples/languages/order-saga").join(language);
            build(folder, &source, &paths::target().join("languages/order-saga").join(language))
        }
    }
}

fn build(folder: &Path, source: &Path, out: &Path) -> Result<PathBuf> {
    let target = paths::target().join("plugins-build");
    let target = text(&target)?;
    let arguments = ["build", text(source)?, "--out", text(out)?, "--target", target, "--json"];
    let built = run(folder, &arguments)?.json();
    let component = built["built"][0]["component"].as_str().context("the path of a component")?;
    Ok(PathBuf::from(component))
}

/// What `sagabox test` measures of a component. Afterwards its compiled code is in the cache.
fn costs(folder: &Path, component: &Path) -> Result<Value> {
    let scenarios = paths::repository().join("plugins/order-saga/scenarios");
    let arguments =
        ["test", text(component)?, "--scenarios", text(&scenarios)?, "--costs", "--json"];
    Ok(run(folder, &arguments)?.json()["costs"][0].clone())
}

/// A host that takes compiled components from the cache, so that it starts in no time.
fn host() -> Result<Builder> {
    Ok(Host::builder().variable("SAGABOX_CACHE", text(&paths::cache())?))
}

async fn rates(component: &Path, settings: &Settings) -> Result<Spread> {
    let bytes = std::fs::read(component)?;
    let mut host = host()?.file("order-saga.wasm", bytes).start().await;
    let target = Target::of(&host);
    throughput::run(target, SAGA, "warm", WARM_UP, settings).await?;
    let mut rates = Spread::default();
    for round in 0..settings.rounds {
        let name = format!("r{round}");
        let outcome = throughput::run(target, SAGA, &name, settings.events, settings).await?;
        rates.push(rate(settings.events, outcome.elapsed));
    }
    host.client().assert_no_dead_letters().await;
    host.stop().await;
    Ok(rates)
}

fn row(language: &str, costs: &Value, rates: &Spread) -> Result<Vec<String>> {
    let number = |name: &str| costs[name].as_f64().with_context(|| format!("{name} in {costs}"));
    let mut row = vec![language.to_owned()];
    row.push(format!("{:.0}", number("component_bytes")? / 1_024.0));
    row.push(format!("{:.0}", number("load_us")? / 1_000.0));
    row.push(format!("{:.1}", number("load_cached_us")? / 1_000.0));
    row.push(format!("{:.0}", number("instance_bytes")? / 1_024.0));
    row.push(format!("{:.1}", number("call_used_us")?));
    row.push(format!("{:.0}", number("call_fresh_us")?));
    row.extend(rate_cells(rates));
    Ok(row)
}

/// A host with a plugin of each language, and events that all of them handle.
async fn together(folder: &Path, settings: &Settings) -> Result<String> {
    let mut builder = host()?.plugin(SAGA.plugin);
    for language in TOGETHER {
        let source = paths::repository().join("tests/choreography").join(language);
        let out = paths::target().join("languages/choreography").join(language);
        let component = build(folder, &source, &out)?;
        // Compiles it, so that the host takes it from the cache.
        run(folder, &["check", text(&component)?])?;
        builder = builder.file(&format!("{language}.wasm"), std::fs::read(component)?);
    }
    let mut host = builder.start().await;
    let (started, _) = process::memory(host.process())?;
    let target = Target::of(&host);
    throughput::run(target, SAGA, "saga", settings.events, settings).await?;
    let outcome = load::run(target, orders(settings)).await?;
    let (now, highest) = process::memory(host.process())?;
    host.client().assert_no_dead_letters().await;
    host.stop().await;
    let mut header = vec!["host with a plugin in each of five languages"];
    header.extend(["started MiB", "after the events MiB", "highest MiB", "orders/s through four"]);
    let through = format!("{:.0}", rate(settings.events, outcome.elapsed));
    let cells = [mebibytes(started), mebibytes(now), mebibytes(highest), through];
    let row = std::iter::once("resident memory".to_owned()).chain(cells).collect();
    Ok(table(&header, &[row]))
}

/// Orders that are priced, packed, shipped and closed, each in another language.
fn orders(settings: &Settings) -> Load {
    let order = |n: usize| {
        let id = format!("order-{n}");
        event(
            &format!("placed-{n}"),
            "OrderPlaced",
            &id,
            &json!({"orderId": id, "quantity": n % 20 + 1}),
        )
    };
    Load {
        requests: batches((0..settings.events).map(order), settings.batch),
        connections: settings.connections,
        queues: COMMANDS_TOGETHER,
        workers: settings.workers,
        messages: settings.events,
    }
}
