//! Pure: a run as a history that a person reads.

use sagabox_engine::model::{Due, KeyChange, MessageKind, RecordedTimer, Timestamp};

use super::history::{Deed, json_of, name_of};
use super::trial::Failing;
use crate::decisions::json::Json;

/// Data of an event beyond this is cut.
const SHOWN_MAX: usize = 160;

/// What came, what was decided and what went wrong, line by line.
#[must_use]
pub fn history_lines(failing: &Failing, start: Timestamp) -> Vec<String> {
    let run = &failing.run;
    let mut entries: Vec<(Timestamp, u8, Vec<String>)> = Vec::new();
    let disturbed = run.choices.iter().filter(|choice| !choice.what.is_empty());
    // What went wrong stands before what came of it at the same time.
    entries.extend(disturbed.map(|choice| (choice.at, 0, vec![format!("! {}", choice.what)])));
    for deed in &run.history.deeds {
        entries.push((deed.at, 1, deed_lines(deed)));
    }
    for (at, event) in &run.history.unused {
        let line = format!("{} {} has no receiver", name_of(event), shown(&json_of(&event.data)));
        entries.push((*at, 1, vec![line]));
    }
    for failed in &run.history.failed {
        let event = &failed.event;
        let line = format!(
            "{} {} fails for good: {}",
            name_of(event),
            shown(&json_of(&event.data)),
            failed.reason
        );
        entries.push((failed.at, 2, vec![line]));
    }
    entries.sort_by_key(|(at, order, _)| (*at, *order));
    let lines = entries.into_iter().flat_map(|(at, _, lines)| {
        let time = format!("+{}", time_of(at.0.saturating_sub(start.0)));
        let lines = lines.into_iter().enumerate();
        lines.map(move |(index, line)| {
            let time = if index == 0 { time.as_str() } else { "" };
            format!("{time:<12} {line}")
        })
    });
    let end = format!("+{}", time_of(run.ended_at.0.saturating_sub(start.0)));
    lines.chain([format!("{end:<12} BROKEN: {}", failing.broken.why)]).collect()
}

fn deed_lines(deed: &Deed) -> Vec<String> {
    let event = &deed.event;
    let data = json_of(&event.data);
    let data = if data.is_null() { String::new() } else { format!(" {}", shown(&data)) };
    let who = &deed.who;
    let mut lines =
        vec![format!("{}{data} reaches `{}` of {}", name_of(event), who.key, who.plugin)];
    for (kind, message) in &deed.messages {
        let verb = if *kind == MessageKind::Command { "sends" } else { "emits" };
        let data = shown(&json_of(&message.data));
        lines.push(format!("  {verb} {} {data}", message.event_type));
    }
    for timer in &deed.timers {
        lines.push(match timer {
            RecordedTimer::Set(name, Due::After(millis)) => {
                format!("  sets timer `{name}` in {}", time_of(*millis))
            }
            RecordedTimer::Set(name, Due::At(at)) => {
                format!("  sets timer `{name}` to {}", at.to_rfc3339())
            }
            RecordedTimer::Cancel(name) => format!("  cancels timer `{name}`"),
        });
    }
    for key in &deed.keys {
        lines.push(match key {
            KeyChange::Claim(key) => format!("  claims `{key}`"),
            KeyChange::Release(key) => format!("  releases `{key}`"),
        });
    }
    if let Some(state) = &deed.state {
        lines.push(format!("  is now {}", shown(&json_of(&state.data))));
    }
    if deed.completes {
        lines.push("  ends".to_owned());
    }
    if lines.len() == 1 {
        lines.push("  decides nothing".to_owned());
    }
    lines
}

fn shown(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// `1h 2m 3s 4ms`, without what is zero.
#[must_use]
pub(crate) fn time_of(millis: u64) -> String {
    let parts = [
        (millis / 3_600_000, "h"),
        (millis / 60_000 % 60, "m"),
        (millis / 1_000 % 60, "s"),
        (millis % 1_000, "ms"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, unit)| format!("{count}{unit}")).collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::durations::duration;

    #[test]
    fn times_are_written_as_they_are_read() {
        for (millis, text) in
            [(0, "0s"), (5, "5ms"), (3_723_004, "1h 2m 3s 4ms"), (90_000, "1m 30s")]
        {
            assert_eq!(time_of(millis), text);
            assert_eq!(duration(text), Ok(std::time::Duration::from_millis(millis)));
        }
    }
}
