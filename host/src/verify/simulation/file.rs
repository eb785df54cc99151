//! Simulation files: YAML, of which JSON is a part. A file holds a list of simulations.
//!
//! What the members mean is in docs/simulations.md.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sagabox_engine::model::{Event, Timestamp};
use serde::Deserialize;

use super::answers::{Answers, Lookups, Template, WrittenAnswer};
use super::choices::Odds;
use super::draw::Draw;
use super::invariant::Invariant;
use crate::decisions::json::{Json, Object, from_yaml};
use crate::io::durations::{duration, instant};
use crate::io::files;
use crate::verify::event_log::{Arrival, EventLog, Happening, Order};

/// The folder in a plugin's source.
pub const IN_SOURCE: &str = "simulations";

/// The simulations of a component: `order-saga.simulations` beside `order-saga.wasm`.
#[must_use]
pub fn beside(component: &Path) -> PathBuf {
    component.with_extension("simulations")
}

/// 2026-01-01T00:00:00Z, if the simulation says nothing.
const NOW: Timestamp = Timestamp(1_767_225_600_000);
/// Longer than most processes wait for anything.
const LASTS: Duration = Duration::from_hours(30 * 24);
/// Events that a run takes from a log. Each of a thousand runs repeats all of them.
const LOG_EVENTS_MAX: usize = 5_000;
/// What places may name besides draws.
const ALWAYS_KNOWN: [&str; 1] = ["case"];

#[derive(Clone, Debug)]
pub struct Simulation {
    pub name: String,
    pub given: Given,
    pub cases: RangeInclusive<u64>,
    /// When a case begins.
    pub starts: Span,
    pub draws: Vec<(String, Draw)>,
    pub events: Vec<Coming>,
    /// Events of a log, which arrive once each: the first at `given.now`.
    pub log: Arc<[Arrival]>,
    /// What the outside does with each command.
    pub answers: Answers,
    pub disturbances: Disturbances,
    pub lasts: Duration,
    /// Dead letters of events are no mistake.
    pub may_fail: bool,
    /// It need not have come to rest when the time is over.
    pub may_go_on: bool,
    pub invariants: Vec<Invariant>,
}

#[derive(Clone, Debug)]
pub struct Given {
    pub configuration: Object,
    pub now: Timestamp,
    pub lookups: Lookups,
}

/// A time from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Duration,
    pub to: Duration,
}

/// An event of each case.
#[derive(Clone, Debug)]
pub struct Coming {
    pub what: Template,
    /// After the beginning of its case.
    pub after: Span,
    pub odds: Odds,
    /// That the same happens again, as an event of its own.
    pub again: Odds,
    /// Once for each element of this draw.
    pub each: Option<String>,
}

/// How often what goes wrong.
#[derive(Clone, Debug)]
pub struct Disturbances {
    /// An event comes twice, as the same.
    pub duplicates: Odds,
    /// An event comes later than it should, by up to `delay`.
    pub delays: Odds,
    pub delay: Duration,
    /// The host dies after a commit.
    pub crashes: Odds,
    /// A commit is refused, lost, or written and not known to be.
    pub commits: Odds,
    pub reads: Odds,
    /// A call of a plugin fails in passing.
    pub calls: Odds,
    pub lookups: Odds,
    /// A command is not delivered the first time, or is, and the sender gets no answer.
    pub deliveries: Odds,
}

