//! The scenario `looping`: what a plugin that now and then spins to its limit does to
//! the others. A good plugin gets events at a fixed rate, beside a hostile one, with
//! and without one in a hundred of the latter's calls never returning by itself.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::http::{Connection, post};
use super::latency::{self, Percentiles, Steady};
use super::load::{Target, offer};
use super::report::table;
use super::settings::Settings;
use super::shapes::{EVENTS, SAGA};
use crate::client::STRUCTURED;
use crate::events::event;
use crate::host::Host;

/// The hostile plugin gets one event for so many of the good one's.
const GOOD_EVENTS_EACH: usize = 5;
const CALLS_EACH_LOOP: usize = 100;

/// # Errors
/// If a run fails.
pub async fn measure(settings: &Settings) -> Result<String> {
    let limit = format!("[plugin.hostile.limits]\ncall_time_ms = {}\n", settings.loop_ms);
    let mut host =
        Host::builder().plugin(SAGA.plugin).plugin("hostile").configuration(limit).start().await;
    let target = Target::of(&host);
    run(target, "warm", settings.rate, false, settings).await?;
    let mut measured = [Steady::default(), Steady::default()];
    for round in 0..settings.rounds {
        for (measured, loops) in measured.iter_mut().zip([false, true]) {
            let name = format!("r{round}-{loops}");
            let count = settings.rate * settings.seconds;
            let one = run(target, &name, count, loops, settings).await?;
            measured.answered.extend(one.answered);
            measured.leased.extend(one.leased);
        }
    }
    let stopped = host.client().dead_letters().await.map_err(anyhow::Error::msg)?.len();
    host.stop().await;
    ensure!(stopped > 0, "nothing looped");
    let measured = measured
        .map(|mut run| [Percentiles::of(&mut run.answered), Percentiles::of(&mut run.leased)]);
    let mut rows = Vec::new();
    for (index, what) in ["202", "leased command"].iter().enumerate() {
        for (which, name) in ["nothing loops", "1 call in 100 loops"].iter().enumerate() {
            let [quiet, one] = [&measured[0][index], &measured[which][index]];
            rows.push(one.compared(format!("{name}: {what}"), quiet));
        }
    }
    let header = ["a good plugin's events, from when one was due to", "p50 ms", "p99 ms"];
    let header = [&header[..], &["longest ms", "p50 is", "p99 is"]].concat();
    Ok(table(&header, &rows))
}

/// The good plugin's latencies.
async fn run(
    target: Target,
    name: &str,
    count: usize,
    loops: bool,
    settings: &Settings,
) -> Result<Steady> {
    let hostile = attack(target, name, count / GOOD_EVENTS_EACH, loops, settings.rate);
    let (good, hostile) =
        tokio::join!(latency::scheduled(target, name, count, settings.rate), hostile);
    hostile?;
    good
}

/// Each event has a key of its own: what waits behind a dead letter would not be called.
async fn attack(target: Target, name: &str, count: usize, loops: bool, rate: usize) -> Result<()> {
    let mut connection = Connection::open(target.address).await?;
    let pause = Duration::from_secs(1) * u32::try_from(GOOD_EVENTS_EACH)? / u32::try_from(rate)?;
    let start = Instant::now();
    for n in 0..count {
        let due = start + pause * u32::try_from(n)?;
        tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
        let behaviour = if loops && n % CALLS_EACH_LOOP == 0 { "loop" } else { "behave" };
        let key = format!("{name}-{n}");
        let event = event(&format!("attack-{key}"), "attack", &key, &json!(behaviour));
        let request = post(EVENTS, STRUCTURED, event.to_string().as_bytes());
        offer(&mut connection, &request).await?;
    }
    Ok(())
}
