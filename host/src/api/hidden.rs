//! Payloads, taken out of answers for callers who may not see them: the data of events, the state
//! of an instance, the answers of lookups, and what a plugin logged in a call. Attributes of events,
//! keys and reasons stay.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::store::query::found::EventTrace;
use crate::store::query::rows::{DeadLetterRow, InstanceDetail, InstanceRow};

const DATA: [&str; 2] = ["data", "data_base64"];

pub(super) fn dead_letter(row: &mut DeadLetterRow) {
    row.event = without_data(&row.event);
    row.edited = row.edited.as_deref().map(without_data);
    row.log = None;
    row.payloads_hidden = true;
}

pub(super) fn trace(trace: &mut EventTrace) {
    trace.event = without_data(&trace.event);
    trace.payloads_hidden = true;
}

/// Fields are parts of the state.
pub(super) fn row(row: &mut InstanceRow) {
    row.fields = None;
    row.summary = None;
}

pub(super) fn instance(detail: &mut InstanceDetail) {
    detail.state = None;
    detail.fields = None;
    detail.summary = None;
    for row in &mut detail.history {
        row.summary.answers.clear();
    }
    detail.payloads_hidden = true;
}

/// An event that cannot be read apart is left out as a whole.
fn without_data(event: &RawValue) -> Box<RawValue> {
    let members = serde_json::from_str::<BTreeMap<&str, &RawValue>>(event.get());
    let kept = members.ok().and_then(|mut members| {
        members.retain(|name, _| !DATA.contains(name));
        serde_json::value::to_raw_value(&members).ok()
    });
    kept.unwrap_or_else(|| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(event: &str, expected: &str) {
        let event = RawValue::from_string(event.to_owned()).unwrap();
        assert_eq!(without_data(&event).get(), expected);
    }

    #[test]
    fn an_event_keeps_its_attributes_alone() {
        check(r#"{"id":"1","data":{"card":"4111"},"type":"t"}"#, r#"{"id":"1","type":"t"}"#);
        check(r#"{"id":"1","data_base64":"NDExMQ=="}"#, r#"{"id":"1"}"#);
        check(r#"{"id":"1"}"#, r#"{"id":"1"}"#);
        // The same name, written in another way.
        check(r#"{"d\u0061ta":"4111"}"#, "null");
        check(r#"["4111"]"#, "null");
    }
}
