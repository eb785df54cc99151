//! Pure: which readers and senders a version breaks by another schema of a message.

use std::collections::BTreeSet;

use super::messages::{disagreement, schema_of};
use super::{Facts, Finding, Severity};
use crate::verify::schema::{self, Fault};

/// What the versions of `newer` send and take otherwise than those of `older`. Plugins of both are
/// looked at: one is replaced after the other.
#[must_use]
pub fn breaks(older: &[Facts], newer: &[Facts]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for new in newer {
        let Some(old) = older.iter().find(|old| old.name() == new.name()) else { continue };
        for message_type in new.manifest.optional.schemas.keys() {
            let change = Change { message_type, old, new };
            if change.of_both(Facts::sends) {
                findings.extend(change.sent(older, newer));
            }
            if change.of_both(Facts::takes) {
                findings.extend(change.taken(older, newer));
            }
        }
    }
    findings
}

impl Facts {
    fn sends(&self, message_type: &str) -> bool {
        self.manifest.commands.contains(message_type) || self.manifest.events.contains(message_type)
    }

    fn takes(&self, message_type: &str) -> bool {
        self.manifest.subscriptions.iter().any(|own| own.event_type == message_type)
    }
}

struct Change<'f> {
    message_type: &'f str,
    old: &'f Facts,
    new: &'f Facts,
}

impl Change<'_> {
    fn of_both(&self, is_so: fn(&Facts, &str) -> bool) -> bool {
        is_so(self.old, self.message_type) && is_so(self.new, self.message_type)
    }

    /// Those who read what the old version sent.
    fn sent(&self, older: &[Facts], newer: &[Facts]) -> Vec<Finding> {
        let Self { message_type, old, new } = self;
        let (Some(was), Some(is)) = (schema_of(old, message_type), schema_of(new, message_type))
        else {
            return Vec::new();
        };
        let faults = schema::fit(is, was).faults;
        let readers =
            self.others(older, newer, Facts::takes, |taken| schema::fit(is, taken).faults);
        let reader = format!("a reader for {}", old.manifest.version);
        let sender = &new.manifest.version;
        faults
            .iter()
            .map(|fault| {
                self.finding(
                    fault,
                    sender,
                    &reader,
                    &readers,
                    "readers outside that expect the former data",
                )
            })
            .collect()
    }

    /// Those who send what the old version took.
    fn taken(&self, older: &[Facts], newer: &[Facts]) -> Vec<Finding> {
        let Self { message_type, old, new } = self;
        let (Some(was), Some(is)) = (schema_of(old, message_type), schema_of(new, message_type))
        else {
            return Vec::new();
        };
        let faults = schema::fit(was, is).faults;
        let senders = self.others(older, newer, Facts::sends, |sent| schema::fit(sent, is).faults);
        let sender = format!("a sender for {}", old.manifest.version);
        let reader = &new.manifest.version;
        let outside = "senders outside that are not changed, and events that wait";
        faults.iter().map(|fault| self.finding(fault, &sender, reader, &senders, outside)).collect()
    }

    /// The other plugins that no longer fit, with their versions.
    fn others(
        &self,
        older: &[Facts],
        newer: &[Facts],
        concerns: fn(&Facts, &str) -> bool,
        faults: impl Fn(&serde_json::Value) -> Vec<Fault>,
    ) -> BTreeSet<String> {
        let others = older.iter().chain(newer).filter(|other| other.name() != self.new.name());
        others
            .filter(|other| concerns(other, self.message_type))
            .filter(|other| {
                let schema = schema_of(other, self.message_type);
                schema.is_some_and(|schema| !faults(schema).is_empty())
            })
            .map(|other| format!("{} {}", other.name(), other.manifest.version))
            .collect()
    }

    fn finding(
        &self,
        fault: &Fault,
        sender: &str,
        reader: &str,
        plugins: &BTreeSet<String>,
        outside: &str,
    ) -> Finding {
        let what = disagreement(fault, sender, reader);
        let mut whom: String = plugins.iter().map(|plugin| format!("{plugin}, ")).collect();
        whom += outside;
        let text = format!("its `{}` changed {what}; this breaks {whom}", self.message_type);
        let severity = match fault.is_of_range && plugins.is_empty() {
            true => Severity::Note,
            false => Severity::Warning,
        };
        Finding::new(severity, self.new.name(), text)
    }
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Role;
    use serde_json::{Value, json};

    use super::super::samples::plugin;
    use super::*;

    fn with_schema(mut facts: Facts, version: &str, schema: &Value) -> Facts {
        facts.manifest.version = version.into();
        facts.manifest.optional.schemas.insert("Paid".to_owned(), schema.clone());
        facts
    }

    fn paid(amount: &str) -> Value {
        json!({"type": "object", "properties": {"amount": {"type": amount}}, "required": ["amount"]})
    }

    fn bank(version: &str, schema: &Value) -> Facts {
        with_schema(plugin("bank", Role::Reactor, &["Placed"], &[], &["Paid"]), version, schema)
    }

    fn shop(version: &str, schema: &Value) -> Facts {
        with_schema(plugin("shop", Role::Saga, &["Paid"], &[], &[]), version, schema)
    }

    #[track_caller]
    fn check(older: &[Facts], newer: &[Facts], expected: &[&str]) {
        let said: Vec<String> = breaks(older, newer)
            .into_iter()
            .map(|f| format!("{} {}: {}", f.severity.as_str(), f.subject, f.text))
            .collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn a_sender_breaks_its_readers() {
        let (number, text) = (paid("number"), paid("string"));
        let reader = shop("1.0.0", &number);
        check(
            &[bank("1.0.0", &number), reader.clone()],
            &[bank("2.0.0", &text), reader.clone()],
            &[
                "warning bank: its `Paid` changed at `/amount`: 2.0.0 sends a string, a reader for 1.0.0 \
               takes a number; this breaks shop 1.0.0, readers outside that expect the former data",
            ],
        );
        check(
            &[bank("1.0.0", &number), reader.clone()],
            &[bank("2.0.0", &paid("integer")), reader],
            &[],
        );
        // The new reader fits, and the old one serves until it is replaced.
        check(
            &[bank("1.0.0", &number), shop("1.0.0", &number)],
            &[bank("2.0.0", &text), shop("2.0.0", &json!({"type": "object"}))],
            &[
                "warning bank: its `Paid` changed at `/amount`: 2.0.0 sends a string, a reader for 1.0.0 \
               takes a number; this breaks shop 1.0.0, readers outside that expect the former data",
            ],
        );
    }

    #[test]
    fn a_reader_breaks_its_senders() {
        let mut more = paid("number");
        more["required"] = json!(["amount", "currency"]);
        check(
            &[bank("1.0.0", &paid("number")), shop("1.0.0", &paid("number"))],
            &[shop("2.0.0", &more)],
            &[
                "warning shop: its `Paid` changed at `/currency`: a sender for 1.0.0 never sends it, \
               2.0.0 requires it; this breaks bank 1.0.0, senders outside that are not \
               changed, and events that wait",
            ],
        );
        check(&[shop("1.0.0", &more)], &[shop("2.0.0", &paid("number"))], &[]);
    }
}
