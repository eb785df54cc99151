//! `sagabox top`: watches a running host in a terminal.
//!
//! It reads the same API as the other commands, so it shows what its token may see. Without a
//! terminal it prints one snapshot.

mod app;
mod figures;
mod tables;
#[cfg(test)]
mod tests;
mod view;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use self::app::{App, Asked};
use self::figures::Figures;
use self::tables::Panel;
use super::host_args::HostArgs;
use super::input_error::InputError;
use super::signals::Signals;
use super::{log, output};
use crate::api::client::{Client, ClientError};
use crate::io::durations::duration;

/// Between two snapshots of which rates are made, for a reader that is no terminal.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);
/// More often would show rates of a few events, and load the host.
const INTERVAL_MIN: Duration = Duration::from_millis(200);
/// How long the thread that reads keys waits before it looks whether the command has ended.
const KEYS_POLL: Duration = Duration::from_millis(100);
/// Keys that are pressed while the host is slow to answer.
const KEYS_MAX: usize = 64;

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Time between two readings, such as 500ms or 5s
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    interval: String,
    /// Print one snapshot and exit, also in a terminal
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl Top {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let interval = duration(&self.interval)
            .map_err(|why| InputError(format!("--interval: {why}")))?
            .max(INTERVAL_MIN);
        let client = self.host.client()?;
        let app = App::new(self.host.host.clone());
        match self.once || self.host.json || !std::io::stdout().is_terminal() {
            true => print_once(client, app, self.host.json).await,
            false => watch(client, app, interval).await,
        }
    }
}

async fn print_once(client: Client, mut app: App, json: bool) -> anyhow::Result<()> {
    let start = Instant::now();
    app.take(Figures::read(&client, start.elapsed()).await?);
    tokio::time::sleep(SNAPSHOT_INTERVAL).await;
    app.take(Figures::read(&client, start.elapsed()).await?);
    match json {
        true => output::json(&as_json(&app)),
        false => output::raw(view::plain(&app).trim_end()),
    }
    Ok(())
}

/// The panels, each as a list of objects with the columns as members.
fn as_json(app: &App) -> Value {
    let list = |panel: Panel| {
        let object = |line: tables::Line| {
            let cells = panel.columns().iter().zip(line.cells);
            let member = |(column, cell): (&tables::Column, tables::Cell)| {
                (column.title.to_lowercase().replace('/', "_per_"), Value::from(cell.text))
            };
            Value::Object(cells.map(member).collect::<Map<_, _>>())
        };
        app.lines(panel).into_iter().map(object).collect::<Vec<_>>()
    };
    json!({
        "plugins": list(Panel::Plugins),
        "sinks": list(Panel::Sinks),
        "dead_letters": list(Panel::DeadLetters),
        "pauses": list(Panel::Pauses),
    })
}

async fn watch(client: Client, app: App, interval: Duration) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let is_colored = log::wants_color(|name| std::env::var_os(name));
    let mut terminal = ratatui::try_init().context("take over the terminal")?;
    let watched = tokio::select! {
        watched = follow(&mut terminal, client, app, interval, is_colored) => watched,
        () = signals.stop() => Ok(()),
    };
    ratatui::restore();
    watched
}

/// Reads, draws, and obeys the keys until one of them quits.
async fn follow(
    terminal: &mut DefaultTerminal,
    client: Client,
    mut app: App,
    interval: Duration,
    is_colored: bool,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut keys = keys();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // One reading at a time; keys are obeyed meanwhile.
    let (answered, mut answers) = mpsc::channel::<Result<Figures, ClientError>>(1);
    let mut is_reading = false;
    loop {
        terminal.draw(|frame| view::draw(frame, &app, is_colored))?;
        let reads = tokio::select! {
            key = keys.recv() => match key {
                Some(Event::Key(key)) => match app.key(key) {
                    Asked::Quit => return Ok(()),
                    Asked::Refresh => true,
                    Asked::Nothing => false,
                },
                // The terminal has another size.
                Some(_) => false,
                None => anyhow::bail!("the terminal is closed, so no more keys can be read"),
            },
            Some(answer) = answers.recv() => {
                is_reading = false;
                match answer {
                    Ok(figures) => app.take(figures),
                    Err(error) => app.error = Some(error.to_string()),
                }
                false
            }
            _ = ticks.tick() => true,
        };
        if reads && !is_reading {
            is_reading = true;
            let (client, answered, at) = (client.clone(), answered.clone(), start.elapsed());
            tokio::spawn(async move {
                // The receiver is gone when the command has ended.
                let _ = answered.send(Figures::read(&client, at).await).await;
            });
        }
    }
}

/// What the terminal sends, read by a thread that ends with the receiver.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            match event::poll(KEYS_POLL) {
                Ok(false) => {}
                Ok(true) => {
                    let Ok(event) = event::read() else { return };
                    if sender.blocking_send(event).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    });
    receiver
}
