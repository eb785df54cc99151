//! The scenario `versions`: two binaries of Sagabox under the same load, in turns. The machine's
//! speed changes from minute to minute, so only what was measured in turns can be compared. The
//! CPU time per event depends least on what else the machine does.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::latency::one_by_one;
use super::load::{self, Load, Target};
use super::process::Usage;
use super::report::{Spread, micros_each, rate, table};
use super::settings::Settings;
use super::shapes::{PROCESS_MANAGER, SAGA, Shape};
use super::throughput::{self, WARM_UP};
use crate::host::{Builder, Host};
use crate::paths;

/// The other binary.
const VARIABLE: &str = "SAGABOX_BESIDE";
const WARM_UP_ONE: usize = 50;

#[derive(Clone, Copy)]
enum Kind {
    OneByOne,
    Senders,
    Batches(Shape),
}

/// What is measured: its name, the plugin, and the load.
const LOADS: [(&str, &str, Kind); 4] = [
    ("one sender, p50 µs", SAGA.plugin, Kind::OneByOne),
    ("many senders, events/s", SAGA.plugin, Kind::Senders),
    ("batches of a saga, events/s", SAGA.plugin, Kind::Batches(SAGA)),
    (
        "batches of a process manager, events/s",
        PROCESS_MANAGER.plugin,
        Kind::Batches(PROCESS_MANAGER),
    ),
];

#[derive(Default)]
struct Measured {
    figures: Spread,
    cpu: Spread,
}

/// # Errors
/// If no other binary is named, or a run fails.
pub async fn measure(settings: &Settings) -> Result<String> {
    let beside = std::env::var_os(VARIABLE).map(PathBuf::from);
    let beside = beside.with_context(|| format!("{VARIABLE} must name another binary"))?;
    let start = |plugin: &str| {
        [paths::binary(), beside.clone()]
            .map(|binary| Host::builder().binary(binary).plugin(plugin))
    };
    self::beside(["this", "the other", "this is"], start, settings).await
}

/// Measures two hosts in turns. `names` are those of the two, and of the ratio.
///
/// # Errors
/// If a run fails.
pub async fn beside(
    names: [&str; 3],
    start: impl Fn(&str) -> [Builder; 2],
    settings: &Settings,
) -> Result<String> {
    let mut rows = Vec::new();
    for (name, plugin, kind) in LOADS {
        let [first, second] = start(plugin);
        let mut hosts = [first.start().await, second.start().await];
        let mut measured = [Measured::default(), Measured::default()];
        let (mut figures, mut cpu) = (Spread::default(), Spread::default());
        for host in &hosts {
            run(Target::of(host), kind, "warm", settings).await?;
        }
        for round in 0..settings.rounds {
            let mut pair = [(0.0, 0.0); 2];
            for (at, host) in hosts.iter().enumerate() {
                let run = format!("r{round}");
                let (figure, micros) = one(Target::of(host), kind, &run, settings).await?;
                measured[at].figures.push(figure);
                measured[at].cpu.push(micros);
                pair[at] = (figure, micros);
            }
            figures.push(pair[0].0 / pair[1].0);
            cpu.push(pair[0].1 / pair[1].1);
        }
        for host in &mut hosts {
            host.stop().await;
        }
        rows.push(row(name, measured.each_ref().map(|m| &m.figures), &figures));
        rows.push(row("  CPU µs/event", measured.each_ref().map(|m| &m.cpu), &cpu));
    }
    let header = ["", names[0], names[1], names[2], "lowest", "highest"];
    Ok(table(&header, &rows))
}

/// Medians, and the median, lowest and highest of the rounds' ratios.
fn row(name: &str, figures: [&Spread; 2], ratios: &Spread) -> Vec<String> {
    let [ours, other] = figures.map(|figures| format!("{:.1}", figures.median()));
    let ratios = [ratios.median(), ratios.lowest(), ratios.highest()];
    let ratios = ratios.map(|ratio| format!("{ratio:.3} x"));
    [name.to_owned(), ours, other].into_iter().chain(ratios).collect()
}

/// The figure and the host's CPU time for each event.
async fn one(target: Target, kind: Kind, name: &str, settings: &Settings) -> Result<(f64, f64)> {
    let before = Usage::of(target.process)?;
    let (figure, events) = run(target, kind, name, settings).await?;
    let cpu = Usage::of(target.process)?.since(&before).cpu;
    Ok((figure, micros_each(cpu, events).parse()?))
}

async fn run(target: Target, kind: Kind, name: &str, settings: &Settings) -> Result<(f64, usize)> {
    let is_warm_up = name == "warm";
    match kind {
        Kind::OneByOne => {
            let count = if is_warm_up { WARM_UP_ONE } else { settings.samples };
            let mut latencies = one_by_one(target, name, count).await?;
            Ok((micros(super::report::percentile(&mut latencies, 500)), count))
        }
        Kind::Senders => {
            let events = if is_warm_up { WARM_UP } else { settings.sender_events };
            let load = Load {
                requests: SAGA.singles(name, events),
                connections: settings.senders,
                queues: SAGA.queues,
                workers: settings.workers,
                messages: events,
            };
            Ok((rate(events, load::run(target, load).await?.elapsed), events))
        }
        Kind::Batches(shape) => {
            let events = if is_warm_up { WARM_UP } else { settings.events };
            let outcome = throughput::run(target, shape, name, events, settings).await?;
            Ok((rate(events, outcome.elapsed), events))
        }
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
