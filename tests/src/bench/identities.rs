//! The scenario `identities`: what the identities of earlier events cost an event, whose own
//! must be looked for among them. A host that remembers a few million, beside one that
//! remembers many more.
//!
//! To send a quarter of a billion events would take hours. So the identities are written into
//! the store's tables while no host has it open, as the host itself would have left them
//! (`host/src/store/migrations`); the host makes the filters, which it finds missing.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use super::flat::restart;
use super::load::Target;
use super::process::{self, Usage};
use super::report::{Spread, compared, mebibytes, micros_each, rate, ratio};
use super::settings::Settings;
use super::shapes::SAGA;
use super::throughput;
use crate::host::Host;

/// What the host of the first row remembers: some ten generations.
const FEW: u64 = 2_000_000;
/// The host's own sizes.
const GENERATION: u64 = 200_000;
const BUCKET: u64 = 460;
const FAN_IN: u64 = 4;
const SEED: u64 = 17;

struct Measured {
    host: Host,
    identities: u64,
    start: Duration,
    rates: Spread,
    cpu: Duration,
}

/// # Errors
/// If a run fails.
pub async fn measure(settings: &Settings) -> Result<String> {
    let mut hosts = Vec::new();
    for identities in [FEW, settings.identities as u64] {
        hosts.push(Measured::start(identities).await?);
    }
    for measured in &hosts {
        run(measured, "warm", throughput::WARM_UP, settings).await?;
    }
    for round in 0..settings.rounds {
        for measured in &mut hosts {
            let before = Usage::of(measured.host.process())?;
            let elapsed = run(measured, &format!("r{round}"), settings.events, settings).await?;
            measured.cpu += Usage::of(measured.host.process())?.since(&before).cpu;
            measured.rates.push(rate(settings.events, elapsed));
        }
    }
    let mut rows = Vec::new();
    let base = hosts.first().map(|few| few.cpu.as_secs_f64()).context("a first host")?;
    for measured in &mut hosts {
        let cpu = micros_each(measured.cpu, settings.events * settings.rounds);
        let of_few = ratio(measured.cpu.as_secs_f64(), base);
        let highest = mebibytes(process::memory(measured.host.process())?.1);
        let start = format!("{:.2}", measured.start.as_secs_f64());
        rows.push((format!("{} identities", measured.identities), [cpu, of_few, start, highest]));
        measured.host.client().assert_no_dead_letters().await;
        measured.host.stop().await;
    }
    let rows = rows.iter().zip(&hosts);
    let rows = rows.map(|((name, more), measured)| (name.as_str(), &measured.rates, more.clone()));
    let header = ["CPU µs/event", "of the first", "start to /readyz s", "highest MiB"];
    Ok(compared(header, rows))
}

async fn run(
    measured: &Measured,
    name: &str,
    events: usize,
    settings: &Settings,
) -> Result<Duration> {
    let target = Target::of(&measured.host);
    Ok(throughput::run(target, SAGA, name, events, settings).await?.elapsed)
}

impl Measured {
    async fn start(identities: u64) -> Result<Self> {
        let mut host = Host::builder().plugin(SAGA.plugin).start().await;
        host.stop().await;
        fill(&host.store(), identities).await?;
        // The first start makes the filters.
        host.start().await;
        let start = restart(&mut host).await?;
        Ok(Self { host, identities, start, rates: Spread::default(), cpu: Duration::ZERO })
    }
}

/// As many runs of each level as a host has that took so many events.
async fn fill(store: &Path, identities: u64) -> Result<()> {
    let options = SqliteConnectOptions::new().filename(store).pragma("synchronous", "off");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let mut random = StdRng::seed_from_u64(SEED);
    let mut generations = identities / GENERATION;
    ensure!(generations > 0, "--identities: at least {GENERATION}");
    let mut number = 0;
    while generations > 0 {
        let level = generations.ilog(FAN_IN);
        let merged = FAN_IN.pow(level);
        generations -= merged;
        number += 1;
        write_run(&mut connection, number, level, merged * GENERATION, &mut random).await?;
    }
    connection.close().await?;
    Ok(())
}

async fn write_run(
    connection: &mut SqliteConnection,
    number: i64,
    level: u32,
    hashes: u64,
    random: &mut StdRng,
) -> Result<()> {
    let mut transaction = connection.begin().await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let head = "INSERT INTO seen_run_heads \
                (run, level, hashes, newest_at, last_position, merged_into, is_complete) \
                VALUES (?, ?, ?, ?, 0, NULL, 1)";
    let head = sqlx::query(head).bind(number).bind(level).bind(i64::try_from(hashes)?);
    head.bind(i64::try_from(now)?).execute(&mut *transaction).await?;
    let buckets = hashes.div_ceil(BUCKET);
    for bucket in 0..buckets {
        let count = hashes * (bucket + 1) / buckets - hashes * bucket / buckets;
        let end = |bucket: u64| (u128::from(bucket) << 64).div_ceil(buckets.into());
        let places = end(bucket)..end(bucket + 1);
        let mut sorted: Vec<u128> = (0..count)
            .map(|_| random.random_range(places.clone()) << 64 | u128::from(random.next_u64()))
            .collect();
        sorted.sort_unstable();
        let bytes: Vec<u8> = sorted.iter().flat_map(|hash| hash.to_be_bytes()).collect();
        let row = (number << 32) + i64::try_from(bucket)?;
        let query = sqlx::query("INSERT INTO seen_buckets (row, hashes) VALUES (?, ?)");
        query.bind(row).bind(bytes).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}
