//! Pure: whether the states that a process manager leaves in its scenarios have its fields.
//!
//! A manifest has no schema of the state, so the states are the only witnesses.

use sagabox_engine::model::State;
use sagabox_engine::pure::pointer;
use serde_json::Value;

use super::messages::advice;
use super::{Facts, Finding, Severity};

/// A pointer of a state is listed for advice; a state with more is not a small record.
const PLACES_MAX: usize = 1_000;

/// Fields that no state has.
#[must_use]
pub fn check_fields(plugin: &Facts, states: &[State]) -> Vec<Finding> {
    let values: Vec<Value> =
        states.iter().filter_map(|state| serde_json::from_slice(&state.data).ok()).collect();
    if values.is_empty() {
        return Vec::new();
    }
    let mut places = Vec::new();
    values.iter().for_each(|value| list(value, "", &mut places));
    let has = |pointer: &str| {
        states.iter().any(|state| matches!(pointer::find(&state.data, pointer), Ok(Some(_))))
    };
    let fields = plugin.manifest.optional.fields.iter().filter(|field| !has(&field.pointer));
    fields
        .map(|field| {
            let text = format!(
                "its field `{}` is at `{}`, a place that no state of its scenarios has: {}",
                field.name,
                field.pointer,
                advice(&field.pointer, &places)
            );
            Finding::new(Severity::Warning, plugin.name(), text)
        })
        .collect()
}

/// The pointers to all members.
fn list(value: &Value, at: &str, places: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        if places.len() < PLACES_MAX && !places.contains(&place) {
            places.push(place.clone());
        }
        list(value, &place, places);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sagabox_engine::model::{Field, Role};

    use super::super::samples::plugin;
    use super::*;

    #[test]
    fn a_field_that_no_state_has_is_named_with_the_nearest() {
        let mut manager = plugin("order", Role::ProcessManager, &["Placed"], &[], &[]);
        let field = |pointer: &str| Field { name: "due".to_owned(), pointer: pointer.to_owned() };
        let states = ["{\"paid\":1}", "{\"dueAt\":null,\"a/b\":{\"c\":1}}", "not JSON"];
        let states = states.map(|data| State { version: 1, data: Bytes::from(data) });
        let mut said = |pointer: &str| {
            manager.manifest.optional.fields = vec![field(pointer)];
            let findings = check_fields(&manager, &states);
            findings.into_iter().map(|finding| finding.text).collect::<Vec<_>>()
        };
        for known in ["/paid", "/dueAt", "/a~1b/c", ""] {
            assert_eq!(said(known), Vec::<String>::new());
        }
        assert_eq!(
            said("/due_at"),
            ["its field `due` is at `/due_at`, a place that no state of its scenarios has: the \
              nearest is `/dueAt`"]
        );
        assert!(said("/c")[0].ends_with("the nearest is `/a~1b/c`"));
        assert_eq!(check_fields(&manager, &[]), []);
    }
}
