//! Pure: whether the messages that plugins send each other fit, by the schemas and pointers of
//! their manifests.

use std::collections::BTreeSet;

use sagabox_engine::model::{Correlation, Subscription, reserved};
use sagabox_engine::pure::identity;
use serde::Serialize;
use serde_json::Value;

use super::{Facts, Finding, Severity};
use crate::verify::schema::{self, Fault, Place};

/// Faults of one message between two plugins that are listed; more have the same cause.
const FAULTS_MAX: usize = 10;
/// Places of a schema that are listed if none is near the one that is missing.
const PLACES_MAX: usize = 6;

/// A disagreement about a message, for programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mismatch {
    #[serde(rename = "type")]
    pub message_type: String,
    pub sender: String,
    pub receiver: String,
    /// Into the data; `*` stands for every item, or for a member of any name.
    pub pointer: String,
}

/// What the manifests of all plugins together say about their messages.
#[must_use]
pub fn check_messages(plugins: &[Facts]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for receiver in plugins {
        for subscription in &receiver.manifest.subscriptions {
            let event_type = subscription.event_type.as_str();
            if event_type.starts_with(reserved::PREFIX) {
                continue;
            }
            let senders: Vec<&Facts> =
                plugins.iter().filter(|sender| sends(sender, subscription)).collect();
            for sender in &senders {
                if sender.name() != receiver.name()
                    && let (Some(sent), Some(taken)) =
                        (schema_of(sender, event_type), schema_of(receiver, event_type))
                {
                    findings.extend(compared(
                        event_type,
                        (sender.name(), sent),
                        (receiver.name(), taken),
                    ));
                }
            }
            findings.extend(about_key(receiver, subscription, &senders));
        }
    }
    findings.extend(different_senders(plugins));
    findings
}

/// Whether a plugin sends what a subscription takes. That commands do not come to the log is
/// another finding.
fn sends(sender: &Facts, subscription: &Subscription) -> bool {
    let event_type = &subscription.event_type;
    let manifest = &sender.manifest;
    manifest.commands.contains(event_type)
        || (manifest.events.contains(event_type)
            && subscription.source.admits(&identity::source(&manifest.name)))
}

pub(super) fn schema_of<'f>(plugin: &'f Facts, message_type: &str) -> Option<&'f Value> {
    plugin.manifest.optional.schemas.get(message_type)
}

fn compared(
    message_type: &str,
    (sender, sent): (&str, &Value),
    (receiver, taken): (&str, &Value),
) -> Vec<Finding> {
    let comparison = schema::fit(sent, taken);
    let mut findings = Vec::new();
    for fault in comparison.faults.iter().take(FAULTS_MAX) {
        let severity = if fault.is_of_range { Severity::Warning } else { Severity::Error };
        let what = disagreement(fault, sender, receiver);
        let text = format!("it cannot read every `{message_type}` of {sender}: {what}");
        let mismatch = Mismatch {
            message_type: message_type.to_owned(),
            sender: sender.to_owned(),
            receiver: receiver.to_owned(),
            pointer: fault.pointer.clone(),
        };
        let finding = Finding::new(severity, receiver, text);
        findings.push(Finding { mismatch: Some(mismatch), ..finding });
    }
    let left = comparison.faults.len().saturating_sub(FAULTS_MAX);
    if left > 0 {
        let text = format!("it cannot read every `{message_type}` of {sender}: {left} more places");
        findings.push(Finding::new(Severity::Error, receiver, text));
    }
    if !comparison.unknown.is_empty() {
        let places: Vec<String> =
            comparison.unknown.iter().take(PLACES_MAX).map(|at| place(at)).collect();
        let text = format!(
            "whether it can read every `{message_type}` of {sender} is unknown {}: the schemas are \
             too general there, or say something that is not compared",
            places.join(", ")
        );
        findings.push(Finding::new(Severity::Note, receiver, text));
    }
    findings
}

/// `at /amount: bank sends a string, order-saga takes a number`.
pub(super) fn disagreement(fault: &Fault, sender: &str, receiver: &str) -> String {
    let Fault { pointer, sent, taken, near, .. } = fault;
    let mut text = format!("{}: {sender} {sent}, {receiver} {taken}", place(pointer));
    if let Some(near) = near {
        text += &format!("; the nearest that {sender} sends is `{near}`");
    }
    text
}

fn place(pointer: &str) -> String {
    match pointer {
        "" => "in its data as a whole".to_owned(),
        pointer => format!("at `{pointer}`"),
    }
}

