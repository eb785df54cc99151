//! Where two backtests on one log came to something else, in groups: one cause mostly changes many
//! messages in the same way.

use std::collections::{BTreeMap, BTreeSet};

use sagabox_engine::model::Timestamp;

use super::findings::{Findings, Sent, TimerOutcome};
use super::rows::{KIND, content};
use crate::decisions::json::{Json, differences};
use crate::io::figures::length;
use crate::verify::simulation::Who;

/// Examples that a group keeps.
const EXAMPLES_MAX: usize = 3;
/// Longer values are cut.
const SHOWN_CHARACTERS: usize = 80;

/// What differs in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Such as "`Pay`: data.sum".
    pub what: String,
    pub count: u64,
    /// The first: which instance, and what of it.
    pub examples: Vec<String>,
}

#[derive(Default)]
struct Groups(BTreeMap<(u8, String), (u64, Vec<String>)>);

impl Groups {
    /// `rank` says which groups stand first.
    fn add(&mut self, rank: u8, what: String, who: &Who, example: String) {
        let (count, examples) = self.0.entry((rank, what)).or_default();
        *count += 1;
        if examples.len() < EXAMPLES_MAX {
            let key = format!("{} `{}`", who.plugin, who.key);
            examples.push(if example.is_empty() { key } else { format!("{key}: {example}") });
        }
    }
}

/// Everything in which the new findings are not the old ones, the most frequent first.
#[must_use]
pub fn compare(old: &Findings, new: &Findings) -> Vec<Group> {
    let mut groups = Groups::default();
    ends(old, new, &mut groups);
    messages(old, new, &mut groups);
    timers(old, new, &mut groups);
    dead_letters(old, new, &mut groups);
    let groups = groups.0.into_iter();
    let mut groups: Vec<(u8, Group)> = groups
        .map(|((rank, what), (count, examples))| (rank, Group { what, count, examples }))
        .collect();
    groups.sort_by_key(|(rank, group)| (*rank, std::cmp::Reverse(group.count)));
    groups.into_iter().map(|(_, group)| group).collect()
}

fn ends(old: &Findings, new: &Findings, groups: &mut Groups) {
    let of = |findings: &Findings| -> BTreeMap<Who, &'static str> {
        let all = findings.processes.iter();
        all.map(|process| (process.who.clone(), process.end.as_str())).collect()
    };
    let (old, new) = (of(old), of(new));
    let all: BTreeSet<&Who> = old.keys().chain(new.keys()).collect();
    for who in all {
        let what = match (old.get(who), new.get(who)) {
            (Some(old), Some(new)) if old != new => format!("instances: {new}, not {old}"),
            (Some(_), None) => "instances that only the old version has".to_owned(),
            (None, Some(_)) => "instances that only the new version has".to_owned(),
            _ => continue,
        };
        groups.add(0, what, who, String::new());
    }
}

fn messages(old: &Findings, new: &Findings, groups: &mut Groups) {
    type Place<'f> = (&'f Who, &'f str);
    let mut all: BTreeMap<Place, (Vec<&Sent>, Vec<&Sent>)> = BTreeMap::new();
    for sent in &old.sent {
        all.entry((&sent.who, &sent.event.event_type)).or_default().0.push(sent);
    }
    for sent in &new.sent {
        all.entry((&sent.who, &sent.event.event_type)).or_default().1.push(sent);
    }
    for ((who, name), (old, new)) in &all {
        // The first of one type is compared with the first of the other version, and so on.
        for (old, new) in old.iter().zip(new) {
            let mut parts = BTreeSet::new();
            for difference in differences("", &content(old), &content(new)) {
                let shown = |value: &Option<Json>| value.as_ref().map_or("nothing".into(), cut);
                let example = format!(
                    "{} was {}, is {}",
                    difference.place,
                    shown(&difference.expected),
                    shown(&difference.found)
                );
                // The elements of a list differ in one way.
                if parts.insert(without_indexes(&difference.place)) {
                    let what = format!("`{name}`: {}", without_indexes(&difference.place));
                    groups.add(1, what, who, example);
                }
            }
            if old.at != new.at {
                groups.add(3, format!("`{name}`: another time"), who, moved(old.at, new.at));
            }
        }
        let both = old.len().min(new.len());
        for (more, version) in [(&old[both..], "old"), (&new[both..], "new")] {
            for sent in more {
                let what = format!("`{name}`: only the {version} version sends it");
                groups.add(1, what, who, format!("at {}", sent.at.to_rfc3339()));
            }
        }
    }
}

