//! Pure: whether what came of a step is what the scenario says.

use serde_json::{Map, Value, json};

use super::difference::{Difference, differences};
use super::file::{Then, duration};
use super::play::{Outcome, is_decision};

/// Every way in which the outcome is another than expected, as lines for people.
#[must_use]
pub fn check(then: &Then, outcome: &Outcome) -> Vec<String> {
    let empty = Map::new();
    let outcome = outcome.as_object().unwrap_or(&empty);
    let text = |name: &str| outcome.get(name).and_then(Value::as_str).unwrap_or_default();
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
    let mut problems = messages("sends", &then.sends, outcome);
    problems.extend(messages("emits", &then.emits, outcome));
    let lists = [("claims", &then.claims), ("releases", &then.releases)];
    for (name, expected) in lists {
        if let Some(expected) = expected {
            problems.extend(member(name, &json!(expected), outcome, &json!([])));
        }
    }
    if let Some(expected) = &then.asks {
        problems.extend(member("asks", &json!(expected), outcome, &json!([])));
    }
    if let Some(expected) = &then.state {
        problems.extend(member("state", expected, outcome, &Value::Null));
    }
    if let Some(expected) = then.completes {
        problems.extend(member("completes", &expected.into(), outcome, &false.into()));
    }
    if let Some(expected) = &then.timers {
        match timers(expected) {
            Ok(expected) => {
                let mut found = outcome.get("timers").cloned().unwrap_or_else(|| json!({}));
                // The data of a timer comes back with it, where a later step sees it.
                for timer in found.as_object_mut().into_iter().flat_map(Map::values_mut) {
                    timer.as_object_mut().map(|timer| timer.remove("data"));
                }
                problems.extend(lines(&differences("timers", &expected, &found)));
            }
            Err(why) => problems.push(why),
        }
    }
    problems
}

fn check_failure(
    reason: &str,
    transient: Option<bool>,
    outcome: &Map<String, Value>,
) -> Vec<String> {
    let found = outcome.get("fails").and_then(Value::as_str);
    if !found.is_some_and(|found| found.contains(reason)) {
        return vec![format!("expected the failure `{reason}`, found {}", ended(outcome))];
    }
    match transient {
        Some(expected) => member("transient", &expected.into(), outcome, &false.into()),
        None => Vec::new(),
    }
}

/// How a step ended, in few words.
fn ended(outcome: &Map<String, Value>) -> String {
    for (name, what) in [("fails", "the failure"), ("ignored", "that it is ignored:")] {
        if let Some(Value::String(why)) = outcome.get(name) {
            return format!("{what} `{why}`");
        }
    }
    let decision = outcome.iter().filter(|(name, _)| *name != "asks");
    let decision: Map<String, Value> = decision.map(|(n, v)| (n.clone(), v.clone())).collect();
    format!("the decision {}", Value::Object(decision))
}

fn member(
    name: &str,
    expected: &Value,
    outcome: &Map<String, Value>,
    otherwise: &Value,
) -> Vec<String> {
    lines(&differences(name, expected, outcome.get(name).unwrap_or(otherwise)))
}

fn lines(differences: &[Difference]) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}

/// Of each message, what is said of it is compared, and nothing else.
fn messages(name: &str, expected: &[Value], outcome: &Map<String, Value>) -> Vec<String> {
    let found = outcome.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut problems = Vec::new();
    for index in 0..expected.len().max(found.len()) {
        let place = format!("{name}[{index}]");
        match (expected.get(index).map(written), found.get(index)) {
            (Some(Ok(expected)), Some(found)) => {
                let mut compared = Map::new();
                for member in expected.keys() {
                    if let Some(value) = found.get(member) {
                        compared.insert(member.clone(), value.clone());
                    }
                }
                let expected = Value::Object(expected);
                problems.extend(lines(&differences(&place, &expected, &Value::Object(compared))));
            }
            (Some(Err(why)), _) => problems.push(format!("{place}: {why}")),
            (Some(Ok(expected)), None) => {
                problems
                    .push(format!("{place}: expected {}, found nothing", Value::Object(expected)));
            }
            (None, Some(found)) => {
                problems.push(format!("{place}: expected nothing, found {found}"));
            }
            (None, None) => {}
        }
    }
    problems
}

/// `Type`, `Type: data`, or an object with `type` and more.
fn written(value: &Value) -> Result<Map<String, Value>, String> {
    const MEMBERS: [&str; 5] = ["type", "subject", "datacontenttype", "extensions", "data"];
    let wrong = || {
        format!("`{value}` is no message: write `Type`, `Type: data`, or {{type, subject, data}}")
    };
    match value {
        Value::String(name) => Ok(Map::from_iter([("type".to_owned(), name.clone().into())])),
        Value::Object(members) if members.contains_key("type") => {
            match members.keys().all(|name| MEMBERS.contains(&name.as_str())) {
                true => Ok(members.clone()),
                false => Err(wrong()),
            }
        }
        Value::Object(members) if members.len() == 1 => {
            let (name, data) = members.iter().next().ok_or_else(wrong)?;
            let message = [("type", Value::from(name.clone())), ("data", data.clone())];
            Ok(message.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        }
        _ => Err(wrong()),
    }
}

fn timers(expected: &std::collections::BTreeMap<String, Option<String>>) -> Result<Value, String> {
    let mut timers = Map::new();
    for (name, after) in expected {
        let shown = match after {
            None => Value::Null,
            Some(after) => {
                let after = duration(after).map_err(|why| format!("timers.{name}: {why}"))?;
                json!({"after_ms": u64::try_from(after.as_millis()).unwrap_or(u64::MAX)})
            }
        };
        timers.insert(name.clone(), shown);
    }
    Ok(Value::Object(timers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn problems(then: &Value, outcome: &Value, expected: &[&str]) {
        let then: Then = serde_json::from_value(then.clone()).unwrap();
        assert_eq!(check(&then, outcome), expected);
    }

    fn decided() -> Value {
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
    fn what_nobody_expected_is_a_problem() {
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
                "sends[0]: `{\"a\":1,\"b\":2}` is no message: write `Type`, `Type: data`, or {type, subject, data}",
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
}
