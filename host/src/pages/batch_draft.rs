//! From a list to a batch: the forms on the pages of dead letters and instances, and the draft that
//! they make. A form selects what its list shows and a batch can act on, on all pages of the list:
//! open dead letters, or running instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Redirect;
use sagabox_engine::model::{BatchAction, DeadLetterStatus, InstanceStatus};
use serde_json::value::RawValue;

use super::Pages;
use super::batches::{PATH, address};
use super::form::Submitted;
use super::frame::Visit;
use super::words::{Value, query};
use crate::api::Problem;
use crate::api::admin::{DeadLetters, Instances};
use crate::api::batches::{self, Draft};
use crate::api::extract::Arguments;
use crate::store::query::rows::CauseRow;

/// What can be done with dead letters.
const OF_DEAD_LETTERS: [BatchAction; 3] =
    [BatchAction::Redrive, BatchAction::Skip, BatchAction::Discard];
/// What can be done with instances.
const OF_INSTANCES: [BatchAction; 2] = [BatchAction::Cancel, BatchAction::End];

/// The members of a batch's filter in the order of a sentence, and what stands before each.
const WORDS: [(&str, &str); 12] = [
    ("plugin", " of plugin "),
    ("plugin_version", ", version "),
    ("sink", ", to sink "),
    ("key", ", with key "),
    ("type", ", of type "),
    ("reason_contains", ", whose reason contains "),
    ("cause", ", with the cause "),
    ("where", " where "),
    ("started_before", ", started before "),
    ("started_after", ", started at or after "),
    ("updated_before", ", last changed before "),
    ("updated_after", ", last changed at or after "),
];

/// A form that makes a draft.
pub(super) struct Act {
    /// The fields of the form that select the items.
    pub selection: Vec<(&'static str, String)>,
    pub actions: &'static [BatchAction],
}

impl Act {
    /// With a group of dead letters.
    pub(super) fn on_group(group: &CauseRow) -> Self {
        // The version and the cause are a group's own, also if they are empty.
        let selection = [
            ("plugin", Some(&group.plugin)),
            ("plugin_version", Some(&group.plugin_version)),
            ("sink", group.sink.as_ref()),
            ("cause", Some(&group.cause)),
        ];
        Self { selection: given(selection), actions: &OF_DEAD_LETTERS }
    }

    /// With all open dead letters that a list shows. None if it shows no open ones.
    pub(super) fn on_dead_letters(listed: &DeadLetters) -> Option<Self> {
        let DeadLetters {
            plugin,
            plugin_version,
            status,
            sink,
            key,
            event_type,
            reason_contains,
            cause,
            after: _,
            limit: _,
        } = listed;
        if status.is_some_and(|status| status != DeadLetterStatus::Open) {
            return None;
        }
        let selection = [
            ("plugin", plugin),
            ("plugin_version", plugin_version),
            ("sink", sink),
            ("key", key),
            ("type", event_type),
            ("reason_contains", reason_contains),
            ("cause", cause),
        ];
        let selection = given(selection.map(|(name, value)| (name, value.as_ref())));
        Some(Self { selection: or_all(selection, 0), actions: &OF_DEAD_LETTERS })
    }

    /// With all running instances that a list shows. None if it shows no running ones.
    pub(super) fn on_instances(listed: &Instances) -> Option<Self> {
        let Instances {
            plugin,
            status,
            condition,
            started_before,
            started_after,
            updated_before,
            updated_after,
            order: _,
            after: _,
            limit: _,
        } = listed;
        if status.is_some_and(|status| status != InstanceStatus::Running) {
            return None;
        }
        let selection = [
            ("plugin", Some(plugin)),
            ("where", condition.as_ref()),
            ("started_before", started_before.as_ref()),
            ("started_after", started_after.as_ref()),
            ("updated_before", updated_before.as_ref()),
            ("updated_after", updated_after.as_ref()),
        ];
        Some(Self { selection: or_all(given(selection), 1), actions: &OF_INSTANCES })
    }

    /// What it selects, in a sentence.
    pub(super) fn text(&self) -> &'static str {
        let is_all = self.selection.iter().any(|(name, _)| *name == "all");
        match (self.actions == OF_INSTANCES, is_all) {
            (false, true) => "Selects all open dead letters.",
            (false, false) => "Selects all open dead letters that the filter shows, on all pages.",
            (true, true) => "Selects all running instances of the plugin.",
            (true, false) => "Selects all running instances that the filter shows, on all pages.",
        }
    }
}

