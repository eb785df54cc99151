//! Pure: what a run showed of one instance, as a scenario for `sagabox test`.

use sagabox_engine::model::{MessageKind, Question, Timestamp, reserved};
use serde_json::{Map, Value, json};

use super::file::Simulation;
use super::history::{Deed, json_of, looked_up};
use super::told::time_of;
use super::trial::Failing;

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
        return Err("it asks for streams, which a run does not keep".to_owned());
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
        Value::from(format!("{}: {}", simulation.name, broken.invariant)),
        Value::from(who.plugin.as_str()),
        given(&deeds, simulation, at),
    );
    for deed in &deeds {
        let when = when(&deed.event, deed.at.0.saturating_sub(at.0));
        at = deed.at;
        text.push_str(&format!("    - when: {when}\n      then: {}\n", then(deed)));
    }
    if let Some(failed) = failed {
        let when = when(&failed.event, failed.at.0.saturating_sub(at.0));
        let then = json!({"fails": failed.reason});
        text.push_str(&format!("    - when: {when}\n      then: {then}\n"));
    }
    Ok(text)
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn given(deeds: &[&Deed], simulation: &Simulation, now: Timestamp) -> Value {
    let mut lookups: Map<String, Value> = Map::new();
    for (name, key, value) in deeds.iter().flat_map(|deed| &deed.answers).filter_map(looked_up) {
        let table = lookups.entry(name.to_owned()).or_insert_with(|| json!({}));
        table[key] = value;
    }
    let mut given = json!({"now": now.to_rfc3339()});
    if !simulation.given.configuration.is_empty() {
        given["configuration"] = Value::Object(simulation.given.configuration.clone());
    }
    if !lookups.is_empty() {
        given["lookups"] = Value::Object(lookups);
    }
    given
}

fn when(event: &sagabox_engine::model::Event, after: u64) -> Value {
    let data = json_of(&event.data);
    let subject = event.subject.clone().unwrap_or_default();
    let mut when = match event.event_type.as_str() {
        reserved::TIMER_FIRED => json!({"timer": subject}),
        reserved::COMMAND_UNDELIVERABLE => json!({
            "undeliverable": subject,
            "data": {"reason": data["reason"], "attempts": data["attempts"]},
        }),
        reserved::INSTANCE_CANCELLED => {
            json!({"cancelled": {"by": data["by"], "reason": data["reason"]}})
        }
        event_type => {
            let mut when = json!({"type": event_type, "id": event.id, "source": event.source});
            if let Some(subject) = &event.subject {
                when["subject"] = subject.as_str().into();
            }
            let extensions = event.extensions.iter().map(|(n, v)| (n.clone(), v.clone().into()));
            let extensions: Map<String, Value> = extensions.collect();
            if !extensions.is_empty() {
                when["extensions"] = Value::Object(extensions);
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

fn then(deed: &Deed) -> Value {
    let of = |kind: MessageKind| {
        let messages = deed.messages.iter().filter(|(of, _)| *of == kind);
        let messages = messages.map(|(_, event)| {
            let mut message = json!({"type": event.event_type});
            if let Some(subject) = &event.subject {
                message["subject"] = subject.as_str().into();
            }
            message["data"] = json_of(&event.data);
            message
        });
        messages.collect::<Vec<Value>>()
    };
    let mut then = json!({"sends": of(MessageKind::Command)});
    let emits = of(MessageKind::Event);
    if !emits.is_empty() {
        then["emits"] = emits.into();
    }
    let timers = deed.timers.iter().filter_map(|timer| {
        let text = |name: &str| timer.get(name).and_then(Value::as_str);
        let after = timer.get("after_ms").and_then(Value::as_u64);
        let at = timer.get("at").and_then(Value::as_u64);
        let after = after.or_else(|| at.map(|at| at.saturating_sub(deed.at.0)));
        match (text("set"), text("cancel")) {
            (Some(name), _) => Some((name.to_owned(), time_of(after.unwrap_or(0)).into())),
            (_, Some(name)) => Some((name.to_owned(), Value::Null)),
            _ => None,
        }
    });
    let timers: Map<String, Value> = timers.collect();
    if !timers.is_empty() {
        then["timers"] = Value::Object(timers);
    }
    for (list, member) in [("claims", "claim"), ("releases", "release")] {
        let keys = deed.keys.iter().filter_map(|key| key.get(member));
        let keys: Vec<&Value> = keys.collect();
        if !keys.is_empty() {
            then[list] = json!(keys);
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
