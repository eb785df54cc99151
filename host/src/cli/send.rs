//! `sagabox send`: sends NDJSON in batches to a host, without losing an event.
//!
//! Batches are repeated until the host has accepted them. The host recognises duplicates, so a
//! repetition is harmless. A line that is not an event ends the command, after the lines before
//! it have been sent.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sagabox_engine::model::Event;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::host_args::HostArgs;
use super::input_error::InputError;
use super::output;
use crate::api::Summary;
use crate::api::client::{Client, ClientError};
use crate::io::cloudevents::check_reserved;
use crate::io::files;
use crate::io::text_form::TextForm;

/// How long the command waits for a host that has answered before.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long it waits for a host that has never answered, which more likely does not run or has
/// another address.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);
/// Below the host's default limit of 4 MiB.
const BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;
/// The host's default limit.
const BATCH_EVENTS_MAX: i64 = 10_000;

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// NDJSON files; `-`, or no file, reads standard input
    files: Vec<PathBuf>,
    /// Maximum number of events in one request
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=BATCH_EVENTS_MAX))]
    batch: u32,
    /// Number of concurrent requests; with more than one, events can overtake each other
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    connections: u8,
    #[command(flatten)]
    host: HostArgs,
}

/// Lines of one file, as the JSON array that is sent.
struct Batch {
    json: Vec<u8>,
    events: usize,
    /// The file, and the line of each event, to name the event that the host refused.
    file: String,
    lines: Vec<usize>,
}

impl Send {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let client = self.host.client()?;
        let progress = progress();
        let started = Instant::now();
        let outcome = send_all(&client, &self.files, self.batch, self.connections, &progress).await;
        progress.finish_and_clear();
        let (summary, error) = outcome;
        let seconds = started.elapsed().as_secs_f64();
        if self.host.json {
            output::json(&serde_json::json!({
                "accepted": summary.accepted,
                "duplicates": summary.duplicates,
                "differing": summary.differing,
                "seconds": seconds,
                "error": error.as_ref().map(|error| format!("{error:#}")),
            }));
        } else {
            let count = summary.accepted + summary.duplicates;
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = count as f64 / seconds.max(0.001);
            output::line(&format!(
                "{} accepted, {} duplicates in {seconds:.1} s ({rate:.0} events/s)",
                output::grouped(summary.accepted as u64),
                output::grouped(summary.duplicates as u64),
            ));
            if summary.differing > 0 {
                output::line(&format!(
                    "{} of the duplicates have other content than the event that was accepted under \
                     their source and id: they are ignored; give each event an id of its own",
                    output::grouped(summary.differing as u64),
                ));
            }
        }
        error.map_or(Ok(()), Err)
    }
}

/// Sends files. Returns what was sent, also when an error ended it.
pub(crate) async fn send_all(
    client: &Client,
    files: &[PathBuf],
    batch: u32,
    connections: u8,
    progress: &ProgressBar,
) -> (Summary, Option<anyhow::Error>) {
    let (batches, queue) = mpsc::channel(usize::from(connections));
    let queue = Arc::new(tokio::sync::Mutex::new(queue));
    let mut workers = JoinSet::new();
    let reached = Arc::new(AtomicBool::new(false));
    for _ in 0..connections {
        let (queue, reached) = (Arc::clone(&queue), Arc::clone(&reached));
        workers.spawn(work(client.clone(), queue, progress.clone(), reached));
    }
    // From here on only the workers hold the receiver, so reading ends when all have failed.
    drop(queue);
    let mut error = read_all(files, batch as usize, &batches).await.err();
    drop(batches);
    let mut total = Summary::default();
    while let Some(worker) = workers.join_next().await {
        let (summary, failure) =
            worker.unwrap_or_else(|panic| (Summary::default(), Some(panic.into())));
        total.accepted += summary.accepted;
        total.duplicates += summary.duplicates;
        total.differing += summary.differing;
        // The error of a worker is the cause; the error of reading only follows from it.
        error = failure.or(error);
    }
    (total, error)
}

type Queue = Arc<tokio::sync::Mutex<mpsc::Receiver<Batch>>>;

async fn work(
    client: Client,
    queue: Queue,
    progress: ProgressBar,
    reached: Arc<AtomicBool>,
) -> (Summary, Option<anyhow::Error>) {
    let mut total = Summary::default();
    loop {
        let next = queue.lock().await.recv().await;
        let Some(batch) = next else { return (total, None) };
        let events = batch.events as u64;
        match deliver(&client, batch, &reached).await {
            Ok(summary) => {
                total.accepted += summary.accepted;
                total.duplicates += summary.duplicates;
                total.differing += summary.differing;
                progress.inc(events);
            }
            Err(error) => {
                queue.lock().await.close();
                return (total, Some(error));
            }
        }
    }
}

