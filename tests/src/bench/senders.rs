//! The scenario `senders`: one event a request, from many senders at once.

use std::time::Duration;

use anyhow::Result;

use super::by_hand::{ByHand, Keeps};
use super::load::{self, Load, Target};
use super::process::{self, Usage};
use super::report::{Spread, compared, mebibytes, micros_each, millis, percentile, rate};
use super::settings::Settings;
use super::shapes::SAGA;
use super::throughput::WARM_UP;
use crate::host::Host;

#[derive(Default)]
struct Measured {
    rates: Spread,
    answered: Vec<Duration>,
    cpu: Duration,
    /// The most memory that was ever resident.
    highest_bytes: u64,
}

/// # Errors
/// If a run fails.
pub async fn measure(settings: &Settings) -> Result<String> {
    let mut host = Host::builder().plugin(SAGA.plugin).start().await;
    let [same, lean] = Keeps::ALL;
    let by_hand = [ByHand::start(same).await?, ByHand::start(lean).await?];
    let targets = [Target::of(&host), by_hand[0].target, by_hand[1].target];
    let mut measured = [Measured::default(), Measured::default(), Measured::default()];
    for target in targets {
        run(target, "warm", WARM_UP, settings).await?;
    }
    for round in 0..settings.rounds {
        for (measured, target) in measured.iter_mut().zip(targets) {
            let name = format!("r{round}");
            let before = Usage::of(target.process)?;
            let outcome = run(target, &name, settings.sender_events, settings).await?;
            measured.cpu += Usage::of(target.process)?.since(&before).cpu;
            measured.rates.push(rate(settings.sender_events, outcome.elapsed));
            measured.answered.extend(outcome.answered);
        }
    }
    for (measured, target) in measured.iter_mut().zip(targets) {
        measured.highest_bytes = process::memory(target.process)?.1;
    }
    host.client().assert_no_dead_letters().await;
    host.stop().await;
    let names = ["Sagabox", same.name(), lean.name()];
    let rows = names.into_iter().zip(&mut measured).map(|(name, measured)| {
        let cpu = micros_each(measured.cpu, measured.answered.len());
        let [p50, p99] = [500, 990].map(|at| millis(percentile(&mut measured.answered, at)));
        let highest = mebibytes(measured.highest_bytes);
        (name, &measured.rates, [cpu, highest, p50, p99])
    });
    Ok(compared(["CPU µs/event", "highest MiB", "202 p50 ms", "202 p99 ms"], rows))
}

async fn run(
    target: Target,
    name: &str,
    events: usize,
    settings: &Settings,
) -> Result<load::Outcome> {
    let load = Load {
        requests: SAGA.singles(name, events),
        connections: settings.senders,
        queues: SAGA.queues,
        workers: settings.workers,
        messages: events,
    };
    load::run(target, load).await
}
