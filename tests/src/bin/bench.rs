//! The benchmarks' command line. What they do is in the package's `bench`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use sagabox_tests::bench::settings::{Scenario, Settings, USAGE};
use sagabox_tests::bench::shapes::{PROCESS_MANAGER, SAGA};
use sagabox_tests::bench::{
    backtest, by_hand, candidates, fields, flat, identities, languages, latency, looping, machine,
    pages, senders, throughput, traces, versions,
};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        // As many threads as the host takes: both are services.
        Some(by_hand::ARGUMENT) => {
            let database = arguments.get(1).context("the path of a database")?;
            let keeps = arguments.get(2).context("what is kept")?.parse()?;
            tokio::runtime::Runtime::new()?.block_on(by_hand::serve(Path::new(database), keeps))
        }
        Some("-h" | "--help") => {
            println!("{USAGE}");
            Ok(())
        }
        // One thread: the rest of the machine is for what is measured.
        _ => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(run(&Settings::parse(&arguments)?)),
    }
}

async fn run(settings: &Settings) -> Result<()> {
    println!("{}\n", machine::describe()?);
    println!("{settings:?}; SQLite with synchronous=FULL\n");
    for scenario in &settings.scenarios {
        let start = Instant::now();
        let (title, text) = match scenario {
            Scenario::Saga => (
                "saga: batches over HTTP, one command each, leased and acknowledged",
                throughput::measure(SAGA, settings).await?,
            ),
            Scenario::ProcessManager => (
                "process-manager: the same, each event writes an instance's state",
                throughput::measure(PROCESS_MANAGER, settings).await?,
            ),
            Scenario::Senders => {
                ("senders: one event a request, many at once", senders::measure(settings).await?)
            }
            Scenario::OneSender => {
                ("one-sender: one event at a time", latency::one_sender(settings).await?)
            }
            Scenario::Steady => {
                ("steady: one by one at a fixed rate", latency::steady(settings).await?)
            }
            Scenario::Looping => {
                ("looping: beside a plugin that spins", looping::measure(settings).await?)
            }
            Scenario::Candidates => {
                ("candidates: beside a shadow, and replayed", candidates::measure(settings).await?)
            }
            Scenario::Backtest => {
                ("backtest: a process manager on a log of the past", backtest::measure(settings)?)
            }
            Scenario::Fields => {
                ("fields: a state with none, and with three", fields::measure(settings).await?)
            }
            Scenario::Flat => {
                ("flat: on a store that is full already", flat::measure(settings).await?)
            }
            Scenario::Identities => (
                "identities: saga, beside those of earlier events",
                identities::measure(settings).await?,
            ),
            Scenario::Traces => {
                ("traces: with and without, in turns", traces::measure(settings).await?)
            }
            Scenario::Pages => (
                "pages: pages and lists on a store with many instances",
                pages::measure(settings).await?,
            ),
            Scenario::Languages => {
                ("languages: the same saga in each", languages::measure(settings).await?)
            }
            Scenario::Versions => {
                ("versions: two binaries in turns", versions::measure(settings).await?)
            }
        };
        println!("### {title}\n\n{text}\n({:.0} s)\n", start.elapsed().as_secs_f64());
    }
    Ok(())
}