async fn deliver(client: &Client, batch: Batch, reached: &AtomicBool) -> anyhow::Result<Summary> {
    let body = bytes::Bytes::from(batch.json);
    let mut delay = RETRY_DELAY_MIN;
    let mut unreachable_since: Option<Instant> = None;
    loop {
        let error = match client.send(body.clone()).await {
            Ok(summary) => {
                reached.store(true, Ordering::Relaxed);
                return Ok(summary);
            }
            Err(error) => error,
        };
        if !matches!(error, ClientError::Unreachable { .. }) {
            reached.store(true, Ordering::Relaxed);
        }
        if let ClientError::Refused { problem, .. } = &error
            && let Some(line) = problem.index.and_then(|index| batch.lines.get(index))
        {
            return Err(InputError(format!("{}:{line}: {}", batch.file, problem.detail)).into());
        }
        let since = *unreachable_since.get_or_insert_with(Instant::now);
        // A host that answers "busy" runs, so the command waits without a limit.
        if matches!(&error, ClientError::Refused { problem, .. } if problem.status == 429) {
            unreachable_since = None;
        }
        let patience = match reached.load(Ordering::Relaxed) {
            true => PATIENCE,
            false => FIRST_PATIENCE,
        };
        if !error.is_transient() || since.elapsed() > patience {
            let first = batch.lines.first().copied().unwrap_or_default();
            return Err(error).with_context(|| format!("send {} from line {first} on", batch.file));
        }
        tokio::time::sleep(error.retry_after().unwrap_or(delay)).await;
        delay = (delay * 2).min(RETRY_DELAY_MAX);
    }
}

async fn read_all(
    files: &[PathBuf],
    max: usize,
    batches: &mpsc::Sender<Batch>,
) -> anyhow::Result<()> {
    let stdin = [PathBuf::from("-")];
    let files = if files.is_empty() { &stdin } else { files };
    for file in files {
        if file == Path::new("-") {
            let input = BufReader::new(tokio::io::stdin());
            read(input, "standard input", max, batches).await?;
        } else {
            let opened = tokio::fs::File::open(file).await;
            let input = opened.map_err(|e| InputError(format!("open {}: {e}", file.display())))?;
            let name = file.display().to_string();
            read(BufReader::with_capacity(1 << 20, input), &name, max, batches).await?;
        }
    }
    Ok(())
}

async fn read(
    mut input: impl AsyncBufRead + Unpin,
    file: &str,
    max: usize,
    batches: &mpsc::Sender<Batch>,
) -> anyhow::Result<()> {
    let empty = || Batch { json: vec![b'['], events: 0, file: file.to_owned(), lines: Vec::new() };
    let mut batch = empty();
    let mut line = Vec::new();
    let mut number = 0;
    let first = input.fill_buf().await.with_context(|| format!("read {file}"))?;
    let why = match TextForm::of(first) {
        TextForm::Plain => None,
        TextForm::Gzip => {
            Some("is compressed with gzip; unpack it: `gunzip -c FILE | sagabox send`")
        }
        TextForm::Other(why) => Some(why),
    };
    if let Some(why) = why {
        return Err(InputError(format!("{file}: {why}")).into());
    }
    loop {
        line.clear();
        let count = input.read_until(b'\n', &mut line).await;
        let ended = count.with_context(|| format!("read {file}"))? == 0;
        number += 1;
        let text = line.strip_prefix(files::BYTE_ORDER_MARK).filter(|_| number == 1);
        let text = text.unwrap_or(&line).trim_ascii();
        let fault = if ended || text.is_empty() { None } else { check(text, file, number) };
        let full = batch.events >= max || batch.json.len() + text.len() > BATCH_BYTES_MAX;
        if (ended || full || fault.is_some()) && batch.events > 0 {
            let mut ready = std::mem::replace(&mut batch, empty());
            ready.json.push(b']');
            if batches.send(ready).await.is_err() {
                anyhow::bail!("stopped in {file} before line {number}");
            }
        }
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        if ended {
            return Ok(());
        }
        if !text.is_empty() {
            if batch.events > 0 {
                batch.json.push(b',');
            }
            batch.json.extend_from_slice(text);
            batch.events += 1;
            batch.lines.push(number);
        }
    }
}

fn check(line: &[u8], file: &str, number: usize) -> Option<InputError> {
    let checked = Event::from_json(line).and_then(|event| check_reserved(&event));
    checked.err().map(|error| InputError(format!("{file}:{number}: {error}")))
}

pub(crate) fn progress() -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{spinner} {human_pos} events  {per_sec}  {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::with_draw_target(None, target).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;

    /// Checks the number of events in each batch, and the error.
    async fn check_read(input: &str, max: usize, sizes: &[usize], error: Option<&str>) {
        let (sender, mut receiver) = mpsc::channel(100);
        let outcome = read(input.as_bytes(), "f", max, &sender).await;
        drop(sender);
        let mut found = Vec::new();
        while let Some(batch) = receiver.recv().await {
            let events: Vec<Event> = serde_json::from_slice(&batch.json).unwrap();
            assert_eq!((events.len(), batch.lines.len()), (batch.events, batch.events));
            found.push(batch.events);
        }
        assert_eq!(found, sizes);
        assert_eq!(outcome.err().map(|error| error.to_string()).as_deref(), error);
    }

    #[tokio::test]
    async fn lines_become_batches() {
        let five = [GOOD; 5].join("\n");
        check_read(&five, 2, &[2, 2, 1], None).await;
        check_read(&format!("\r\n{GOOD}\r\n\n{GOOD}\n"), 10, &[2], None).await;
        check_read(&format!("\u{feff}{GOOD}\n{GOOD}"), 10, &[2], None).await;
        check_read("", 10, &[], None).await;
    }

    #[tokio::test]
    async fn a_bad_line_is_named_and_what_came_before_is_sent() {
        let input = format!(
            "{GOOD}\n\n{GOOD}\n{{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"t\"}}\n{GOOD}"
        );
        check_read(&input, 10, &[2], Some("f:4: attribute `source`: is required")).await;
    }
}
