//! The command line: one file per command.
//!
//! Exit codes: 0 success; 1 failed, refused or different; 2 wrong usage or wrong input; 130 or
//! 143 after a second signal.

mod admission;
mod ages;
mod audit;
mod backtest;
mod backup;
mod batches;
mod build;
mod candidate;
mod check;
mod completions;
mod controls;
mod credentials;
mod dead_letters;
mod demo;
mod dev;
mod developed;
mod doctor;
mod export;
mod host_args;
mod import;
mod input_error;
mod kept;
mod lists;
mod lock;
mod log;
mod mcp;
mod new;
mod openapi;
mod output;
mod pages;
mod pull;
mod reload;
mod replay;
mod rollback;
mod run;
mod send;
mod service;
mod session;
mod signals;
mod sim;
mod test;
mod token;
mod top;
mod types;

pub(crate) use dead_letters::Edited;
use input_error::InputError;
pub(crate) use output::indented;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::api::client::ClientError;
use crate::plugins::wasm;

const EXIT_CODES: &str = "Exit codes: 0 success; 1 failed, refused, not found or different; \
2 invalid usage or invalid input; 130 and 143 stopped by a second signal";

/// Runs user-defined sagas and process managers from a directory of WebAssembly plugins
#[derive(Debug, Parser)]
#[command(name = "sagabox", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a host: accept events, call the plugins, deliver their messages
    Run(run::Run),
    /// Send events from NDJSON files, one CloudEvent on each line
    Send(send::Send),
    /// List the plugins that serve, the candidates, and the refused files
    Plugins(lists::Plugins),
    /// List the instances of a plugin
    Instances(lists::Instances),
    /// Write the instances of a plugin as NDJSON: states, fields, keys and timers
    Export(export::Export),
    /// Import instances of another host, from their files; end them there first
    Import(import::Import),
    /// Show one instance: its state, why it waits, what can still come, and its decisions
    Show(lists::Show),
    /// List dead letters: events and messages that could not be handled or delivered
    DeadLetters(lists::DeadLetters),
    /// Show one dead letter, with its event or message
    DeadLetter(lists::DeadLetter),
    /// Process dead letters again, then everything that waits behind them
    Redrive(dead_letters::Redrive),
    /// Resolve dead letters without their event or message, and process what waits behind them
    Skip(dead_letters::Drop),
    /// Drop dead letters and everything that waits behind them
    Discard(dead_letters::Drop),
    /// Request that an instance compensates and completes
    Cancel(dead_letters::Instance),
    /// End an instance without a call of its plugin
    End(dead_letters::Instance),
    /// Act on many dead letters or instances: count them, start, pause and follow
    Batch(batches::Batch),
    /// Pause a plugin, a key, a sink, a queue, a message type or the door, or list what is paused
    Pause(controls::Pause),
    /// Resume what is paused
    Resume(controls::Resume),
    /// Limit a sink, a queue or a message type, or list the limits
    Limit(controls::Limit),
    /// Make the next attempts of a key or a sink before their time
    Retry(controls::Retry),
    /// List the sinks that are down
    Sinks(lists::Sinks),
    /// List the lookups that are down
    Lookups(lists::Lookups),
    /// Show where all events and messages are, and check the sums
    Accounts(lists::Accounts),
    /// List the host's own queues, and the workers that have leased messages
    Queues(lists::Queues),
    /// List the messages that workers have leased from the queues
    Leases(lists::Leases),
    /// List the timers that are due next
    Timers(lists::Timers),
    /// Watch a running host in a terminal: rates, lag, queues, sinks, dead letters
    Top(top::Top),
    /// Create, list and revoke the tokens of clients
    Token(token::Token),
    /// List and end the sessions of people who are signed in
    Session(session::Session),
    /// List what was done on a host, by whom and why, and what was refused
    Audit(audit::Audit),
    /// Copy the store to a file, also while its host runs
    Backup(backup::Backup),
    /// Create a store from a backup
    Restore(backup::Restore),
    /// Build plugins from source
    Build(build::Build),
    /// Create a plugin project that builds, checks and tests without changes
    New(new::New),
    /// Check plugins without a host: each one, all together, and against older versions
    Check(check::Check),
    /// Write the data of the plugins' messages as types of a language
    Types(types::Types),
    /// Run scenarios on a plugin and compare its decisions with the expected ones
    Test(test::Test),
    /// Simulate failures that seeds determine, and check the invariants of a plugin
    Sim(sim::Sim),
    /// Run plugins on a log of past events, in its own time, and report what they decide
    Backtest(backtest::Backtest),
    /// Build, test and load a plugin again after each change of its source
    Dev(dev::Dev),
    /// Repeat the recorded decisions with a new version, and show the differences
    Replay(replay::Replay),
    /// Put an earlier version back into the plugin directory, from the store
    Rollback(rollback::Rollback),
    /// Run a new version in shadow mode: compare its decisions on live events, and discard them
    Shadow(candidate::Shadow),
    /// Serve a share of the keys with a new version, and withdraw it if it fails too often
    Canary(candidate::Canary),
    /// Pin the components of a directory: a host refuses all others there
    Lock(lock::Lock),
    /// Download a component from an OCI registry
    Pull(pull::Pull),
    /// Print the document that describes the host's API (OpenAPI 3.1)
    Openapi,
    /// Run the examples on a new host and show the results
    Demo(demo::Demo),
    /// Serve agents on standard input and output by the Model Context Protocol
    Mcp(mcp::Mcp),
    /// Find what is wrong with this installation, and say what to do
    Doctor(doctor::Doctor),
    /// Print the completion script of a shell
    Completions(completions::Completions),
    /// Write the manual pages into a directory
    Manual(completions::Manual),
}

