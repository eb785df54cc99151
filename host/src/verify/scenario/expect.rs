//! Pure: whether what came of a step is what the scenario says.

use sagabox_engine::model::{MessageKind, Timestamp};

use super::file::Then;
use super::payload;
use super::play::{NOW, Outcome, is_decision};
use crate::decisions::json::{Difference, Json, Object, differences};
use crate::decisions::shown;
use crate::io::durations::{duration, instant};

/// Every way in which the outcome is another than expected, as lines for people.
#[must_use]
pub(crate) fn check(then: &Then, outcome: &Outcome) -> Vec<String> {
    let empty = Object::default();
    let (outcome, sent) = (outcome.shown.as_object().unwrap_or(&empty), &outcome.messages);
    let text = |name: &str| outcome.get(name).and_then(Json::as_str).unwrap_or_default();
    if let Some(reason) = &then.fails {
        return check_failure(reason, then.transient, outcome);
    }
    if let Some(reason) = &then.ignored {
        return match outcome.contains_key("ignored") && text("ignored").contains(reason.as_str()) {
            true => Vec::new(),
            false => {
                vec![format!("expected that it is ignored ({reason}), found {}", ended(outcome))]
            }
        };
    }
    if !is_decision(outcome) {
        return vec![format!("expected a decision, found {}", ended(outcome))];
    }
    let mut problems = Vec::new();
    for (name, expected, kind) in
        [("sends", &then.sends, MessageKind::Command), ("emits", &then.emits, MessageKind::Event)]
    {
        let payloads = sent.iter().filter(|message| message.kind == kind);
        let payloads: Vec<&[u8]> = payloads.map(|message| &message.data[..]).collect();
        problems.extend(messages(name, expected, outcome, &payloads));
    }
    let lists = [("claims", &then.claims), ("releases", &then.releases)];
    for (name, expected) in lists {
        if let Some(expected) = expected {
            let expected = expected.iter().map(|key| Json::from(key.as_str())).collect();
            problems.extend(member(name, &expected, outcome, &Json::Array(Vec::new())));
        }
    }
    if let Some(expected) = &then.asks {
        let expected = Json::Array(expected.clone());
        problems.extend(member("asks", &expected, outcome, &Json::Array(Vec::new())));
    }
    if let Some(expected) = &then.state {
        problems.extend(member("state", expected, outcome, &Json::Null));
    }
    if let Some(expected) = then.completes {
        problems.extend(member("completes", &expected.into(), outcome, &false.into()));
    }
    if let Some(expected) = &then.timers {
        let now = Timestamp(outcome.get(NOW).and_then(Json::as_u64).unwrap_or(0));
        match timers(expected, now) {
            Ok(expected) => {
                let none = || Json::Object(Object::default());
                let mut found = outcome.get("timers").cloned().unwrap_or_else(none);
                // The data of a timer comes back with it, where a later step sees it.
                for timer in found.as_object_mut().into_iter().flat_map(Object::values_mut) {
                    if let Some(timer) = timer.as_object_mut() {
                        timer.remove("data");
                    }
                }
                problems.extend(lines(&differences("timers", &expected, &found)));
            }
            Err(why) => problems.push(why),
        }
    }
    problems
}

fn check_failure(reason: &str, transient: Option<bool>, outcome: &Object) -> Vec<String> {
    let found = outcome.get("fails").and_then(Json::as_str);
    if !found.is_some_and(|found| found.contains(reason)) {
        return vec![format!("expected the failure `{reason}`, found {}", ended(outcome))];
    }
    match transient {
        Some(expected) => member("transient", &expected.into(), outcome, &false.into()),
        None => Vec::new(),
    }
}

/// What is wrong with a step that only arranges: it has no `then`, so it must decide.
#[must_use]
pub(crate) fn check_arranging(outcome: &Outcome) -> Option<String> {
    let outcome = outcome.shown.as_object()?;
    (!is_decision(outcome)).then(|| {
        format!("expected a decision, as the step has no `then`, found {}", ended(outcome))
    })
}