fn given<'v, T: AsRef<str> + ?Sized + 'v>(
    fields: impl IntoIterator<Item = (&'static str, Option<&'v T>)>,
) -> Vec<(&'static str, String)> {
    let given = |(name, value): (_, Option<&T>)| Some((name, value?.as_ref().to_owned()));
    fields.into_iter().filter_map(given).collect()
}

/// A form that selects by nothing but `fixed` fields says that all are meant.
fn or_all(mut selection: Vec<(&'static str, String)>, fixed: usize) -> Vec<(&'static str, String)> {
    if selection.len() == fixed {
        selection.push(("all", "true".to_owned()));
    }
    selection
}

/// An action as the label of a button.
pub(super) fn label(action: impl Value<BatchAction>) -> &'static str {
    match action.value() {
        BatchAction::Redrive => "Redrive",
        BatchAction::Skip => "Skip",
        BatchAction::Discard => "Discard",
        BatchAction::Cancel => "Cancel",
        BatchAction::End => "End",
    }
}

/// What an action does with each item.
pub(super) fn effect(action: impl Value<BatchAction>) -> &'static str {
    match action.value() {
        BatchAction::Redrive => {
            "Each event or message is processed again, and what waits behind it follows."
        }
        BatchAction::Skip => {
            "Each event or message is given up, and what waits behind it is processed."
        }
        BatchAction::Discard => "Each event or message is dropped with all that waits behind it.",
        BatchAction::Cancel => "Each instance is asked to compensate and complete.",
        BatchAction::End => "Each instance is ended without its plugin.",
    }
}

/// What a batch does, in a sentence without its full stop.
pub(super) fn sentence(action: impl Value<BatchAction>, filter: &RawValue) -> String {
    let (action, filter) = (action.value(), members(filter));
    let items = if action.is_of_instances() { "running instances" } else { "open dead letters" };
    let all = if filter.is_empty() { "all " } else { "" };
    let mut text = format!("{} {all}{items}", label(action));
    for (name, before) in WORDS {
        match (name, filter.get(name).map(String::as_str)) {
            // That of messages.
            (_, None) | ("plugin_version", Some("")) => {}
            ("cause", Some("")) => text += ", without a reason",
            ("cause" | "reason_contains", Some(value)) => text += &format!("{before}“{value}”"),
            (_, Some(value)) => text += &format!("{before}{value}"),
        }
    }
    text
}

/// The list of what a batch selects.
pub(super) fn list_address(action: impl Value<BatchAction>, filter: &RawValue) -> String {
    let mut filter = members(filter);
    if filter.get("cause").is_some_and(String::is_empty) {
        filter.insert("without_reason".to_owned(), "true".to_owned());
    }
    let filter = filter.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let (list, status) = match action.value().is_of_instances() {
        true => ("/instances", "running"),
        false => ("/dead-letters/list", "open"),
    };
    format!("{list}?{}", query(filter.chain([("status", status)])))
}

/// The members of a filter are texts.
pub(super) fn members(filter: &RawValue) -> BTreeMap<String, String> {
    serde_json::from_str(filter.get()).unwrap_or_default()
}