/// Parses the arguments, runs the command, and reports how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.get(1).is_some_and(|argument| argument == wasm::COMPILE_ARGUMENT) {
        return wasm::compile_child(&arguments[2..]);
    }
    wasm::compile_in_children();
    let cli = Cli::parse();
    // All clients, sinks and lookups use this TLS provider, the only one that is linked.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&anyhow::Error::new(error).context("start the runtime")),
    };
    let outcome = runtime.block_on(execute(cli.command));
    // A blocking read of standard input must not keep the process alive.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

async fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(run) => run.execute().await,
        Command::Send(send) => send.execute().await,
        Command::Plugins(list) => list.execute().await,
        Command::Instances(list) => list.execute().await,
        Command::Import(import) => import.execute().await,
        Command::Export(export) => export.execute().await,
        Command::Show(show) => show.execute().await,
        Command::DeadLetters(list) => list.execute().await,
        Command::DeadLetter(dead_letter) => dead_letter.execute().await,
        Command::Redrive(redrive) => redrive.execute().await,
        Command::Skip(skip) => skip.execute("skip").await,
        Command::Discard(discard) => discard.execute("discard").await,
        Command::Cancel(cancel) => cancel.execute("cancel").await,
        Command::End(end) => end.execute("end").await,
        Command::Batch(batch) => batch.execute().await,
        Command::Pause(pause) => pause.execute().await,
        Command::Resume(resume) => resume.execute().await,
        Command::Limit(limit) => limit.execute().await,
        Command::Retry(retry) => retry.execute().await,
        Command::Sinks(sinks) => sinks.execute().await,
        Command::Lookups(lookups) => lookups.execute().await,
        Command::Accounts(accounts) => accounts.execute().await,
        Command::Queues(queues) => queues.execute().await,
        Command::Leases(leases) => leases.execute().await,
        Command::Timers(timers) => timers.execute().await,
        Command::Top(top) => top.execute().await,
        Command::Mcp(mcp) => mcp.execute().await,
        Command::Token(token) => token.execute().await,
        Command::Session(session) => session.execute().await,
        Command::Audit(audit) => audit.execute().await,
        Command::Backup(backup) => backup.execute().await,
        Command::Restore(restore) => restore.execute().await,
        Command::Build(build) => build.execute().await,
        Command::Check(check) => check.execute().await,
        Command::Types(types) => types.execute().await,
        Command::Test(test) => test.execute().await,
        Command::Sim(sim) => sim.execute().await,
        Command::Backtest(backtest) => backtest.execute().await,
        Command::Replay(replay) => replay.execute().await,
        Command::Rollback(rollback) => rollback.execute().await,
        Command::Dev(dev) => dev.execute().await,
        Command::New(new) => new.execute().await,
        Command::Shadow(shadow) => shadow.execute().await,
        Command::Canary(canary) => canary.execute().await,
        Command::Lock(lock) => lock.execute().await,
        Command::Pull(pull) => pull.execute().await,
        Command::Demo(demo) => demo.execute().await,
        Command::Openapi => {
            openapi::execute();
            Ok(())
        }
        Command::Doctor(doctor) => doctor.execute().await,
        Command::Completions(completions) => completions.execute(),
        Command::Manual(manual) => manual.execute(),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    output::error(&format!("{error:#}"));
    let is_by_input = error.is::<InputError>()
        || error.downcast_ref().is_some_and(|error: &ClientError| error.is_by_input());
    ExitCode::from(if is_by_input { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
