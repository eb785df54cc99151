//! The scenario `backtest`: how many events of the past a command tries a process manager on in a
//! second. Groups of guests check out over some weeks, more than a thousand of them at a time. The
//! deadline of every tenth group passes. The time is that of the whole command: it starts, reads the
//! log, loads the component from the cache, and prints the report.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::report::{Spread, rate, rate_cells, table};
use super::settings::Settings;
use crate::command::sagabox;
use crate::paths;

const GUESTS: usize = 3;
/// Every so many groups, a guest does not check out.
const INCOMPLETE: usize = 10;
/// 2026-01-01T00:00:00Z.
const BEGINS: i64 = 1_767_225_600_000;
const MINUTE: usize = 60_000;
const DAY: usize = 1_440 * MINUTE;

/// # Errors
/// If a backtest fails, or ends otherwise than the log says.
pub fn measure(settings: &Settings) -> Result<String> {
    let groups = settings.events / (GUESTS + 1);
    let events = log(groups)?;
    let text: String = events.iter().map(|event| format!("{event}\n")).collect();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("log.ndjson");
    std::fs::write(&file, text)?;
    let (component, file) = (paths::plugin("group-checkout"), file.display().to_string());
    let component = component.display().to_string();
    // Long enough for each deadline to pass.
    let arguments = ["backtest", &component, "--events", &file, "--until", "30d"];
    let mut rates = Spread::default();
    // The first one compiles the component.
    for round in 0..=settings.rounds {
        let started = Instant::now();
        let ended = sagabox(folder.path(), &arguments).with(0);
        let elapsed = started.elapsed();
        if round > 0 {
            rates.push(rate(events.len(), elapsed));
        }
        let (fired, expected) = (fired(&ended.output)?, groups.div_ceil(INCOMPLETE));
        ensure!(fired == expected, "{fired} deadlines fired, and {expected} are in the log");
    }
    let mut row = vec!["group-checkout".to_owned(), events.len().to_string()];
    row.extend(rate_cells(&rates));
    let header = ["backtest of", "events", "events/s", "slowest", "fastest"];
    let mut text = table(&header, &[row]);
    writeln!(text, "\n{groups} instances, of which {} time out.", groups.div_ceil(INCOMPLETE))?;
    Ok(text)
}

/// The number of deadlines that fired, by the report.
fn fired(report: &str) -> Result<usize> {
    let line = report.split_once("timer `deadline`: ").context("the report names the timer")?.1;
    let number = line.split(" fired").next().unwrap_or_default().replace(',', "");
    number.parse().with_context(|| format!("a number of deadlines, not `{number}`"))
}

fn log(groups: usize) -> Result<Vec<Value>> {
    let mut events = Vec::new();
    for group in 0..groups {
        let (name, starts) = (format!("g{group}"), group * MINUTE);
        let stay = |guest: usize| format!("s{group}-{guest}");
        let stays: Vec<String> = (0..GUESTS).map(stay).collect();
        let data = json!({ "groupCheckoutId": name, "guestStayIds": stays });
        events.push((starts, event(&name, "GroupCheckoutInitiated", &data, starts)?));
        let leaving = GUESTS - usize::from(group % INCOMPLETE == 0);
        for (guest, stay) in stays.iter().enumerate().take(leaving) {
            let leaves = starts + (guest + 1) * 1_234_567 % DAY + group % 1_000;
            let data = json!({ "groupCheckoutId": name, "guestStayId": stay });
            let id = format!("{name}-{guest}");
            events.push((leaves, event(&id, "GuestCheckoutCompleted", &data, leaves)?));
        }
    }
    events.sort_by_key(|(at, _)| *at);
    Ok(events.into_iter().map(|(_, event)| event).collect())
}

fn event(id: &str, kind: &str, data: &Value, millis: usize) -> Result<Value> {
    let at = BEGINS + i64::try_from(millis)?;
    let at = Timestamp::from_millisecond(at).context("a time that a log can have")?;
    Ok(json!({
        "specversion": "1.0",
        "id": id,
        "source": "/hotel",
        "type": kind,
        "time": at.to_string(),
        "data": data,
    }))
}