/// A correlation key that the schemas do not have, or that can be none.
fn about_key(receiver: &Facts, subscription: &Subscription, senders: &[&Facts]) -> Vec<Finding> {
    let Correlation::Pointer(pointer) = &subscription.key else { return Vec::new() };
    let event_type = &subscription.event_type;
    let mut findings = Vec::new();
    let others: Vec<(&Facts, &Value)> = senders
        .iter()
        .filter_map(|sender| Some((*sender, schema_of(sender, event_type)?)))
        .collect();
    for (sender, sent) in &others {
        if let Some(advice) = missing(sent, pointer) {
            let name = sender.name();
            let text = format!(
                "it finds the key of `{event_type}` at `{pointer}`, and what {name} sends has no \
                 such place: {advice}"
            );
            let mismatch = Mismatch {
                message_type: event_type.clone(),
                sender: name.to_owned(),
                receiver: receiver.name().to_owned(),
                pointer: pointer.clone(),
            };
            let finding = Finding::new(Severity::Error, receiver.name(), text);
            findings.push(Finding { mismatch: Some(mismatch), ..finding });
        }
    }
    let Some(own) = schema_of(receiver, event_type) else { return findings };
    // What the handler does not read can be in the event all the same.
    if let Some(advice) = missing(own, pointer)
        && others.is_empty()
    {
        let text = format!(
            "it finds the key of `{event_type}` at `{pointer}`, a place that its own schema does \
             not have: {advice}"
        );
        findings.push(Finding::new(Severity::Warning, receiver.name(), text));
    }
    if schema::find(own, pointer) == Place::NoKey {
        let text = format!(
            "it finds the key of `{event_type}` at `{pointer}`, where its schema has neither a \
             string nor an integer nor an array of them"
        );
        findings.push(Finding::new(Severity::Warning, receiver.name(), text));
    }
    findings
}

/// What the schema has instead of a pointer that it does not have.
fn missing(schema: &Value, pointer: &str) -> Option<String> {
    (schema::find(schema, pointer) == Place::Missing)
        .then(|| advice(pointer, &schema::pointers(schema)))
}

/// The nearest pointer, or some of those that there are.
pub(super) fn advice(pointer: &str, known: &[String]) -> String {
    match schema::nearest(pointer, known) {
        Some(near) => format!("the nearest is `{near}`"),
        None if known.is_empty() => "it has no members".to_owned(),
        None => {
            let shown: Vec<String> =
                known.iter().take(PLACES_MAX).map(|known| format!("`{known}`")).collect();
            let more = if known.len() > PLACES_MAX { ", …" } else { "" };
            format!("it has {}{more}", shown.join(", "))
        }
    }
}

