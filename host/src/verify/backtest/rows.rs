//! What a backtest came to as JSON, one object for each message, timer, dead letter and instance.
//! The same rows are written, and compared with what is expected.

use sagabox_engine::model::{JSON, MessageKind, Outgoing};

use super::findings::{DeadLetterFound, Findings, Process, Sent, TimerFound, TimerOutcome};
use crate::decisions::json::{Json, Object};
use crate::decisions::shown;
use crate::verify::simulation::Who;

/// The member that says what a row is.
pub(super) const KIND: &str = "kind";

/// Messages, timers and dead letters in the order of their time; then the instances.
pub fn rows(findings: &Findings) -> impl Iterator<Item = Json> {
    let messages = findings.sent.iter().map(|sent| (sent.at, Row::Sent(sent)));
    let timers = findings.timers.iter().filter(|timer| timer.outcome != TimerOutcome::Open);
    let timers = timers.map(|timer| (timer.at, Row::Timer(timer)));
    let dead_letters = findings
        .dead_letters
        .iter()
        .map(|dead_letter| (dead_letter.at, Row::DeadLetter(dead_letter)));
    let mut timed: Vec<_> = messages.chain(timers).chain(dead_letters).collect();
    // A stable sort.
    timed.sort_by_key(|(at, _)| *at);
    let open = findings.timers.iter().filter(|timer| timer.outcome == TimerOutcome::Open);
    let timed = timed.into_iter().map(|(_, row)| match row {
        Row::Sent(sent) => message(sent),
        Row::Timer(found) => timer(found),
        Row::DeadLetter(found) => dead_letter(found),
    });
    timed.chain(open.map(timer)).chain(findings.processes.iter().map(process))
}

enum Row<'f> {
    Sent(&'f Sent),
    Timer(&'f TimerFound),
    DeadLetter(&'f DeadLetterFound),
}

fn object(kind: &str, at: Option<(&str, String)>, who: &Who) -> Object {
    let mut row = Object::default();
    row.insert(KIND, kind.into());
    if let Some((name, at)) = at {
        row.insert(name, at.into());
    }
    row.insert("plugin", who.plugin.as_str().into());
    row.insert("key", who.key.as_str().into());
    row
}

pub(super) fn message(sent: &Sent) -> Json {
    let mut row = object("message", Some(("at", sent.at.to_rfc3339())), &sent.who);
    let as_what = match sent.kind {
        MessageKind::Command => "command",
        MessageKind::Event => "event",
    };
    row.insert("as", as_what.into());
    for (name, value) in content(sent).as_object().into_iter().flatten() {
        row.insert(name.as_str(), value.clone());
    }
    row.insert("id", sent.event.id.as_str().into());
    row.insert("because", sent.because.event_type.as_str().into());
    row.into()
}

/// Type, subject, data and what else a plugin says of a message.
pub(super) fn content(sent: &Sent) -> Json {
    let event = &sent.event;
    shown::message(&Outgoing {
        kind: sent.kind,
        event_type: event.event_type.clone(),
        subject: event.subject.clone(),
        datacontenttype: event.datacontenttype.clone().unwrap_or_else(|| JSON.to_owned()),
        extensions: Vec::new(),
        data: event.data.clone(),
    })
}

fn timer(found: &TimerFound) -> Json {
    let at = if found.outcome == TimerOutcome::Open { "due" } else { "at" };
    let mut row = object("timer", Some((at, found.at.to_rfc3339())), &found.who);
    row.insert("name", found.name.as_str().into());
    row.insert("result", found.outcome.as_str().into());
    row.into()
}

fn dead_letter(found: &DeadLetterFound) -> Json {
    let mut row = Object::default();
    row.insert(KIND, "dead_letter".into());
    row.insert("at", found.at.to_rfc3339().into());
    row.insert("plugin", found.plugin.as_str().into());
    if let Some(key) = &found.key {
        row.insert("key", key.as_str().into());
    }
    row.insert("of", if found.is_message { "message" } else { "event" }.into());
    row.insert("type", found.event.event_type.as_str().into());
    row.insert("id", found.event.id.as_str().into());
    row.insert("reason", found.reason.as_str().into());
    row.insert("attempts", u64::from(found.attempts).into());
    row.insert("status", found.status.into());
    row.into()
}

fn process(found: &Process) -> Json {
    let mut row = object("instance", None, &found.who);
    row.insert("end", found.end.as_str().into());
    row.insert("started_at", found.started_at.to_rfc3339().into());
    if found.end.is_over() {
        row.insert("ended_at", found.decided_at.to_rfc3339().into());
        row.insert("duration_ms", found.duration_ms().into());
    }
    row.insert("decisions", found.decisions.into());
    row.insert("messages", found.messages.into());
    row.into()
}

impl Process {
    /// From its first decision to its last.
    pub(super) fn duration_ms(&self) -> u64 {
        self.decided_at.0.saturating_sub(self.started_at.0)
    }
}