fn timers(old: &Findings, new: &Findings, groups: &mut Groups) {
    type Place<'f> = (&'f Who, &'f str);
    let mut all: BTreeMap<Place, (Vec<Timestamp>, Vec<Timestamp>)> = BTreeMap::new();
    let fired = |timer: &&super::findings::TimerFound| timer.outcome == TimerOutcome::Fired;
    for timer in old.timers.iter().filter(fired) {
        all.entry((&timer.who, &timer.name)).or_default().0.push(timer.at);
    }
    for timer in new.timers.iter().filter(fired) {
        all.entry((&timer.who, &timer.name)).or_default().1.push(timer.at);
    }
    for ((who, name), (old, new)) in &all {
        for (old, new) in old.iter().zip(new).filter(|(old, new)| old != new) {
            groups.add(3, format!("timer `{name}`: another time"), who, moved(*old, *new));
        }
        let both = old.len().min(new.len());
        for (more, version) in [(&old[both..], "old"), (&new[both..], "new")] {
            for at in more {
                let what = format!("timer `{name}`: fires only with the {version} version");
                groups.add(2, what, who, format!("at {}", at.to_rfc3339()));
            }
        }
    }
}

fn dead_letters(old: &Findings, new: &Findings, groups: &mut Groups) {
    let of = |findings: &Findings| -> BTreeMap<(Who, String), String> {
        let unresolved =
            findings.dead_letters.iter().filter(|dead_letter| dead_letter.is_unresolved);
        let all = unresolved.map(|dead_letter| {
            let key = dead_letter.key.clone().unwrap_or_else(|| "".into());
            let who = Who { plugin: dead_letter.plugin.clone(), key };
            let event = format!(
                "{} {} {}",
                dead_letter.event.source, dead_letter.event.id, dead_letter.event.event_type
            );
            ((who, event), dead_letter.reason.clone())
        });
        all.collect()
    };
    let (old, new) = (of(old), of(new));
    for (more, less, version) in [(&old, &new, "old"), (&new, &old, "new")] {
        for ((who, event), reason) in more {
            if !less.contains_key(&(who.clone(), event.clone())) {
                let what = format!("dead letters of only the {version} version");
                groups.add(0, what, who, reason.clone());
            }
        }
    }
}

fn moved(old: Timestamp, new: Timestamp) -> String {
    match new >= old {
        true => format!("{} later, at {}", length(new.0 - old.0), new.to_rfc3339()),
        false => format!("{} earlier, at {}", length(old.0 - new.0), new.to_rfc3339()),
    }
}

/// `data.items[3].price` as `data.items[].price`.
fn without_indexes(place: &str) -> String {
    let mut shown = String::with_capacity(place.len());
    let mut is_index = false;
    for dead_letter in place.chars() {
        match dead_letter {
            '[' => {
                is_index = true;
                shown.push('[');
            }
            ']' => {
                is_index = false;
                shown.push(']');
            }
            dead_letter if is_index && dead_letter.is_ascii_digit() => {}
            dead_letter => shown.push(dead_letter),
        }
    }
    shown
}

fn cut(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Group {
    /// For people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} {}", crate::io::figures::grouped(self.count), self.what)];
        lines.extend(self.examples.iter().map(|example| format!("  {example}")));
        lines
    }

    /// As a row.
    #[must_use]
    pub fn row(&self) -> Json {
        Json::object([
            (KIND, "difference".into()),
            ("what", self.what.as_str().into()),
            ("count", self.count.into()),
            ("examples", self.examples.iter().map(|one| Json::from(one.as_str())).collect()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_a_list_differ_in_one_way() {
        assert_eq!(without_indexes("data.items[12].price[0]"), "data.items[].price[]");
        assert_eq!(without_indexes("data.2"), "data.2");
    }
}
