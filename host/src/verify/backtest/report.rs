//! The summary of a backtest: as JSON for programs, and as text for people.

use std::collections::BTreeMap;

use sagabox_engine::model::{Counters, PluginName, Timestamp};

use super::findings::{End, Findings, PluginFound};
use super::rows::KIND;
use crate::decisions::json::{Json, Object};
use crate::io::figures::{counted, grouped, length};

/// Dead letters that the text names one by one.
const DEAD_LETTERS_SHOWN_MAX: usize = 10;
const QUANTILES: [(&str, u64); 5] =
    [("min", 0), ("median", 500), ("p90", 900), ("p99", 990), ("max", 1_000)];

/// What arrived in a backtest.
#[derive(Clone, Debug, Default)]
pub struct Arrived {
    pub events: u64,
    /// Left out, because they would arrive after the end.
    pub after_end: u64,
    pub duplicates: u64,
    /// Of the duplicates: those with other content than the first.
    pub differing: u64,
    pub out_of_order: u64,
    /// Moved by `--shuffle` and `--late`.
    pub late: u64,
    /// Of a store: what the host had made.
    pub made_by_host: u64,
    pub from: Timestamp,
    pub until: Timestamp,
}

type Counts<K> = BTreeMap<K, u64>;

/// What the summary says of one plugin.
struct Totals<'f> {
    plugin: &'f PluginFound,
    decisions: u64,
    messages: Counts<&'f str>,
    /// By name, and by what became of them.
    timers: BTreeMap<&'f str, Counts<&'static str>>,
    ends: Counts<End>,
    /// Sorted, in milliseconds.
    durations: BTreeMap<End, Vec<u64>>,
    dead_letters: u64,
}

fn totals(findings: &Findings) -> Vec<Totals<'_>> {
    let mut all: BTreeMap<&PluginName, Totals> = BTreeMap::new();
    for plugin in &findings.plugins {
        let totals = Totals {
            decisions: plugin.counters.handled,
            plugin,
            messages: Counts::new(),
            timers: BTreeMap::new(),
            ends: Counts::new(),
            durations: BTreeMap::new(),
            dead_letters: 0,
        };
        all.insert(&plugin.manifest.name, totals);
    }
    for sent in &findings.sent {
        if let Some(totals) = all.get_mut(&sent.who.plugin) {
            *totals.messages.entry(&sent.event.event_type).or_default() += 1;
        }
    }
    for timer in &findings.timers {
        if let Some(totals) = all.get_mut(&timer.who.plugin) {
            let of_name = totals.timers.entry(&timer.name).or_default();
            *of_name.entry(timer.outcome.as_str()).or_default() += 1;
        }
    }
    for process in &findings.processes {
        if let Some(totals) = all.get_mut(&process.who.plugin) {
            *totals.ends.entry(process.end).or_default() += 1;
            if process.end.is_over() {
                totals.durations.entry(process.end).or_default().push(process.duration_ms());
            }
        }
    }
    for dead_letter in findings.dead_letters.iter().filter(|dead_letter| dead_letter.is_unresolved)
    {
        if let Some(totals) = all.get_mut(&dead_letter.plugin) {
            totals.dead_letters += 1;
        }
    }
    let mut all: Vec<Totals> = all.into_values().collect();
    all.iter_mut().flat_map(|totals| totals.durations.values_mut()).for_each(|d| d.sort_unstable());
    all
}

/// The value that so many thousandths of the sorted values do not exceed.
fn quantile(sorted: &[u64], thousandths: u64) -> u64 {
    let last = sorted.len().saturating_sub(1) as u64;
    let index = (last * thousandths).div_ceil(1_000);
    usize::try_from(index).ok().and_then(|index| sorted.get(index)).copied().unwrap_or_default()
}

