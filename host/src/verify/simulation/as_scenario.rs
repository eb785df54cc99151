//! Pure: what a run showed of one instance, as a scenario for `sagabox test`.

use sagabox_engine::model::{
    Due, KeyChange, MessageKind, Question, RecordedTimer, Timestamp, reserved,
};

use super::file::Simulation;
use super::history::{Deed, json_of, looked_up};
use super::transcript::time_of;
use super::trial::Failing;
use crate::decisions::json::{Json, Object};

/// The text of a scenario file, with what the plugin decides today.
///
/// # Errors
/// Says why there is no such scenario.
pub fn as_scenario(failing: &Failing, simulation: &Simulation) -> Result<String, String> {
    let Some(who) = &failing.broken.who else {
        return Err("what is broken is not about one instance".to_owned());
    };
    let deeds: Vec<&Deed> =
        failing.run.history.deeds.iter().filter(|deed| deed.who == *who).collect();
    let failed = failing
        .run
        .history
        .failed
        .iter()
        .find(|failed| failed.plugin == who.plugin && failed.key.as_ref() == Some(&who.key));
    let mut at = match (deeds.first(), failed) {
        (Some(deed), _) => deed.at,
        (None, Some(failed)) => failed.at,
        (None, None) => return Err("nothing was decided".to_owned()),
    };
    let asks_streams = |deed: &&Deed| {
        deed.answers.iter().any(|answered| matches!(answered.question, Question::Stream(_)))
    };
    if deeds.iter().any(asks_streams) {
        return Err("it asks for streams, which a run does not record".to_owned());
    }
    let broken = &failing.broken;
    let mut text = format!(
        "# Found by `sagabox sim`, simulation `{}`, seed {}:\n# {}: {}\n\
         # `then` is what the plugin decides now; write what it should decide.\n\
         - scenario: {}\n  plugin: {}\n  given: {}\n  steps:\n",
        one_line(&simulation.name),
        failing.seed,
        one_line(&broken.invariant),
        one_line(&broken.why),
        Json::from(format!("{}: {}", simulation.name, broken.invariant)),
        Json::from(who.plugin.as_str()),
        given(&deeds, simulation, at),
    );
    for deed in &deeds {
        let when = when(&deed.event, deed.at.0.saturating_sub(at.0));
        at = deed.at;
        text.push_str(&format!("    - when: {when}\n      then: {}\n", then(deed)));
    }
    if let Some(failed) = failed {
        let when = when(&failed.event, failed.at.0.saturating_sub(at.0));
        let then = Json::object([("fails", failed.reason.as_str().into())]);
        text.push_str(&format!("    - when: {when}\n      then: {then}\n"));
    }
    Ok(text)
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn given(deeds: &[&Deed], simulation: &Simulation, now: Timestamp) -> Json {
    let mut lookups = Object::default();
    for (name, key, value) in deeds.iter().flat_map(|deed| &deed.answers).filter_map(looked_up) {
        lookups.entry(name)[key] = value;
    }
    let mut given = Json::object([("now", now.to_rfc3339().into())]);
    if !simulation.given.configuration.is_empty() {
        given["configuration"] = simulation.given.configuration.clone().into();
    }
    if !lookups.is_empty() {
        given["lookups"] = lookups.into();
    }
    given
}

fn when(event: &sagabox_engine::model::Event, after: u64) -> Json {
    let data = json_of(&event.data);
    let subject = event.subject.clone().unwrap_or_default();
    let parts =
        |names: [&'static str; 2]| Json::object(names.map(|name| (name, data[name].clone())));
    let mut when = match event.event_type.as_str() {
        reserved::TIMER_FIRED => Json::object([("timer", subject.into())]),
        reserved::COMMAND_UNDELIVERABLE => Json::object([
            ("undeliverable", subject.into()),
            ("data", parts(["reason", "attempts"])),
        ]),
        reserved::INSTANCE_CANCELLED => Json::object([("cancelled", parts(["by", "reason"]))]),
        event_type => {
            let named = [("type", event_type), ("id", &event.id), ("source", &event.source)];
            let mut when = Json::object(named.map(|(name, text)| (name, text.into())));
            if let Some(subject) = &event.subject {
                when["subject"] = subject.as_str().into();
            }
            if !event.extensions.is_empty() {
                let extensions = event.extensions.iter();
                let extensions = extensions.map(|(name, value)| (name, value.as_str().into()));
                when["extensions"] = Json::object(extensions);
            }
            if !data.is_null() {
                when["data"] = data;
            }
            when
        }
    };
    if after > 0 {
        when["after"] = time_of(after).into();
    }
    when
}

fn then(deed: &Deed) -> Json {
    let of = |kind: MessageKind| {
        let messages = deed.messages.iter().filter(|(of, _)| *of == kind);
        let messages = messages.map(|(_, event)| {
            let mut message = Json::object([("type", event.event_type.as_str().into())]);
            if let Some(subject) = &event.subject {
                message["subject"] = subject.as_str().into();
            }
            message["data"] = json_of(&event.data);
            message
        });
        messages.collect::<Vec<Json>>()
    };
    let mut then = Json::object([("sends", of(MessageKind::Command).into())]);
    let emits = of(MessageKind::Event);
    if !emits.is_empty() {
        then["emits"] = emits.into();
    }
    let timers = deed.timers.iter().map(|timer| match timer {
        RecordedTimer::Set(name, Due::After(millis)) => (name.as_str(), time_of(*millis).into()),
        RecordedTimer::Set(name, Due::At(at)) => (name.as_str(), at.to_rfc3339().into()),
        RecordedTimer::Cancel(name) => (name.as_str(), Json::Null),
    });
    let timers: Object = timers.collect();
    if !timers.is_empty() {
        then["timers"] = timers.into();
    }
    for (list, claimed) in [("claims", true), ("releases", false)] {
        let keys = deed.keys.iter().filter_map(|key| match key {
            KeyChange::Claim(key) if claimed => Some(key),
            KeyChange::Release(key) if !claimed => Some(key),
            KeyChange::Claim(_) | KeyChange::Release(_) => None,
        });
        let keys: Vec<Json> = keys.map(|key| key.as_str().into()).collect();
        if !keys.is_empty() {
            then[list] = keys.into();
        }
    }
    if let Some(state) = &deed.state {
        then["state"] = json_of(&state.data);
    }
    if deed.completes {
        then["completes"] = true.into();
    }
    then
}
