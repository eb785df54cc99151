//! The history of an instance as a drawing: decisions, messages and timers over time, without the
//! time in which nothing happened.

use sagabox_engine::model::{Due, RecordedTimer, Timestamp};

use crate::api::decisions::DecisionView;

/// The drawing's own units; a page scales it.
const WIDTH: f64 = 900.0;
const MARGIN: f64 = 12.0;
/// A pause takes as much room as this many usual ones, and no more.
const FOLDED: u64 = 4;
/// Shorter pauses are never folded.
const FOLDED_MS_MIN: u64 = 1_000;
/// With more, the dots cannot be distinguished.
const DOTS_MAX: usize = 6;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Timeline {
    pub label: String,
    pub decisions: Vec<Mark>,
    pub messages: Vec<Dot>,
    pub timers: Vec<Bar>,
    pub folds: Vec<Fold>,
}

/// A decision.
#[derive(Debug, PartialEq)]
pub(super) struct Mark {
    pub x: String,
    pub position: u64,
    pub title: String,
}

/// A message.
#[derive(Debug, PartialEq)]
pub(super) struct Dot {
    pub x: String,
    pub y: String,
    pub title: String,
}

/// A timer from when it was set to when it is due.
#[derive(Debug, PartialEq)]
pub(super) struct Bar {
    pub from: String,
    pub to: String,
    pub title: String,
}

/// A pause that is drawn shorter than it was.
#[derive(Debug, PartialEq)]
pub(super) struct Fold {
    pub x: String,
    pub length: String,
}

impl Timeline {
    /// `decisions` are the newest first.
    pub(super) fn of(decisions: &[DecisionView]) -> Self {
        let oldest_first = || decisions.iter().rev();
        let mut times: Vec<u64> = oldest_first().map(|decision| decision.decided_at.0).collect();
        let dues = || oldest_first().flat_map(due);
        times.extend(dues().map(|(_, _, due)| due.0));
        times.sort_unstable();
        times.dedup();
        let scale = Scale::of(&times);
        let mark = |decision: &DecisionView| Mark {
            x: scale.at(decision.decided_at),
            position: decision.position,
            title: title(decision),
        };
        let dot = |decision: &DecisionView| {
            let x = scale.at(decision.decided_at);
            let sent = decision.summary.messages.iter().take(DOTS_MAX).enumerate();
            let dots = sent.map(|(index, sent)| Dot {
                x: x.clone(),
                y: (50 + index * 7).to_string(),
                title: sent.event_type.clone(),
            });
            dots.collect::<Vec<_>>()
        };
        let bar = |(name, set, due): (String, Timestamp, Timestamp)| Bar {
            from: scale.at(set),
            to: scale.at(due),
            title: format!("timer {name}"),
        };
        let count = super::words::counted(decisions.len() as u64, "decision", "decisions");
        Self {
            label: format!("Timeline of {count}; the table below has the details"),
            decisions: oldest_first().map(mark).collect(),
            messages: oldest_first().flat_map(dot).collect(),
            timers: dues().map(bar).collect(),
            folds: scale.folds(),
        }
    }
}

/// The timers that a decision has set.
fn due(decision: &DecisionView) -> Vec<(String, Timestamp, Timestamp)> {
    let set = decision.summary.timers.iter().filter_map(|timer| match timer {
        RecordedTimer::Set(name, Due::After(millis)) => {
            let due = decision.decided_at.0.saturating_add(*millis);
            Some((name.to_string(), decision.decided_at, Timestamp(due)))
        }
        RecordedTimer::Set(name, Due::At(at)) => Some((name.to_string(), decision.decided_at, *at)),
        RecordedTimer::Cancel(_) => None,
    });
    set.collect()
}

fn title(decision: &DecisionView) -> String {
    let event = decision.event.as_ref().and_then(|event| super::words::type_of(event.get()));
    let event = event.unwrap_or_else(|| "event".to_owned());
    format!("{event} at position {}", decision.position)
}