/// Messages of one type that two plugins send in ways that no one reader takes.
fn different_senders(plugins: &[Facts]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, first) in plugins.iter().enumerate() {
        let sent: BTreeSet<&String> =
            first.manifest.commands.union(&first.manifest.events).collect();
        for second in &plugins[index + 1..] {
            let other = &second.manifest;
            let both = sent
                .iter()
                .filter(|name| other.commands.contains(**name) || other.events.contains(**name));
            for message_type in both {
                let (Some(one), Some(other)) =
                    (schema_of(first, message_type), schema_of(second, message_type))
                else {
                    continue;
                };
                let comparison = schema::fit(one, other);
                // One that says more than the other has readers for both.
                if let Some(fault) = comparison.faults.first()
                    && !schema::fit(other, one).faults.is_empty()
                {
                    let (one, other) = (first.name(), second.name());
                    let what = disagreement(fault, one, &format!("a reader of {other}'s"));
                    let text = format!(
                        "{one} and {other} send `{message_type}` with different data: {what}"
                    );
                    findings.push(Finding::new(Severity::Warning, one, text));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::{Role, Source};
    use serde_json::json;

    use super::super::samples::plugin;
    use super::*;

    fn with_schema(mut facts: Facts, message_type: &str, schema: Value) -> Facts {
        facts.manifest.optional.schemas.insert(message_type.to_owned(), schema);
        facts
    }

    fn paid(amount: &str) -> Value {
        json!({
            "type": "object",
            "properties": {"orderId": {"type": "string"}, "amount": {"type": amount}},
            "required": ["orderId", "amount"],
        })
    }

    fn bank(schema: Value) -> Facts {
        with_schema(
            plugin("bank", Role::Reactor, &["Placed"], &["Charge"], &["Paid"]),
            "Paid",
            schema,
        )
    }

    fn shop(schema: Value) -> Facts {
        with_schema(plugin("shop", Role::Saga, &["Paid"], &["Send"], &[]), "Paid", schema)
    }

    #[track_caller]
    fn check(plugins: &[Facts], expected: &[&str]) {
        let said: Vec<String> = check_messages(plugins)
            .into_iter()
            .map(|f| format!("{} {}: {}", f.severity.as_str(), f.subject, f.text))
            .collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn plugins_that_disagree_are_named_with_the_message_and_the_place() {
        check(&[bank(paid("integer")), shop(paid("number"))], &[]);
        check(
            &[bank(paid("string")), shop(paid("number"))],
            &[
                "error shop: it cannot read every `Paid` of bank: at `/amount`: bank sends a string, \
               shop takes a number",
            ],
        );
        let findings = check_messages(&[bank(paid("string")), shop(paid("number"))]);
        let expected = Mismatch {
            message_type: "Paid".to_owned(),
            sender: "bank".to_owned(),
            receiver: "shop".to_owned(),
            pointer: "/amount".to_owned(),
        };
        assert_eq!(findings[0].mismatch, Some(expected));
        let cents = json!({"type": "object",
            "properties": {"orderId": {"type": "string"}, "amountCents": {"type": "integer"}},
            "required": ["orderId", "amountCents"]});
        check(
            &[bank(cents), shop(paid("number"))],
            &[
                "error shop: it cannot read every `Paid` of bank: at `/amount`: bank never sends it, \
               shop requires it; the nearest that bank sends is `amountCents`",
            ],
        );
    }

    #[test]
    fn what_is_only_of_range_or_unknown_is_less() {
        let at_most = |max: u64| {
            let mut schema = paid("integer");
            schema["properties"]["amount"]["maximum"] = json!(max);
            schema
        };
        check(
            &[bank(at_most(9)), shop(at_most(5))],
            &[
                "warning shop: it cannot read every `Paid` of bank: at `/amount`: bank may send more \
               than 5, shop takes at most 5",
            ],
        );
        check(
            &[bank(json!(true)), shop(paid("integer"))],
            &["note shop: whether it can read every `Paid` of bank is unknown in its data as a \
               whole, at `/amount`, at `/orderId`: the schemas are too general there, or say something that is not compared"],
        );
    }

    #[test]
    fn events_from_elsewhere_are_not_compared() {
        let mut receiver = shop(paid("number"));
        receiver.manifest.subscriptions[0].source = Source::Exactly("/other".to_owned());
        check(&[bank(paid("string")), receiver], &[]);
        check(&[bank(paid("string")), plugin("shop", Role::Saga, &["Paid"], &[], &[])], &[]);
    }

    #[test]
    fn a_key_that_a_schema_does_not_have_is_named_with_the_nearest() {
        let keyed = |pointer: &str| {
            let mut facts = shop(paid("number"));
            facts.manifest.subscriptions[0].key = Correlation::Pointer(pointer.to_owned());
            facts
        };
        check(&[keyed("/orderId")], &[]);
        check(
            &[keyed("/order_id")],
            &[
                "warning shop: it finds the key of `Paid` at `/order_id`, a place that its own schema \
               does not have: the nearest is `/orderId`",
            ],
        );
        check(
            &[bank(paid("number")), keyed("/customer")],
            &[
                "error shop: it finds the key of `Paid` at `/customer`, and what bank sends has no such \
               place: it has `/amount`, `/orderId`",
            ],
        );
        let mut facts = keyed("/paid");
        facts.manifest.optional.schemas.insert(
            "Paid".to_owned(),
            json!({"type": "object", "properties": {"paid": {"type": "boolean"}}}),
        );
        check(
            &[facts],
            &[
                "warning shop: it finds the key of `Paid` at `/paid`, where its schema has neither a \
               string nor an integer nor an array of them",
            ],
        );
    }

    #[test]
    fn two_senders_of_one_type_agree() {
        let sender = |name: &str, amount: &str| {
            with_schema(plugin(name, Role::Saga, &["Placed"], &["Paid"], &[]), "Paid", paid(amount))
        };
        check(&[sender("a", "integer"), sender("b", "number")], &[]);
        check(
            &[sender("a", "string"), sender("b", "number")],
            &[
                "warning a: a and b send `Paid` with different data: at `/amount`: a sends a string, a \
               reader of b's takes a number",
            ],
        );
    }
}