/// How a step ended, in few words.
fn ended(outcome: &Object) -> String {
    for (name, what) in [("fails", "the failure"), ("ignored", "that it is ignored:")] {
        if let Some(why) = outcome.get(name).and_then(Json::as_str) {
            return format!("{what} `{why}`");
        }
    }
    let decision = outcome.into_iter().filter(|(name, _)| !["asks", NOW].contains(&name.as_str()));
    let decision = decision.map(|(name, value)| (name.clone(), value.clone()));
    format!("the decision {}", Json::object(decision))
}

fn member(name: &str, expected: &Json, outcome: &Object, otherwise: &Json) -> Vec<String> {
    lines(&differences(name, expected, outcome.get(name).unwrap_or(otherwise)))
}

fn lines(differences: &[Difference]) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}

/// Of each message, what is said of it is compared, and nothing else.
fn messages(name: &str, expected: &[Json], outcome: &Object, payloads: &[&[u8]]) -> Vec<String> {
    let found = outcome.get(name).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut problems = Vec::new();
    for index in 0..expected.len().max(found.len()) {
        let place = format!("{name}[{index}]");
        match (expected.get(index).map(written), found.get(index)) {
            (Some(Ok(mut expected)), Some(found)) => {
                let payload = payloads.get(index).copied().unwrap_or_default();
                problems.extend(payload_problem(&place, &expected, payload));
                for name in [payload::TEXT, payload::BASE64_TEXT] {
                    expected.remove(name);
                }
                let mut compared = Object::default();
                for member in expected.keys() {
                    if let Some(value) = found.get(member) {
                        compared.insert(member, value.clone());
                    }
                }
                problems.extend(lines(&differences(&place, &expected.into(), &compared.into())));
            }
            (Some(Err(why)), _) => problems.push(format!("{place}: {why}")),
            (Some(Ok(expected)), None) => {
                problems.push(format!("{place}: expected {expected}, found nothing"));
            }
            (None, Some(found)) => {
                problems.push(format!("{place}: expected nothing, found {found}"));
            }
            (None, None) => {}
        }
    }
    problems
}

/// Of a message whose bytes are stated.
fn payload_problem(place: &str, expected: &Object, found: &[u8]) -> Option<String> {
    match payload::stated(expected.get(payload::TEXT), expected.get(payload::BASE64_TEXT)) {
        Ok(None) => None,
        Ok(Some(stated)) => payload::difference(&format!("{place}.data"), &stated, found),
        Err(why) => Some(format!("{place}: {why}")),
    }
}

/// `Type`, `Type: data`, or an object with `type` and more.
fn written(value: &Json) -> Result<Object, String> {
    const MEMBERS: [&str; 7] = [
        "type",
        "subject",
        "datacontenttype",
        "extensions",
        "data",
        payload::TEXT,
        payload::BASE64_TEXT,
    ];
    let wrong = || {
        format!(
            "`{value}` is not a message: write `Type`, `Type: data`, or {{type, subject, data}}"
        )
    };
    match value {
        Json::String(name) => Ok([("type", name.as_str().into())].into_iter().collect()),
        Json::Object(members) if members.contains_key("type") => {
            match members.keys().all(|name| MEMBERS.contains(&name.as_str())) {
                true => Ok(members.clone()),
                false => Err(wrong()),
            }
        }
        Json::Object(members) if members.len() == 1 => {
            let (name, data) = members.into_iter().next().ok_or_else(wrong)?;
            let message = [("type", Json::from(name.as_str())), ("data", data.clone())];
            Ok(message.into_iter().collect())
        }
        _ => Err(wrong()),
    }
}