/// Counts what a form selects, keeps it as a draft, and leads to its page.
pub(super) async fn draft(
    State(pages): State<Pages>,
    visit: Visit,
    Submitted(draft): Submitted<Draft>,
) -> Result<Redirect, Problem> {
    let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
    let drafted = batches::draft(site, caller, Arguments(draft)).await?.0;
    Ok(Redirect::to(&drafted.id.map_or_else(|| PATH.to_owned(), address)))
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;
    use sagabox_engine::model::{DeadLetterId, Timestamp};

    use super::*;

    #[track_caller]
    fn check(action: BatchAction, filter: &str, expected: &str) {
        let filter = RawValue::from_string(filter.to_owned()).unwrap();
        assert_eq!(sentence(action, &filter), expected);
    }

    #[test]
    fn a_batch_is_a_sentence() {
        check(BatchAction::Redrive, "{}", "Redrive all open dead letters");
        check(
            BatchAction::Skip,
            r#"{"plugin":"a","plugin_version":"1.0","sink":"s","key":"k","type":"T","reason_contains":"r","cause":"c"}"#,
            "Skip open dead letters of plugin a, version 1.0, to sink s, with key k, of type T, \
             whose reason contains “r”, with the cause “c”",
        );
        check(
            BatchAction::Discard,
            r#"{"plugin":"a","plugin_version":"","sink":"s","cause":""}"#,
            "Discard open dead letters of plugin a, to sink s, without a reason",
        );
        check(
            BatchAction::End,
            r#"{"plugin":"a","where":"paid < total"}"#,
            "End running instances of plugin a where paid < total",
        );
        check(
            BatchAction::Cancel,
            r#"{"plugin":"a","started_after":"t1","updated_before":"t2"}"#,
            "Cancel running instances of plugin a, started at or after t1, last changed before t2",
        );
    }

    #[test]
    fn the_list_of_a_batch_without_a_reason_is_not_the_list_of_all() {
        let filter = RawValue::from_string(r#"{"plugin":"a","cause":""}"#.to_owned()).unwrap();
        assert_eq!(
            list_address(BatchAction::Skip, &filter),
            "/dead-letters/list?plugin=a&without_reason=true&status=open"
        );
    }

    /// What the form sends is what the API reads.
    #[track_caller]
    fn check_sent(act: &Act, expected: &str) {
        let fields = act.selection.iter().map(|(name, value)| format!("{name}={value}"));
        let fields = fields.collect::<Vec<_>>().join("&");
        assert_eq!(fields, expected);
        for action in act.actions {
            // A form is read as a query is.
            let form = format!("/?{}&action={}", fields.replace(' ', "+"), action.as_str());
            let read = Query::<Draft>::try_from_uri(&form.parse().unwrap());
            assert!(read.is_ok(), "{form}: {read:?}");
        }
    }

    fn all() -> DeadLetters {
        DeadLetters {
            plugin: None,
            plugin_version: None,
            status: None,
            sink: None,
            key: None,
            event_type: None,
            reason_contains: None,
            cause: None,
            after: Some("7".to_owned()),
            limit: None,
        }
    }

    fn instances() -> Instances {
        Instances {
            plugin: "a".to_owned(),
            status: None,
            condition: None,
            started_before: None,
            started_after: None,
            updated_before: None,
            updated_after: None,
            order: None,
            after: None,
            limit: None,
        }
    }

    #[test]
    fn a_form_selects_what_its_list_shows() {
        check_sent(&Act::on_dead_letters(&all()).unwrap(), "all=true");
        let text = |text: &str| Some(text.to_owned());
        let listed = DeadLetters { key: text("k"), event_type: text("T"), ..all() };
        check_sent(&Act::on_dead_letters(&listed).unwrap(), "key=k&type=T");
        check_sent(&Act::on_instances(&instances()).unwrap(), "plugin=a&all=true");
        let listed =
            Instances { condition: text("b = 1"), updated_before: text("2h"), ..instances() };
        let selected = "plugin=a&where=b = 1&updated_before=2h";
        check_sent(&Act::on_instances(&listed).unwrap(), selected);
        let group = CauseRow {
            plugin: "a".to_owned(),
            plugin_version: String::new(),
            sink: Some("s".to_owned()),
            cause: String::new(),
            dead_letters: 2,
            oldest: Timestamp(1),
            newest: Timestamp(2),
            example: DeadLetterId(3),
        };
        check_sent(&Act::on_group(&group), "plugin=a&plugin_version=&sink=s&cause=");
    }

    #[test]
    fn a_list_of_what_is_resolved_has_no_form() {
        let listed = |status| DeadLetters { status: Some(status), ..all() };
        assert!(Act::on_dead_letters(&listed(DeadLetterStatus::Open)).is_some());
        assert!(Act::on_dead_letters(&listed(DeadLetterStatus::Redriven)).is_none());
        let listed = |status| Instances { status: Some(status), ..instances() };
        assert!(Act::on_instances(&listed(InstanceStatus::Running)).is_some());
        assert!(Act::on_instances(&listed(InstanceStatus::Completed)).is_none());
    }
}
