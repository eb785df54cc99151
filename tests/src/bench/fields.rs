//! The scenario `fields`: what it costs that a process manager declares fields. Two hosts serve the
//! same component in turns; it declares none in the one, and three (two numbers and a text) in the
//! other. Each decision writes an instance's state, and with it its fields.

use anyhow::Result;
use serde_json::{Value, json};

use super::load::Target;
use super::process::Usage;
use super::report::{Spread, compared, micros_each, rate};
use super::settings::Settings;
use super::shapes::Shape;
use super::throughput::{self, WARM_UP};
use crate::events::event;
use crate::host::Host;
use crate::hot::marked;

const STEPS: Shape = Shape { plugin: "hot", queues: &["Stepped"], has_state: true, event: step };

const WAYS: [(&str, &str); 2] = [("no fields", ""), ("three fields", "fields@")];

/// Every instance takes two events, so each second one changes fields that are there.
fn step(run: &str, n: usize) -> Value {
    event(&format!("{run}-{n}"), "step", &format!("{run}-{}", n / 2), &json!({}))
}

/// # Errors
/// If a run fails.
pub async fn measure(settings: &Settings) -> Result<String> {
    let start = |special| Host::builder().file("hot.wasm", marked(1, 1, "all", special)).start();
    let mut hosts = [start(WAYS[0].1).await, start(WAYS[1].1).await];
    for host in &hosts {
        throughput::run(Target::of(host), STEPS, "warm", WARM_UP, settings).await?;
    }
    let mut rates = WAYS.map(|_| Spread::default());
    let mut cpu = WAYS.map(|_| Spread::default());
    for round in 0..settings.rounds {
        for (at, host) in hosts.iter().enumerate() {
            let before = Usage::of(host.process())?;
            let name = format!("r{round}");
            let outcome =
                throughput::run(Target::of(host), STEPS, &name, settings.events, settings).await?;
            rates[at].push(rate(settings.events, outcome.elapsed));
            let spent = Usage::of(host.process())?.since(&before).cpu;
            cpu[at].push(micros_each(spent, settings.events).parse()?);
        }
    }
    for host in &mut hosts {
        host.client().assert_no_dead_letters().await;
        host.stop().await;
    }
    let rows = WAYS.iter().zip(&rates).zip(&cpu);
    let rows =
        rows.map(|(((name, _), rates), cpu)| (*name, rates, [format!("{:.1}", cpu.median())]));
    Ok(compared(["CPU µs/event"], rows))
}