fn ignored(counters: &Counters) -> [(&'static str, u64); 6] {
    [
        ("absent", counters.ignored_absent),
        ("started", counters.ignored_started),
        ("completed", counters.ignored_completed),
        ("unclaimed", counters.ignored_unclaimed),
        ("superseded", counters.ignored_superseded),
        ("missed", counters.ignored_missed),
    ]
}

// ---- for programs ---------------------------------------------------------------------

/// The last row.
#[must_use]
pub fn summary(arrived: &Arrived, findings: &Findings) -> Json {
    let events = Json::object([
        ("arrived", arrived.events.into()),
        ("after_end", arrived.after_end.into()),
        ("duplicates", arrived.duplicates.into()),
        ("differing", arrived.differing.into()),
        ("out_of_order", arrived.out_of_order.into()),
        ("late", arrived.late.into()),
        ("made_by_host", arrived.made_by_host.into()),
        ("untaken", counts(&findings.untaken)),
    ]);
    Json::object([
        (KIND, "summary".into()),
        ("from", arrived.from.to_rfc3339().into()),
        ("until", arrived.until.to_rfc3339().into()),
        ("events", events),
        ("plugins", totals(findings).iter().map(plugin_json).collect()),
        (
            "operators_refused",
            findings.refused.iter().map(|why| Json::from(why.as_str())).collect(),
        ),
    ])
}

fn counts<K: AsRef<str>>(counts: &Counts<K>) -> Json {
    Json::object(counts.iter().map(|(name, count)| (name.as_ref(), Json::from(*count))))
}

fn plugin_json(totals: &Totals) -> Json {
    let PluginFound { manifest, counters, held, parked } = totals.plugin;
    let mut json = Object::default();
    json.insert("plugin", manifest.name.as_str().into());
    json.insert("version", (*manifest.version).into());
    json.insert("decisions", totals.decisions.into());
    let reasons = ignored(counters).into_iter().map(|(why, count)| (why, Json::from(count)));
    json.insert("ignored", Json::object(reasons));
    json.insert("held", (*held).into());
    json.insert("parked", (*parked).into());
    json.insert("messages", counts(&totals.messages));
    let timers = totals.timers.iter().map(|(name, outcomes)| (*name, counts(outcomes)));
    json.insert("timers", Json::object(timers));
    if manifest.role.has_instances() {
        let ends = totals.ends.iter().map(|(end, count)| (end.as_str(), Json::from(*count)));
        json.insert("instances", Json::object(ends));
        let durations = totals.durations.iter().map(|(end, sorted)| {
            let of = |(name, part): &(&'static str, u64)| (*name, quantile(sorted, *part).into());
            (end.as_str(), Json::object(QUANTILES.iter().map(of)))
        });
        json.insert("durations_ms", Json::object(durations));
    }
    json.insert("dead_letters", totals.dead_letters.into());
    json.into()
}

// ---- for people -----------------------------------------------------------------------

/// The same in lines.
#[must_use]
pub fn text(arrived: &Arrived, findings: &Findings) -> Vec<String> {
    let mut lines = vec![format!(
        "{} from {} to {}",
        counted(arrived.events, "event", "events"),
        arrived.from.to_rfc3339(),
        arrived.until.to_rfc3339()
    )];
    for (count, what) in [
        (arrived.after_end, "more would arrive after the end, and are left out"),
        (arrived.duplicates, "have the source and id of an earlier event, and are ignored"),
        (arrived.out_of_order, "stand behind a later event"),
        (arrived.late, "arrive late, as asked"),
        (arrived.made_by_host, "more were made by the host, which makes them again"),
    ] {
        if count > 0 {
            lines.push(format!("  {} {what}", grouped(count)));
        }
    }
    for (name, count) in &findings.untaken {
        let name = if name.is_empty() { "of other types".to_owned() } else { format!("`{name}`") };
        lines.push(format!("  {} {name} that no plugin takes", grouped(*count)));
    }
    for why in &findings.refused {
        lines.push(format!("  an operator's request that fails here: {why}"));
    }
    for totals in &totals(findings) {
        plugin_lines(totals, &mut lines);
    }
    dead_letter_lines(findings, &mut lines);
    lines
}

fn plugin_lines(totals: &Totals, lines: &mut Vec<String>) {
    let PluginFound { manifest, counters, held, parked } = totals.plugin;
    let (name, version) = (&manifest.name, &manifest.version);
    let decisions = counted(totals.decisions, "decision", "decisions");
    lines.push(format!("{name} {version}: {decisions}"));
    let list = |counts: &mut dyn Iterator<Item = (String, u64)>| {
        let some = counts.filter(|(_, count)| *count > 0);
        let shown = some.map(|(name, count)| format!("{} {name}", grouped(count)));
        shown.collect::<Vec<_>>().join(", ")
    };
    let instances = totals.ends.values().sum::<u64>();
    if instances > 0 {
        let mut ends = totals.ends.iter().map(|(end, n)| (end.as_str().replace('_', " "), *n));
        let instances = counted(instances, "instance", "instances");
        lines.push(format!("  {instances}: {}", list(&mut ends)));
    }
    for (end, sorted) in &totals.durations {
        let of = |(name, part): &(&str, u64)| format!("{name} {}", length(quantile(sorted, *part)));
        let shown: Vec<String> = QUANTILES.iter().map(of).collect();
        lines.push(format!("  time until {}: {}", end.as_str(), shown.join(", ")));
    }
    let mut sent = totals.messages.iter().map(|(name, count)| (format!("`{name}`"), *count));
    let sent = list(&mut sent);
    lines.push(format!("  sent: {}", if sent.is_empty() { "nothing" } else { &sent }));
    for (name, outcomes) in &totals.timers {
        let mut outcomes = outcomes.iter().map(|(outcome, count)| ((*outcome).to_owned(), *count));
        lines.push(format!("  timer `{name}`: {}", list(&mut outcomes)));
    }
    let mut reasons = ignored(counters).into_iter().map(|(why, count)| (why.to_owned(), count));
    let reasons = list(&mut reasons);
    if !reasons.is_empty() {
        lines.push(format!("  ignored events: {reasons}"));
    }
    for (count, what) in [
        (*held, "held at the end, for instances that may claim them"),
        (*parked, "waiting at the end, behind another of their key"),
    ] {
        if count > 0 {
            lines.push(format!("  {} {what}", counted(count, "event", "events")));
        }
    }
}

fn dead_letter_lines(findings: &Findings, lines: &mut Vec<String>) {
    let unresolved: Vec<_> = findings.dead_letters.iter().filter(|one| one.is_unresolved).collect();
    if unresolved.is_empty() {
        return;
    }
    let count = unresolved.len() as u64;
    lines.push(format!("{}:", counted(count, "dead letter", "dead letters")));
    for dead_letter in unresolved.iter().take(DEAD_LETTERS_SHOWN_MAX) {
        let key = dead_letter.key.as_ref().map_or_else(|| "-".to_owned(), |key| format!("`{key}`"));
        lines.push(format!(
            "  {} {} {key}: {} ({}): {}",
            dead_letter.at.to_rfc3339(),
            dead_letter.plugin,
            dead_letter.event.event_type,
            dead_letter.event.id,
            dead_letter.reason
        ));
    }
    let more = unresolved.len().saturating_sub(DEAD_LETTERS_SHOWN_MAX);
    if more > 0 {
        lines.push(format!("  … and {} more; --out writes all", grouped(more as u64)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let sorted: Vec<u64> = (1..=100).collect();
        for (thousandths, expected) in [(0, 1), (500, 51), (900, 91), (990, 100), (1_000, 100)] {
            assert_eq!(quantile(&sorted, thousandths), expected);
        }
        assert_eq!(quantile(&[7], 500), 7);
        assert_eq!(quantile(&[], 500), 0);
    }
}
