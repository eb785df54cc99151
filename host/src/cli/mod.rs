//! The command line: one file per command.
//!
//! Exit codes: 0 done and all is well, 1 failed, refused or different, 2 wrong usage or wrong
//! input, and 130 or 143 after a second signal.

mod backup;
mod build;
mod candidate;
mod check;
mod demo;
mod dev;
mod letters;
mod lists;
mod lock;
mod log;
mod new;
mod output;
mod pages;
mod pull;
mod replay;
mod run;
mod send;
mod signals;
mod sim;
mod test;
mod verdict;

pub(crate) use letters::Edited;
pub(crate) use output::indented;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::client::{Client, ClientError};
use crate::plugin;

const HOST: &str = "http://127.0.0.1:8321";

const EXIT_CODES: &str = "Exit codes: 0 done, and all is well; 1 failed, refused, not there or \
different; 2 asked wrongly: wrong usage or wrong input; 130 and 143 ended at once by a second signal";

/// Runs user-defined sagas and process managers: the logic is a directory of
/// WebAssembly plugins, everything else is this host.
#[derive(Debug, Parser)]
#[command(name = "sagabox", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: accept events, call the plugins, deliver what they decide
    Run(run::Run),
    /// Send events from NDJSON files, one CloudEvent a line
    Send(send::Send),
    /// List the plugins that serve, and the files that were refused
    Plugins(lists::Plugins),
    /// List the instances of a plugin
    Instances(lists::Instances),
    /// Show one instance: its state, keys, timers and decisions
    Show(lists::Show),
    /// List events and messages that could not be handled or delivered
    DeadLetters(lists::DeadLetters),
    /// Show one dead letter, with its event or message
    DeadLetter(lists::DeadLetter),
    /// Try dead letters again, and what waits behind them
    Redrive(letters::Redrive),
    /// Go on without the event or message of a dead letter
    Skip(letters::Drop),
    /// Drop a dead letter and everything that waits behind it
    Discard(letters::Drop),
    /// Ask an instance to come to an end; its plugin may compensate
    Cancel(letters::Instance),
    /// End an instance without asking its plugin
    End(letters::Instance),
    /// List sinks that do not answer
    Sinks(lists::Sinks),
    /// List lookups that do not answer
    Lookups(lists::Lookups),
    /// Show what became of every event and message
    Accounts(lists::Accounts),
    /// List the host's own queues
    Queues(lists::Queues),
    /// Copy the store to a file, also beside a running host
    Backup(backup::Backup),
    /// Make a store from a backup
    Restore(backup::Restore),
    /// Build plugins from source
    Build(build::Build),
    /// Make a plugin project that builds, checks and tests as it stands
    New(new::New),
    /// Check plugins without a host: alone, together, and against older versions
    Check(check::Check),
    /// Play scenarios on a plugin: what is given, what happens, what it must decide
    Test(test::Test),
    /// Run a plugin in a world that fails by a seed, and check what must be so in every run
    Sim(sim::Sim),
    /// Build, test and load a plugin again with each change of its source
    Dev(dev::Dev),
    /// Have a new version decide again what is on record, and show what differs
    Replay(replay::Replay),
    /// Try a new version beside the one that serves: it decides too, and nothing of it counts
    Shadow(candidate::Shadow),
    /// Have a new version serve a share of the keys, until it fails too often
    Canary(candidate::Canary),
    /// Pin the components of a directory: a host refuses all others there
    Lock(lock::Lock),
    /// Fetch a component from an OCI registry
    Pull(pull::Pull),
    /// Play the examples against a fresh host and show what happened
    Demo(demo::Demo),
}

/// Where the host is, and how to print.
#[derive(Debug, Args)]
pub struct HostArgs {
    /// The running host's address
    #[arg(long, env = "SAGABOX_HOST", default_value = HOST)]
    pub host: String,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

impl HostArgs {
    fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&self.host)?)
    }
}

/// Input that no second attempt makes better: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InputError(pub String);

/// Parses the arguments, runs the command, and reports how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.get(1).is_some_and(|argument| argument == plugin::COMPILE_ARGUMENT) {
        return plugin::compile_child(&arguments[2..]);
    }
    plugin::compile_in_children();
    let cli = Cli::parse();
    // Every client, sink and lookup uses the one provider that is linked.
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
        Command::Show(show) => show.execute().await,
        Command::DeadLetters(list) => list.execute().await,
        Command::DeadLetter(letter) => letter.execute().await,
        Command::Redrive(redrive) => redrive.execute().await,
        Command::Skip(skip) => skip.execute("skip").await,
        Command::Discard(discard) => discard.execute("discard").await,
        Command::Cancel(cancel) => cancel.execute("cancel").await,
        Command::End(end) => end.execute("end").await,
        Command::Sinks(sinks) => sinks.execute().await,
        Command::Lookups(lookups) => lookups.execute().await,
        Command::Accounts(accounts) => accounts.execute().await,
        Command::Queues(queues) => queues.execute().await,
        Command::Backup(backup) => backup.execute().await,
        Command::Restore(restore) => restore.execute().await,
        Command::Build(build) => build.execute().await,
        Command::Check(check) => check.execute().await,
        Command::Test(test) => test.execute().await,
        Command::Sim(sim) => sim.execute().await,
        Command::Replay(replay) => replay.execute().await,
        Command::Dev(dev) => dev.execute().await,
        Command::New(new) => new.execute().await,
        Command::Shadow(shadow) => shadow.execute().await,
        Command::Canary(canary) => canary.execute().await,
        Command::Lock(lock) => lock.execute().await,
        Command::Pull(pull) => pull.execute().await,
        Command::Demo(demo) => demo.execute().await,
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
