//! Why an instance does not go on, and what can still come for it, in sentences for people.
//!
//! `reasons` is pure: what the store and the engine know comes in, sentences come out.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use sagabox_engine::engine::SinkDown;
use sagabox_engine::model::reserved;
use sagabox_engine::model::{
    Effect, InstanceStatus, LeasedMessage, Manifest, Pause, PauseEnd, QueueStatus, Target,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::admin::{plugin_exists, unreadable};
use super::caller::Caller;
use super::extract::Filter;
use super::problem::Problem;
use super::{Shared, Site, deliveries};
use crate::io::figures::{counted, grouped, length};
use crate::io::times::{Time, rfc3339_option};
use crate::store::query::shapes::InstanceStatusName;
use crate::store::query::waiting::{
    Retry, Waiting, WaitingDeadLetter, WaitingMessage, WaitingTimer,
};

/// What a queue's sink is called, before the message type.
const QUEUE: &str = "queue:";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub plugin: String,
    pub key: String,
}

/// Why an instance waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explanation {
    pub plugin: String,
    pub key: String,
    #[schema(value_type = Option<InstanceStatusName>)]
    pub status: Option<InstanceStatus>,
    /// Whether something must happen before it goes on. It does not have to be wrong: most
    /// processes wait for an answer.
    pub waits: bool,
    /// The most serious first.
    pub reasons: Vec<Reason>,
    /// The events that can reach the instance, by the manifests of the plugins that serve.
    pub can_come: Vec<CanCome>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Reason {
    pub kind: ReasonKind,
    pub text: String,
    #[serde(serialize_with = "rfc3339_option")]
    #[schema(value_type = Option<Time>)]
    pub since: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339_option")]
    #[schema(value_type = Option<Time>)]
    pub until: Option<Timestamp>,
    pub dead_letter: Option<u64>,
    pub position: Option<u64>,
    pub sink: Option<String>,
    /// The type of a message.
    #[serde(rename = "type")]
    pub message_type: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReasonKind {
    /// An event of the key could not be handled.
    DeadLetter,
    /// The plugin does not serve.
    NotServed,
    /// An operator paused the plugin, the key, or where a message goes.
    Paused,
    /// The next attempt at its first event comes later.
    Retry,
    /// A message of it could not be delivered.
    MessageDead,
    /// A message of it waits behind one that could not be delivered.
    MessageParked,
    /// The next attempt at a message comes later.
    MessageRetry,
    /// A message of it waits for a sink that does not answer.
    SinkDown,
    /// A message of it waits for a worker.
    Queue,
    /// A message of it is on its way.
    Sending,
    /// The plugin has not come to the end of the log.
    Behind,
    /// An event is held until an instance claims the key.
    Held,
    /// A timer of it is due later.
    Timer,
    /// It waits for an event.
    #[default]
    Answer,
    /// It is over.
    Finished,
}

/// An event type that the plugin takes for instances that run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct CanCome {
    #[serde(rename = "type")]
    pub event_type: String,
    /// The plugins that may emit it; none if it comes from outside, or from the host.
    pub from: Vec<String>,
    /// Whether the host makes it: of a timer, of a command that was not delivered, or of what an
    /// operator asks.
    pub by_host: bool,
}

/// What the engine and the configuration know.
pub(crate) struct Situation<'s> {
    pub now: Timestamp,
    pub is_served: bool,
    pub sinks_down: &'s [SinkDown],
    pub queues: &'s [QueueStatus],
    /// The messages of the key that workers have leased.
    pub leases: &'s [LeasedMessage],
    pub pauses: &'s [Pause],
    /// What can come, if it runs.
    pub can_come: &'s [CanCome],
}

pub(crate) async fn explain(
    State(site): State<Shared>,
    caller: Caller,
    Filter(Asked { plugin, key }): Filter<Asked>,
) -> Result<Json<Explanation>, Problem> {
    caller.check_plugin(&plugin)?;
    plugin_exists(&site, &plugin).await?;
    Ok(Json(explanation(&site, plugin, key).await?))
}