/// Reads and checks a file.
///
/// # Errors
/// Names the file and what is wrong in it.
pub fn read(path: &Path) -> anyhow::Result<Vec<Simulation>> {
    let text = files::text(path, files::TEXT_BYTES_MAX)
        .with_context(|| format!("read the simulations {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder)
        .with_context(|| format!("the simulation file {} is invalid", path.display()))
}

fn parse(text: &str, folder: &Path) -> anyhow::Result<Vec<Simulation>> {
    let written: Vec<Written> = from_yaml(text)?;
    anyhow::ensure!(!written.is_empty(), "it contains no simulation");
    let all = written.into_iter().map(|written| {
        let name = written.simulation.clone();
        resolve(written, folder).map_err(|why| anyhow::anyhow!("simulation `{name}`: {why}"))
    });
    all.collect()
}

// ---- as it is written ---------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// What it shows, as a claim.
    simulation: String,
    #[serde(default)]
    given: WrittenGiven,
    cases: Option<Json>,
    starts: Option<String>,
    #[serde(default)]
    draws: Object,
    #[serde(default)]
    events: Vec<WrittenComing>,
    /// A file of events, relative to this one.
    log: Option<PathBuf>,
    #[serde(default)]
    answers: BTreeMap<String, Vec<WrittenAnswer>>,
    #[serde(default)]
    disturbances: WrittenDisturbances,
    lasts: Option<String>,
    #[serde(default)]
    may_fail: bool,
    #[serde(default)]
    may_go_on: bool,
    #[serde(default)]
    invariants: Vec<Json>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGiven {
    #[serde(default)]
    configuration: Object,
    now: Option<String>,
    #[serde(default)]
    lookups: BTreeMap<String, BTreeMap<String, Json>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenComing {
    #[serde(rename = "type")]
    event_type: String,
    subject: Option<String>,
    #[serde(default)]
    extensions: BTreeMap<String, String>,
    #[serde(default)]
    data: Json,
    after: Option<String>,
    odds: Option<Json>,
    again: Option<Json>,
    each: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDisturbances {
    duplicates: Option<Json>,
    delays: Option<Json>,
    delay: Option<String>,
    crashes: Option<Json>,
    commits: Option<Json>,
    reads: Option<Json>,
    calls: Option<Json>,
    lookups: Option<Json>,
    deliveries: Option<Json>,
}

// ---- what it means ------------------------------------------------------------------

fn resolve(written: Written, folder: &Path) -> Result<Simulation, String> {
    let about = |what: &'static str| move |why: String| format!("{what}: {why}");
    let draws = draws(&written.draws)?;
    let names: Vec<&str> = draws.iter().map(|(name, _)| name.as_str()).collect();
    let log = log(written.log.as_deref(), folder).map_err(about("log"))?;
    if written.events.is_empty() && log.is_empty() {
        return Err("events: no event ever arrives".to_owned());
    }
    let begins = log.first().map_or(NOW, |first| first.at);
    let mut events = Vec::new();
    for (index, coming) in written.events.into_iter().enumerate() {
        events.push(self::coming(coming, &names).map_err(|why| format!("events[{index}]: {why}"))?);
    }
    let answers = Answers::parse(written.answers)?;
    let mut invariants = Vec::new();
    for (index, value) in written.invariants.iter().enumerate() {
        let parsed = Invariant::parse(value);
        invariants.push(parsed.map_err(|why| format!("invariants[{index}]: {why}"))?);
    }
    Ok(Simulation {
        name: written.simulation,
        given: Given {
            configuration: written.given.configuration,
            now: written
                .given
                .now
                .as_deref()
                .map_or(Ok(begins), instant)
                .map_err(about("given.now"))?,
            lookups: written.given.lookups,
        },
        cases: written.cases.as_ref().map_or(Ok(1..=3), counts).map_err(about("cases"))?,
        starts: span(written.starts.as_deref()).map_err(about("starts"))?,
        draws,
        events,
        log,
        answers,
        disturbances: disturbances(&written.disturbances).map_err(about("disturbances"))?,
        lasts: written.lasts.as_deref().map_or(Ok(LASTS), duration).map_err(about("lasts"))?,
        may_fail: written.may_fail,
        may_go_on: written.may_go_on,
        invariants,
    })
}

/// The events of a log, in the order in which they arrive.
fn log(file: Option<&Path>, folder: &Path) -> Result<Arc<[Arrival]>, String> {
    let Some(file) = file else { return Ok(Arc::default()) };
    let read = EventLog::read(&[folder.join(file)], Order::Time);
    let arrivals = read.map_err(|error| format!("{error:#}"))?.arrivals;
    match arrivals.len() <= LOG_EVENTS_MAX {
        true => Ok(arrivals.into()),
        false => Err(format!(
            "{} has {} events, and each run repeats all of them; at most {LOG_EVENTS_MAX} are \
             accepted, so choose a part of it",
            file.display(),
            arrivals.len()
        )),
    }
}

impl Simulation {
    /// The events of the log: the names of the choices that they arrive, when, and what.
    pub(super) fn log_events(&self) -> impl Iterator<Item = (String, Timestamp, Event)> {
        let first = self.log.first().map_or(0, |first| first.at.0);
        self.log.iter().filter_map(move |arrival| {
            let Happening::Event(event) = &arrival.what else { return None };
            let name = format!("log {} {}", event.source, event.id);
            let after = Duration::from_millis(arrival.at.0 - first);
            Some((name, self.given.now.after(after), Event::clone(event)))
        })
    }

    /// When a run is over, whatever would still come.
    pub(super) fn ends_at(&self) -> Timestamp {
        let first = self.log.first().map_or(0, |first| first.at.0);
        let last = self.log.last().map_or(0, |last| last.at.0);
        self.given.now.after(Duration::from_millis(last - first)).after(self.lasts)
    }
}

fn draws(written: &Object) -> Result<Vec<(String, Draw)>, String> {
    let mut draws: Vec<(String, Draw)> = Vec::new();
    for (name, value) in written {
        let draw = Draw::parse(value).map_err(|why| format!("draws.{name}: {why}"))?;
        let earlier: Vec<&str> = draws.iter().map(|(name, _)| name.as_str()).collect();
        for place in draw.places() {
            let is_index = matches!(draw, Draw::ListOf(..)) && place == "index";
            if !is_index {
                known(&place, &earlier).map_err(|why| format!("draws.{name}: {why}"))?;
            }
        }
        draws.push((name.clone(), draw));
    }
    Ok(draws)
}

fn known(place: &str, names: &[&str]) -> Result<(), String> {
    match names.contains(&place) || ALWAYS_KNOWN.contains(&place) {
        true => Ok(()),
        false => Err(format!("nothing is drawn as `${place}`, or not before this")),
    }
}

fn coming(written: WrittenComing, names: &[&str]) -> Result<Coming, String> {
    let what = Template {
        event_type: written.event_type,
        subject: written.subject,
        extensions: written.extensions,
        data: written.data,
    };
    if let Some(each) = &written.each {
        known(each, names).map_err(|why| format!("each: {why}"))?;
    }
    for place in what.places() {
        if place != "each" || written.each.is_none() {
            known(&place, names)?;
        }
    }
    Ok(Coming {
        what,
        after: span(written.after.as_deref()).map_err(|why| format!("after: {why}"))?,
        odds: odds("odds", written.odds.as_ref(), Odds::ALWAYS)?,
        again: odds("again", written.again.as_ref(), Odds::NEVER)?,
        each: written.each,
    })
}

fn disturbances(written: &WrittenDisturbances) -> Result<Disturbances, String> {
    let or = |name: &str, value: &Option<Json>, percent: f64| {
        odds(name, value.as_ref(), Odds::percent(percent).unwrap_or(Odds::NEVER))
    };
    Ok(Disturbances {
        duplicates: or("duplicates", &written.duplicates, 10.0)?,
        delays: or("delays", &written.delays, 20.0)?,
        delay: written.delay.as_deref().map_or(Ok(Duration::from_mins(1)), duration)?,
        crashes: or("crashes", &written.crashes, 3.0)?,
        commits: or("commits", &written.commits, 5.0)?,
        reads: or("reads", &written.reads, 2.0)?,
        calls: or("calls", &written.calls, 5.0)?,
        lookups: or("lookups", &written.lookups, 5.0)?,
        deliveries: or("deliveries", &written.deliveries, 10.0)?,
    })
}

/// `5`, `0.5` or `5%`.
pub(super) fn odds(name: &str, value: Option<&Json>, otherwise: Odds) -> Result<Odds, String> {
    let Some(value) = value else { return Ok(otherwise) };
    let percent = match value {
        Json::String(text) => text.trim_end_matches('%').trim_end().parse().ok(),
        other => other.as_f64(),
    };
    let odds = percent.and_then(Odds::percent);
    odds.ok_or_else(|| format!("{name}: {value} is not a percentage from 0 to 100"))
}

/// `3` or `1..5`.
fn counts(value: &Json) -> Result<RangeInclusive<u64>, String> {
    let wrong = || format!("{value} is neither a count such as 3 nor counts such as 1..5");
    let range = match value {
        Json::String(text) => {
            let (from, to) = text.split_once("..").ok_or_else(wrong)?;
            from.trim().parse().ok().zip(to.trim().parse().ok())
        }
        other => other.as_u64().map(|count| (count, count)),
    };
    match range {
        Some((from, to)) if 1 <= from && from <= to => Ok(from..=to),
        _ => Err(wrong()),
    }
}

/// `10m` or `0s..2h`; at once, if nothing is said.
pub(super) fn span(text: Option<&str>) -> Result<Span, String> {
    let Some(text) = text else { return Ok(Span { from: Duration::ZERO, to: Duration::ZERO }) };
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let span = Span { from: duration(from.trim())?, to: duration(to.trim())? };
    match span.from <= span.to {
        true => Ok(span),
        false => Err(format!("`{text}` ends before it begins")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = "  events: [{type: A}]\n";

    #[track_caller]
    fn refused(rest: &str, expected: &str) {
        let error = parse(&format!("- simulation: s\n{rest}"), Path::new("")).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(expected), "`{expected}` is not in `{error}`");
    }

    fn one(rest: &str) -> Simulation {
        parse(&format!("- simulation: s\n{rest}"), Path::new("")).unwrap().remove(0)
    }

    #[test]
    fn what_is_not_said_is_usual() {
        let simulation = one(EVENTS);
        assert_eq!(simulation.cases, 1..=3);
        assert_eq!(simulation.given.now, NOW);
        assert_eq!(simulation.events[0].odds, Odds::ALWAYS);
        assert_eq!(simulation.events[0].again, Odds::NEVER);
        assert_eq!(Some(simulation.disturbances.commits), Odds::percent(5.0));
    }

    #[test]
    fn times_counts_and_odds_are_written_as_people_write_them() {
        let simulation = one(
            "  cases: 2..5\n  starts: 0s..1m\n  events: [{type: A, after: 10m, odds: 50%, again: 0.5}]\n",
        );
        assert_eq!(simulation.cases, 2..=5);
        assert_eq!(simulation.starts.to, Duration::from_mins(1));
        let coming = &simulation.events[0];
        assert_eq!(
            (coming.after.from, coming.after.to),
            (coming.after.to, Duration::from_mins(10))
        );
        assert_eq!(Some(coming.odds), Odds::percent(50.0));
        assert_eq!(Some(coming.again), Odds::percent(0.5));
    }

    #[test]
    fn answers_share_what_the_others_leave() {
        let simulation = one(&format!(
            "{EVENTS}  answers: {{C: [{{type: A, odds: 60}}, {{type: B}}, {{refused: closed, odds: 10}}]}}\n"
        ));
        let (_, answers) = simulation.answers.iter().next().unwrap();
        let odds: Vec<_> = answers.iter().map(|answer| Some(answer.odds)).collect();
        assert_eq!(odds, [60.0, 30.0, 10.0].map(Odds::percent));
    }

    #[test]
    fn what_is_wrong_is_said() {
        refused("  events: []\n", "simulation `s`: events: no event ever arrives");
        refused("  events: [{type: A, data: $x}]\n", "events[0]: nothing is drawn as `$x`");
        refused("  events: [{type: A, data: $each}]\n", "nothing is drawn as `$each`");
        refused("  draws: {a: $b, b: 1}\n  events: [{type: A}]\n", "draws.a: nothing is drawn as");
        refused("  events: [{type: A, odds: 101}]\n", "odds: 101 is not a percentage");
        refused("  events: [{type: A, after: 2m..1m}]\n", "after: `2m..1m` ends before it begins");
        refused(&format!("{EVENTS}  cases: 3..1\n"), "cases: \"3..1\" is neither a count");
        refused(&format!("{EVENTS}  answers: {{C: [{{odds: 5}}]}}\n"), "exactly one of `type`");
        refused(
            &format!("{EVENTS}  answers: {{C: [{{type: A, odds: 60}}, {{type: B, odds: 50}}]}}\n"),
            "answers.C: odds: together they are more than 100",
        );
        refused(
            &format!("{EVENTS}  answers: {{C: [{{type: A, data: $order}}]}}\n"),
            "`$order` is not known of a command",
        );
        refused(&format!("{EVENTS}  disturbance: {{}}\n"), "disturbance");
        refused(&format!("{EVENTS}  invariants: [{{ends: maybe}}]\n"), "invariants[0]:");
    }
}