/// By the time until they are due, or at which.
fn timers(
    expected: &std::collections::BTreeMap<String, Option<String>>,
    now: Timestamp,
) -> Result<Json, String> {
    let mut timers = Object::default();
    for (name, due) in expected {
        let shown = match due.as_deref() {
            None => Json::Null,
            Some(due) => {
                let due = due_at(due, now).map_err(|why| format!("timers.{name}: {why}"))?;
                Json::object([("after_ms", shown::after(due, now))])
            }
        };
        timers.insert(name, shown);
    }
    Ok(timers.into())
}

/// `10m` from now, or `2026-01-31T12:00:00Z`.
///
/// # Errors
/// Says how either is written.
pub(crate) fn due_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    match instant(text) {
        Ok(at) => Ok(at),
        // What looks like a date is one that is wrong.
        Err(why) if text.contains(':') => Err(why),
        Err(_) => duration(text).map(|after| now.after(after)),
    }
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Outgoing;

    use super::*;
    use crate::decisions::json::json;

    #[track_caller]
    fn problems(then: &Json, outcome: &Json, expected: &[&str]) {
        let then: Then = serde_json::from_str(&then.to_string()).unwrap();
        assert_eq!(check(&then, &shown(outcome)), expected);
    }

    fn shown(outcome: &Json) -> Outcome {
        Outcome { shown: outcome.clone(), messages: Vec::new() }
    }

    #[test]
    fn payloads_are_compared_byte_by_byte_where_their_bytes_are_stated() {
        let sent = |data: &'static [u8]| Outgoing {
            kind: MessageKind::Command,
            event_type: "Pay".to_owned(),
            subject: None,
            datacontenttype: "application/json".to_owned(),
            extensions: Vec::new(),
            data: data.into(),
        };
        let outcome = Outcome {
            shown: json!({"sends": [{"type": "Pay", "data": 1.0}], "emits": []}),
            messages: vec![sent(b"1.0")],
        };
        for (sends, expected) in [
            (json!([{"type": "Pay", "data_text": "1.0", "data": 1}]), None),
            (json!([{"type": "Pay", "data_base64": "MS4w"}]), None),
            (
                json!([{"type": "Pay", "data_text": "1"}]),
                Some(
                    "sends[0].data: expected 1 bytes, found 3; they differ at byte 1: expected `1`, found `1.0`",
                ),
            ),
            (
                json!([{"type": "Pay", "data_text": 1}]),
                Some("sends[0]: data_text: `1` is not a text"),
            ),
        ] {
            let then: Then = serde_json::from_str(&json!({ "sends": sends }).to_string()).unwrap();
            let found = check(&then, &outcome);
            assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
            assert!(
                found.iter().all(|one| one.starts_with(expected.unwrap_or_default())),
                "{found:?}"
            );
        }
    }

    fn decided() -> Json {
        json!({
            "sends": [{"type": "Pay", "subject": "o", "data": {"sum": 7}}],
            "emits": [],
            "timers": {"late": {"after_ms": 60_000, "data": 1}},
            "claims": ["i"],
            "state": {"paid": false},
            "asks": [],
        })
    }

    #[test]
    fn what_is_as_expected_is_no_problem() {
        for sends in
            [json!(["Pay"]), json!([{"Pay": {"sum": 7}}]), json!([{"type": "Pay", "subject": "o"}])]
        {
            problems(&json!({"sends": sends}), &decided(), &[]);
        }
        problems(
            &json!({
                "sends": ["Pay"], "claims": ["i"], "releases": [], "completes": false, "asks": [],
                "timers": {"late": "1m"}, "state": {"paid": false},
            }),
            &decided(),
            &[],
        );
    }

    #[test]
    fn what_no_expectation_covers_is_a_problem() {
        let found = "sends[0]: expected nothing, found {\"type\":\"Pay\",\"subject\":\"o\",\"data\":{\"sum\":7}}";
        problems(&json!({}), &decided(), &[found]);
        problems(
            &json!({"sends": [{"Pay": {"sum": 8}}, "Ship"], "emits": ["Paid"]}),
            &decided(),
            &[
                "sends[0].data.sum: expected 8, found 7",
                "sends[1]: expected {\"type\":\"Ship\"}, found nothing",
                "emits[0]: expected {\"type\":\"Paid\"}, found nothing",
            ],
        );
        problems(
            &json!({"sends": ["Pay"], "timers": {}, "claims": [], "completes": true, "state": {"paid": true}}),
            &decided(),
            &[
                "claims[0]: expected nothing, found \"i\"",
                "state.paid: expected true, found false",
                "completes: expected true, found false",
                "timers.late: expected nothing, found {\"after_ms\":60000}",
            ],
        );
        problems(
            &json!({"sends": [{"a": 1, "b": 2}]}),
            &json!({"sends": [], "emits": []}),
            &[
                "sends[0]: `{\"a\":1,\"b\":2}` is not a message: write `Type`, `Type: data`, or {type, subject, data}",
            ],
        );
    }

    #[test]
    fn failures_and_ignored_events_are_expected_by_a_part_of_their_reason() {
        let failed = json!({"fails": "no such order", "transient": false});
        problems(&json!({"fails": "such order"}), &failed, &[]);
        problems(
            &json!({"fails": "order", "transient": true}),
            &failed,
            &["transient: expected true, found false"],
        );
        problems(&json!({}), &failed, &["expected a decision, found the failure `no such order`"]);
        problems(
            &json!({"fails": "x"}),
            &json!({"sends": [], "emits": [], "asks": []}),
            &["expected the failure `x`, found the decision {\"sends\":[],\"emits\":[]}"],
        );
        problems(
            &json!({"ignored": "complete"}),
            &json!({"ignored": "the instance is complete"}),
            &[],
        );
        problems(
            &json!({"ignored": "complete"}),
            &failed,
            &["expected that it is ignored (complete), found the failure `no such order`"],
        );
    }

    #[test]
    fn numbers_are_compared_digit_by_digit() {
        let found = Json::parse(
            br#"{"sends":[{"type":"Pay","data":{"sum":9007199254740992.0}}],"emits":[]}"#,
        );
        problems(
            &json!({"sends": [{"Pay": {"sum": 9_007_199_254_740_993_u64}}]}),
            &found.unwrap(),
            &["sends[0].data.sum: expected 9007199254740993, found 9007199254740992.0"],
        );
    }

    #[test]
    fn timers_are_expected_after_a_while_or_at_a_time() {
        let now = crate::io::durations::instant("2026-01-31T12:00:00Z").unwrap().0;
        let found = |after: i64| json!({"sends": [], "emits": [], "timers": {"late": {"after_ms": after}}, "now": now});
        for (due, after) in [
            ("1m", 60_000),
            ("90d", 90 * 86_400_000),
            ("2026-01-31T12:00:01Z", 1_000),
            ("2026-01-31T13:00:00.5+01:00", 500),
            ("2026-01-31T11:59:59Z", -1_000),
        ] {
            problems(&json!({"timers": {"late": due}}), &found(after), &[]);
        }
        let then = json!({"timers": {"late": "2026-01-31T11:00:00Z"}});
        problems(&then, &found(0), &["timers.late.after_ms: expected -3600000, found 0"]);
        let then: Then =
            serde_json::from_str(r#"{"timers":{"late":"2026-01-31T25:00:00Z"}}"#).unwrap();
        let wrong = check(&then, &shown(&found(0))).remove(0);
        assert!(wrong.contains("is not a time such as"), "{wrong}");
    }

    #[test]
    fn a_step_that_only_arranges_must_decide() {
        assert_eq!(check_arranging(&shown(&decided())), None);
        for (outcome, found) in [
            (json!({"fails": "no such order", "transient": false}), "the failure `no such order`"),
            (
                json!({"ignored": "the instance is complete"}),
                "that it is ignored: `the instance is complete`",
            ),
        ] {
            let expected = format!("expected a decision, as the step has no `then`, found {found}");
            assert_eq!(check_arranging(&shown(&outcome)), Some(expected));
        }
    }
}