async fn explanation(site: &Site, plugin: String, key: String) -> Result<Explanation, Problem> {
    let waiting = site.queries.waiting(&plugin, &key).await.map_err(unreadable)?;
    let status = site.engine.status().await;
    let serving = site.plugin_status.serving();
    let manifests: Vec<&Manifest> = serving.iter().map(|plugin| &plugin.manifest).collect();
    let own = manifests.iter().find(|manifest| manifest.name.as_str() == plugin);
    let can_come = own.map(|own| can_come(own, &manifests)).unwrap_or_default();
    let pauses = site.engine.pauses().await.into_iter().map(|own| own.pause);
    let pauses: Vec<Pause> = pauses.collect();
    let in_queues = waiting.messages.iter().filter_map(|own| own.sink.strip_prefix(QUEUE));
    let mut leases = Vec::new();
    for queue in in_queues.collect::<BTreeSet<_>>() {
        leases.extend(deliveries::leases_of(site, (&plugin, &key), queue).await);
    }
    let situation = Situation {
        now: site.now(),
        is_served: own.is_some(),
        sinks_down: &status.sinks_down,
        queues: &status.queues,
        leases: &leases,
        pauses: &pauses,
        can_come: &can_come,
    };
    let reasons = reasons((&plugin, &key), &waiting, &situation);
    let is_over = waiting.status.is_some_and(|status| status != InstanceStatus::Running);
    let waits = reasons.iter().any(|reason| reason.kind != ReasonKind::Finished);
    let can_come = if is_over { Vec::new() } else { can_come };
    Ok(Explanation { plugin, key, status: waiting.status, waits, reasons, can_come })
}

/// Why the key does not go on, the most serious reason first.
pub(crate) fn reasons(
    of: (&str, &str),
    waiting: &Waiting,
    situation: &Situation<'_>,
) -> Vec<Reason> {
    let is_over = waiting.status.filter(|status| *status != InstanceStatus::Running);
    let mut all = Vec::new();
    all.extend(waiting.dead_letters.iter().map(|dead_letter| dead(dead_letter, waiting.parked)));
    if !situation.is_served {
        let text = "The plugin does not serve, so its events wait".to_owned();
        all.push(Reason { kind: ReasonKind::NotServed, text, ..Reason::default() });
    }
    let is_own = |target: &Target| match target {
        Target::Plugin { plugin } => plugin.as_str() == of.0,
        Target::Key { plugin, key } => (plugin.as_str(), key.as_str()) == of,
        Target::Ingest | Target::Sink { .. } | Target::Type { .. } => false,
    };
    let own = situation.pauses.iter().filter(|pause| is_own(&pause.target));
    all.extend(own.map(|pause| {
        let what = match pause.target {
            Target::Key { .. } => "The key",
            _ => "The plugin",
        };
        paused(&format!("{what} is paused"), pause)
    }));
    all.extend(waiting.retry.as_ref().map(|retry| retried(retry, situation.now)));
    all.extend(waiting.messages.iter().map(|message| sent(message, situation)));
    if waiting.behind > 0 && is_over.is_none() {
        let text = format!(
            "The plugin has {} of the log to settle; an event for this key may be among them",
            counted(waiting.behind, "event", "events")
        );
        all.push(Reason { kind: ReasonKind::Behind, text, ..Reason::default() });
    }
    all.extend(waiting.held.iter().map(|held| Reason {
        kind: ReasonKind::Held,
        text: format!(
            "The event at position {} is held until an instance claims this key",
            held.position
        ),
        until: Some(held.until),
        position: Some(held.position),
        ..Reason::default()
    }));
    all.extend(waiting.timers.iter().map(|own| timer(own, situation.now)));
    match is_over {
        Some(status) => all.push(Reason {
            kind: ReasonKind::Finished,
            text: format!("The instance is {}", status.as_str()),
            ..Reason::default()
        }),
        None if waiting.status.is_some() => all.extend(answer(situation.can_come)),
        None => {}
    }
    all
}

