//! The scenario `candidates`: what a shadow costs the version beside which it decides, and
//! how much of what is then on record a replay decides again in a second.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::load::Target;
use super::report::{Spread, compared, rate, table};
use super::settings::Settings;
use super::shapes::{PROCESS_MANAGER, SAGA, Shape};
use super::throughput::{self, WARM_UP};
use crate::command::sagabox;
use crate::host::Host;
use crate::{paths, wait};

/// A custom section named `note`, empty: the same component as another file.
const NOTE: [u8; 7] = [0, 5, 4, b'n', b'o', b't', b'e'];

/// # Errors
/// If a run fails, or the component decides otherwise than itself.
pub async fn measure(settings: &Settings) -> Result<String> {
    let mut text = String::new();
    let mut replays = Vec::new();
    for shape in [SAGA, PROCESS_MANAGER] {
        let (shadow, replay) = of_shape(shape, settings).await?;
        text.push_str(&shadow);
        text.push('\n');
        replays.push(replay);
    }
    let header = ["replay of everything on record", "decisions", "decisions/s"];
    text.push_str(&table(&header, &replays));
    Ok(text)
}

async fn of_shape(shape: Shape, settings: &Settings) -> Result<(String, Vec<String>)> {
    let mut host = Host::builder().plugin(shape.plugin).start().await;
    let target = Target::of(&host);
    throughput::run(target, shape, "warm", WARM_UP, settings).await?;
    let mut rates = [Spread::default(), Spread::default()];
    let (mut compared_with, mut skipped) = (0, 0);
    for round in 0..settings.rounds {
        for (rates, is_observed) in rates.iter_mut().zip([false, true]) {
            if is_observed {
                observe(&host, shape).await?;
            }
            let name = format!("r{round}-{is_observed}");
            let outcome = throughput::run(target, shape, &name, settings.events, settings).await?;
            rates.push(rate(settings.events, outcome.elapsed));
            if is_observed {
                let seen = shadow(&host, settings.events as u64).await;
                ensure!(seen["differing"] == 0, "it differs from itself: {seen}");
                compared_with += seen["calls"].as_u64().context("a count")?;
                skipped += seen["skipped"].as_u64().context("a count")?;
                std::fs::remove_file(host.plugins().join("candidates/shadow.wasm"))?;
                wait_for(&host, "the shadow ends", |candidate| candidate.is_none()).await;
            }
        }
    }
    host.client().assert_no_dead_letters().await;
    host.stop().await;
    let [alone, observed] = &rates;
    let cells = |compared: u64, skipped: u64| [compared.to_string(), skipped.to_string()];
    let rows = [
        (shape.plugin, alone, cells(0, 0)),
        ("beside its shadow", observed, cells(compared_with, skipped)),
    ];
    Ok((compared(["decisions compared", "skipped"], rows), replay(&host, shape)?))
}

async fn observe(host: &Host, shape: Shape) -> Result<()> {
    let mut bytes = std::fs::read(paths::plugin(shape.plugin))?;
    bytes.extend(NOTE);
    let folder = host.plugins().join("candidates");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("shadow.wasm"), bytes)?;
    wait_for(host, "the shadow begins", |candidate| candidate.is_some()).await;
    Ok(())
}

/// What the shadow has counted, when it has seen so many decisions.
async fn shadow(host: &Host, decisions: u64) -> Value {
    let all = |candidate: Option<&Value>| {
        let count = |name: &str| candidate.and_then(|c| c[name].as_u64()).unwrap_or_default();
        count("calls") + count("skipped") >= decisions
    };
    wait_for(host, "the shadow has seen all", all).await.unwrap_or_default()
}

async fn wait_for(host: &Host, what: &str, is: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
    let client = host.client();
    wait::until(what, wait::LONG, async || {
        let all = client.get("/plugins").await?;
        let candidate = all["candidates"].get(0);
        if is(candidate) { Ok(candidate.cloned()) } else { Err(all.to_string()) }
    })
    .await
}

fn replay(host: &Host, shape: Shape) -> Result<Vec<String>> {
    let (component, store) = (paths::plugin(shape.plugin), host.store());
    let text = |path: &std::path::Path| path.to_str().map(str::to_owned).context("a path");
    let (component, store) = (text(&component)?, text(&store)?);
    let start = Instant::now();
    let ended = sagabox(host.folder(), &["replay", &component, "--store", &store, "--json"]);
    let elapsed = start.elapsed();
    let outcome = &ended.with(0).json()["plugins"][0];
    let alike = outcome["alike"].as_u64().context("a count")?;
    ensure!(outcome["skipped"] == serde_json::json!({}), "not all is replayed: {outcome}");
    let each_second = rate(usize::try_from(alike)?, elapsed);
    Ok(vec![shape.plugin.to_owned(), alike.to_string(), format!("{each_second:.0}")])
}