/// Where each time is drawn.
struct Scale {
    /// Times and places, in order.
    places: Vec<(u64, f64)>,
    folded: Vec<(f64, u64)>,
}

impl Scale {
    fn of(times: &[u64]) -> Self {
        let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut sorted = pauses.clone();
        sorted.sort_unstable();
        let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(1);
        let longest = (usual.saturating_mul(FOLDED)).max(FOLDED_MS_MIN);
        let drawn: Vec<u64> = pauses.iter().map(|pause| (*pause).min(longest)).collect();
        let sum = drawn.iter().sum::<u64>().max(1);
        let (mut places, mut folded, mut place) = (Vec::new(), Vec::new(), MARGIN);
        for (index, time) in times.iter().enumerate() {
            places.push((*time, place));
            let Some(pause) = pauses.get(index) else { break };
            let width = (WIDTH - 2.0 * MARGIN) * precise(drawn[index]) / precise(sum);
            if *pause > longest {
                folded.push((place + width / 2.0, *pause));
            }
            place += width;
        }
        Self { places, folded }
    }

    fn at(&self, time: Timestamp) -> String {
        let found = self.places.binary_search_by_key(&time.0, |(time, _)| *time);
        let place = found.map_or(MARGIN, |index| self.places[index].1);
        format!("{place:.1}")
    }

    fn folds(&self) -> Vec<Fold> {
        let fold = |(x, pause): &(f64, u64)| Fold {
            x: format!("{x:.1}"),
            length: super::words::length(pause),
        };
        self.folded.iter().map(fold).collect()
    }
}

/// Beyond 2^53 a point of a drawing may be off by one.
#[expect(clippy::cast_precision_loss, reason = "a point of a drawing")]
fn precise(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::DecisionSummary;

    use super::*;

    fn decision(position: u64, at: u64, summary: &str) -> DecisionView {
        DecisionView {
            position,
            decided_at: Timestamp(at),
            plugin_version: "1".to_owned(),
            attempt: 1,
            event: None,
            summary: DecisionSummary::from_json(summary).unwrap(),
            deliveries: Vec::new(),
            state: None,
            state_version: None,
            changes: None,
        }
    }

    #[test]
    fn a_long_pause_is_folded_and_says_how_long_it_was() {
        let day = 86_400_000;
        let timeline = Timeline::of(&[
            decision(4, day + 3_000, "{}"),
            decision(3, day + 2_000, "{}"),
            decision(2, 1_000, "{}"),
            decision(1, 0, "{}"),
        ]);
        assert_eq!(timeline.folds.len(), 1);
        assert_eq!(timeline.folds[0].length, "1d 1s");
        let places: Vec<_> = timeline.decisions.iter().map(|mark| mark.x.as_str()).collect();
        assert_eq!(places, ["12.0", "158.0", "742.0", "888.0"]);
    }

    #[test]
    fn messages_and_timers_stand_at_their_times() {
        let summary = r#"{"messages":[{"id":"m","kind":"command","type":"Pay"},{"id":"n","kind":"event","type":"Paid"}],
            "timers":[{"set":"t","after_ms":500},{"cancel":"u"}]}"#;
        let timeline = Timeline::of(&[decision(2, 1_000, "{}"), decision(1, 0, summary)]);
        let dots: Vec<_> =
            timeline.messages.iter().map(|dot| (&*dot.x, &*dot.y, &*dot.title)).collect();
        assert_eq!(dots, [("12.0", "50", "Pay"), ("12.0", "57", "Paid")]);
        assert_eq!(timeline.timers[0].from, "12.0");
        assert_eq!(timeline.timers[0].to, "450.0");
        assert_eq!(timeline.folds, []);
    }

    #[test]
    fn one_decision_or_none_is_drawn_as_well() {
        assert_eq!(Timeline::of(&[]).decisions, []);
        assert_eq!(Timeline::of(&[decision(1, 5, "{}")]).decisions[0].x, "12.0");
    }
}