fn dead(dead_letter: &WaitingDeadLetter, parked: u64) -> Reason {
    let WaitingDeadLetter { id, reason, event_type, .. } = dead_letter;
    let what = event_type.as_deref().unwrap_or("unknown type");
    let (kind, begin) = match &dead_letter.sink {
        None => (ReasonKind::DeadLetter, format!("The event {what} could not be handled")),
        Some(sink) => {
            let text = format!("The message {what} could not be delivered to {sink}");
            (ReasonKind::MessageDead, text)
        }
    };
    let behind = match (kind, parked) {
        (ReasonKind::DeadLetter, 1..) => {
            format!("; {} behind it", counted(parked, "event waits", "events wait"))
        }
        _ => String::new(),
    };
    let again = if dead_letter.is_redriving { "; it is being processed again" } else { "" };
    Reason {
        kind,
        text: format!("{begin} (dead letter {id}): {reason}{behind}{again}"),
        since: Some(dead_letter.at),
        dead_letter: Some(*id),
        position: Some(dead_letter.position),
        sink: dead_letter.sink.clone(),
        message_type: dead_letter.event_type.clone().filter(|_| dead_letter.sink.is_some()),
        ..Reason::default()
    }
}

fn paused(begin: &str, pause: &Pause) -> Reason {
    let Pause { by, reason, since, end, .. } = pause;
    let text = format!("{begin} by {by}: {reason}");
    let (since, until) = (Some(*since), end.map(PauseEnd::date));
    Reason { kind: ReasonKind::Paused, text, since, until, ..Reason::default() }
}

fn retried(retry: &Retry, now: Timestamp) -> Reason {
    let Retry { place, attempt, since, until, reason } = retry;
    let text = format!(
        "The event at position {place} failed: {reason}; attempt {attempt} {}",
        comes(*until, now)
    );
    let (since, until, position) = (Some(*since), Some(*until), Some(*place));
    Reason { kind: ReasonKind::Retry, text, since, until, position, ..Reason::default() }
}

fn sent(message: &WaitingMessage, situation: &Situation<'_>) -> Reason {
    let WaitingMessage { sink, message_type, .. } = message;
    let reason = |kind, text| Reason {
        kind,
        text,
        sink: Some(sink.clone()),
        message_type: Some(message_type.clone()),
        ..Reason::default()
    };
    if message.is_parked {
        let text = format!("The message {message_type} waits behind a dead letter of {sink}");
        return reason(ReasonKind::MessageParked, text);
    }
    let is_own = |target: &Target| match target {
        Target::Sink { sink: own } => own.as_str() == sink,
        Target::Type { message_type: own } => own == message_type,
        Target::Ingest | Target::Plugin { .. } | Target::Key { .. } => false,
    };
    if let Some(pause) = situation.pauses.iter().find(|pause| is_own(&pause.target)) {
        let what = match pause.target {
            Target::Type { .. } => "its type".to_owned(),
            _ => format!("the sink {sink}"),
        };
        let begin = format!("The message {message_type} waits: {what} is paused");
        let Reason { text, since, until, .. } = paused(&begin, pause);
        return Reason { since, until, ..reason(ReasonKind::Paused, text) };
    }
    if let Some(down) = situation.sinks_down.iter().find(|down| down.sink.as_str() == sink) {
        let text = format!(
            "The message {message_type} waits: the sink {sink} does not answer: {}; the next attempt {}",
            down.reason,
            comes(down.next_attempt_at, situation.now)
        );
        let (since, until) = (Some(down.since), Some(down.next_attempt_at));
        return Reason { since, until, ..reason(ReasonKind::SinkDown, text) };
    }
    if let Some(Retry { attempt, since, until, reason: why, .. }) = &message.retry {
        let text = format!(
            "The message {message_type} was not delivered to {sink}: {why}; attempt {attempt} {}",
            comes(*until, situation.now)
        );
        let (since, until) = (Some(*since), Some(*until));
        return Reason { since, until, ..reason(ReasonKind::MessageRetry, text) };
    }
    let Some(queue) = sink.strip_prefix(QUEUE) else {
        let text = format!("The message {message_type} is on its way to {sink}");
        return reason(ReasonKind::Sending, text);
    };
    let is_own = |lease: &&LeasedMessage| lease.leased.message.event.id == message.id;
    if let Some(lease) = situation.leases.iter().find(is_own) {
        let worker = match &lease.worker {
            Some(worker) => format!("The worker {worker}"),
            None => "A worker without a name".to_owned(),
        };
        let text = format!("{worker} has leased the message {message_type}, to acknowledge it");
        let (since, until) = (Some(lease.leased_at), Some(lease.ends_at));
        return Reason { since, until, ..reason(ReasonKind::Queue, text) };
    }
    let state = situation.queues.iter().find(|own| own.queue == queue);
    let (ready, leased) = state.map_or((0, 0), |own| (own.ready, own.leased));
    let text = format!(
        "The message {message_type} waits for a worker to take it from the queue; the queue has {} ready and {} leased",
        counted(u64::try_from(ready).unwrap_or(u64::MAX), "message", "messages"),
        grouped(u64::try_from(leased).unwrap_or(u64::MAX))
    );
    reason(ReasonKind::Queue, text)
}

fn timer(timer: &WaitingTimer, now: Timestamp) -> Reason {
    let WaitingTimer { name, due, has_fired } = timer;
    let text = match has_fired {
        true => format!("The timer {name} has fired; its event is in the log"),
        false => format!("The timer {name} is due {}", in_time(*due, now)),
    };
    let until = (!has_fired).then_some(*due);
    Reason { kind: ReasonKind::Timer, text, until, ..Reason::default() }
}

/// Which events it waits for.
fn answer(can_come: &[CanCome]) -> Option<Reason> {
    let types = can_come.iter().filter(|one| !one.by_host).map(|one| one.event_type.as_str());
    let types: Vec<_> = types.collect();
    let text = match types.split_last() {
        None => return None,
        Some((only, [])) => format!("The instance waits for {only}"),
        Some((last, rest)) => format!("The instance waits for {} or {last}", rest.join(", ")),
    };
    Some(Reason { kind: ReasonKind::Answer, text, ..Reason::default() })
}

/// What the plugin takes for instances that exist, and who emits it.
pub(crate) fn can_come(own: &Manifest, all: &[&Manifest]) -> Vec<CanCome> {
    let mut by_type: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for manifest in all {
        for event_type in &manifest.events {
            by_type.entry(event_type).or_default().push(manifest.name.to_string());
        }
    }
    let reaches = |effect: Effect| matches!(effect, Effect::Handle | Effect::StartOrHandle);
    let subscribed = own.subscriptions.iter().filter(|own| reaches(own.effect));
    let can_come = subscribed.map(|subscription| {
        let event_type = &subscription.event_type;
        CanCome {
            from: by_type.get(event_type.as_str()).cloned().unwrap_or_default(),
            by_host: event_type.starts_with(reserved::PREFIX),
            event_type: event_type.clone(),
        }
    });
    can_come.collect()
}

fn comes(at: Timestamp, now: Timestamp) -> String {
    match at > now {
        true => format!("comes {}", in_time(at, now)),
        false => "comes next".to_owned(),
    }
}

fn in_time(at: Timestamp, now: Timestamp) -> String {
    match at.0.saturating_sub(now.0) {
        0 => "now".to_owned(),
        millis => format!("in {}", length(millis.max(1_000) / 1_000 * 1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn check(waiting: &Waiting, situation: &Situation<'_>, expected: &[(ReasonKind, &str)]) {
        let found = reasons(("orders", "o-1"), waiting, situation);
        let found: Vec<_> = found.iter().map(|own| (own.kind, own.text.as_str())).collect();
        assert_eq!(found, expected);
    }

    fn situation<'s>() -> Situation<'s> {
        Situation {
            now: NOW,
            is_served: true,
            sinks_down: &[],
            queues: &[],
            leases: &[],
            pauses: &[],
            can_come: &[],
        }
    }

    fn running() -> Waiting {
        Waiting { status: Some(InstanceStatus::Running), ..Waiting::default() }
    }

    fn dead_letter(sink: Option<&str>) -> WaitingDeadLetter {
        WaitingDeadLetter {
            id: 7,
            sink: sink.map(str::to_owned),
            position: 3,
            event_type: Some("Paid".to_owned()),
            reason: "no such order".to_owned(),
            at: Timestamp(5),
            is_redriving: false,
        }
    }

    fn message(sink: &str) -> WaitingMessage {
        WaitingMessage {
            sink: sink.to_owned(),
            sequence: 1,
            id: "m".to_owned(),
            message_type: "Pay".to_owned(),
            is_parked: false,
            retry: None,
        }
    }

    fn retry() -> Retry {
        let (since, until) = (Timestamp(1), Timestamp(NOW.0 + 90_500));
        Retry { place: 3, attempt: 4, since, until, reason: "busy".to_owned() }
    }

    #[test]
    fn a_dead_letter_says_what_waits_behind_it() {
        let waiting = Waiting { dead_letters: vec![dead_letter(None)], parked: 2, ..running() };
        let text = "The event Paid could not be handled (dead letter 7): no such order; 2 events wait behind it";
        check(&waiting, &situation(), &[(ReasonKind::DeadLetter, text)]);
        let again = WaitingDeadLetter { is_redriving: true, ..dead_letter(Some("web")) };
        let waiting = Waiting { dead_letters: vec![again], parked: 2, ..running() };
        let text = "The message Paid could not be delivered to web (dead letter 7): no such order; it is being processed again";
        check(&waiting, &situation(), &[(ReasonKind::MessageDead, text)]);
    }

    #[test]
    fn a_pause_says_when_it_ends() {
        let waiting = Waiting { retry: Some(retry()), ..running() };
        let text = "The event at position 3 failed: busy; attempt 4 comes in 1m 30s";
        check(&waiting, &situation(), &[(ReasonKind::Retry, text)]);
        let over = Retry { until: Timestamp(NOW.0 - 1), ..retry() };
        let waiting = Waiting { retry: Some(over), ..running() };
        let text = "The event at position 3 failed: busy; attempt 4 comes next";
        check(&waiting, &situation(), &[(ReasonKind::Retry, text)]);
    }

    #[test]
    fn a_message_says_whom_it_waits_for() {
        let down = SinkDown {
            sink: "web".into(),
            since: Timestamp(1),
            next_attempt_at: Timestamp(NOW.0 + 5_000),
            reason: "connection refused".to_owned(),
        };
        let queue = "Pay".to_owned();
        let queue = QueueStatus { queue, ready: 1, leased: 2, workers: Vec::new() };
        let parked = WaitingMessage { is_parked: true, ..message("web") };
        let tried = WaitingMessage { retry: Some(retry()), ..message("files") };
        let all = vec![message("web"), parked, tried, message("queue:Pay"), message("files")];
        let waiting = Waiting { messages: all, ..running() };
        let situation = Situation {
            sinks_down: std::slice::from_ref(&down),
            queues: std::slice::from_ref(&queue),
            ..situation()
        };
        check(
            &waiting,
            &situation,
            &[
                (
                    ReasonKind::SinkDown,
                    "The message Pay waits: the sink web does not answer: connection refused; the next attempt comes in 5s",
                ),
                (ReasonKind::MessageParked, "The message Pay waits behind a dead letter of web"),
                (
                    ReasonKind::MessageRetry,
                    "The message Pay was not delivered to files: busy; attempt 4 comes in 1m 30s",
                ),
                (
                    ReasonKind::Queue,
                    "The message Pay waits for a worker to take it from the queue; the queue has 1 message ready and 2 leased",
                ),
                (ReasonKind::Sending, "The message Pay is on its way to files"),
            ],
        );
    }

    #[test]
    fn a_pause_by_an_operator_is_named_where_it_holds_work_back() {
        let pause = |target| Pause {
            target,
            by: "ada".to_owned(),
            reason: "maintenance".to_owned(),
            since: Timestamp(3),
            end: Some(PauseEnd::At(Timestamp(NOW.0 + 1))),
        };
        let key = |key: &str| Target::Key { plugin: "orders".into(), key: key.into() };
        let pauses = [
            pause(Target::Plugin { plugin: "orders".into() }),
            pause(Target::Plugin { plugin: "billing".into() }),
            pause(key("o-1")),
            pause(key("o-2")),
            pause(Target::Sink { sink: "web".into() }),
            pause(Target::Type { message_type: "Refund".to_owned() }),
            pause(Target::Ingest),
        ];
        let refund = WaitingMessage { message_type: "Refund".to_owned(), ..message("files") };
        let waiting = Waiting { messages: vec![message("web"), refund], ..running() };
        let situation = Situation { pauses: &pauses, ..situation() };
        let paused = ReasonKind::Paused;
        let messages = [
            (paused, "The message Pay waits: the sink web is paused by ada: maintenance"),
            (paused, "The message Refund waits: its type is paused by ada: maintenance"),
        ];
        let own = [
            (paused, "The plugin is paused by ada: maintenance"),
            (paused, "The key is paused by ada: maintenance"),
        ];
        check(&waiting, &situation, &[own, messages].concat());
        let first = &reasons(("orders", "o-1"), &waiting, &situation)[0];
        assert_eq!((first.since, first.until), (Some(Timestamp(3)), Some(Timestamp(NOW.0 + 1))));
    }

    #[test]
    fn what_is_over_waits_for_nothing_and_what_runs_waits_for_what_can_come() {
        let come = |event_type: &str, by_host| CanCome {
            event_type: event_type.to_owned(),
            from: Vec::new(),
            by_host,
        };
        let all = [come("Paid", false), come(reserved::TIMER_FIRED, true), come("Refused", false)];
        let situation = Situation { can_come: &all, ..situation() };
        let text = "The instance waits for Paid or Refused";
        check(&running(), &situation, &[(ReasonKind::Answer, text)]);
        let over = Waiting { status: Some(InstanceStatus::Completed), behind: 9, ..running() };
        check(&over, &situation, &[(ReasonKind::Finished, "The instance is completed")]);
        check(&Waiting::default(), &situation, &[]);
    }

    #[test]
    fn a_plugin_that_does_not_serve_or_is_behind_is_named_with_timers() {
        let due = |name: &str, due, has_fired| WaitingTimer {
            name: name.to_owned(),
            due: Timestamp(due),
            has_fired,
        };
        let timers = vec![due("late", NOW.0, true), due("deadline", NOW.0 + 3_600_000, false)];
        let waiting = Waiting { behind: 1, timers, ..running() };
        let situation = Situation { is_served: false, ..situation() };
        check(
            &waiting,
            &situation,
            &[
                (ReasonKind::NotServed, "The plugin does not serve, so its events wait"),
                (
                    ReasonKind::Behind,
                    "The plugin has 1 event of the log to settle; an event for this key may be among them",
                ),
                (ReasonKind::Timer, "The timer late has fired; its event is in the log"),
                (ReasonKind::Timer, "The timer deadline is due in 1h"),
            ],
        );
    }
}
