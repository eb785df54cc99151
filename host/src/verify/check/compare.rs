//! Pure: what a version of a plugin does otherwise than an older one, by what both say of themselves.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sagabox_engine::model::{Absent, Correlation, Effect, Subscription};
use serde::Serialize;

use super::Facts;
use crate::plugins::wasm::Limits;
use crate::verify::schema;

/// One plugin, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    pub plugin: String,
    /// None if the plugin is new.
    pub from: Option<String>,
    /// None if the plugin is gone.
    pub to: Option<String>,
    /// Sentences without their subject; empty if nothing changed that the sentences cover.
    pub changes: Vec<String>,
}

/// By name; those that are the same file are left out.
#[must_use]
pub fn compare(older: &[Facts], newer: &[Facts]) -> Vec<Comparison> {
    let names: BTreeSet<&str> = older.iter().chain(newer).map(Facts::name).collect();
    let of = |facts: &'_ [Facts], name: &str| facts.iter().position(|facts| facts.name() == name);
    let pair =
        |name: &str| (of(older, name).map(|at| &older[at]), of(newer, name).map(|at| &newer[at]));
    names.into_iter().filter_map(|name| compare_one(name, pair(name))).collect()
}

fn compare_one(name: &str, pair: (Option<&Facts>, Option<&Facts>)) -> Option<Comparison> {
    let changes = match pair {
        (Some(old), Some(new)) if old.digest == new.digest && old.limits == new.limits => {
            return None;
        }
        (Some(old), Some(new)) => changes(old, new),
        (None, Some(_)) => vec!["is new".to_owned()],
        (Some(_), None) => vec!["is gone: its events wait, its instances stay".to_owned()],
        (None, None) => return None,
    };
    let version = |facts: Option<&Facts>| facts.map(|facts| facts.manifest.version.to_string());
    Some(Comparison {
        plugin: name.to_owned(),
        from: version(pair.0),
        to: version(pair.1),
        changes,
    })
}

fn changes(old: &Facts, new: &Facts) -> Vec<String> {
    let (before, after) = (&old.manifest, &new.manifest);
    let mut changes = Vec::new();
    if before.role != after.role {
        changes.push(format!(
            "is a {} now, and was a {}; a name keeps its role",
            after.role.as_str(),
            before.role.as_str()
        ));
    }
    if before.version == after.version && old.digest != new.digest {
        changes.push(format!("is another file with the same version {}", after.version));
    }
    match after.state_version.cmp(&before.state_version) {
        std::cmp::Ordering::Greater => changes.push(format!(
            "writes states of version {}, and migrates those of version {}",
            after.state_version, before.state_version
        )),
        std::cmp::Ordering::Less => changes.push(format!(
            "writes states of version {}, and has to take back those of version {}",
            after.state_version, before.state_version
        )),
        std::cmp::Ordering::Equal => {}
    }
    subscriptions(&before.subscriptions, &after.subscriptions, &mut changes);
    let (newly, no_longer) = (&mut Vec::new(), &mut Vec::new());
    for (old, new, what) in [
        (&before.commands, &after.commands, "sends the command"),
        (&before.events, &after.events, "emits the event"),
        (&before.lookups, &after.lookups, "asks for lookup"),
    ] {
        newly.extend(new.difference(old).map(|name| format!("newly {what} `{name}`")));
        no_longer.extend(old.difference(new).map(|name| format!("no longer {what} `{name}`")));
    }
    let (had, has) = (&before.optional.schemas, &after.optional.schemas);
    for (message_type, schema) in has {
        match had.get(message_type) {
            None => newly.push(format!("newly describes the data of `{message_type}`")),
            Some(old) if !schema::is_same(old, schema) => {
                changes.push(format!("has another schema of `{message_type}`"));
            }
            Some(_) => {}
        }
    }
    no_longer.extend(
        had.keys()
            .filter(|message_type| !has.contains_key(*message_type))
            .map(|message_type| format!("no longer describes the data of `{message_type}`")),
    );
    changes.append(newly);
    changes.append(no_longer);
    match (before.streams, after.streams) {
        (false, true) => changes.push("newly asks for streams of the log".to_owned()),
        (true, false) => changes.push("no longer asks for streams of the log".to_owned()),
        _ => {}
    }
    let imports = |facts: &Facts| facts.imports.iter().cloned().collect::<BTreeSet<String>>();
    let (had, has) = (imports(old), imports(new));
    changes.extend(has.difference(&had).map(|name| format!("newly imports `{name}`")));
    changes.extend(had.difference(&has).map(|name| format!("no longer imports `{name}`")));
    limits(&old.limits, &new.limits, &mut changes);
    changes
}

fn subscriptions(before: &[Subscription], after: &[Subscription], changes: &mut Vec<String>) {
    let find = |all: &[Subscription], name: &str| {
        all.iter().find(|subscription| subscription.event_type == name).cloned()
    };
    for new in after {
        let name = &new.event_type;
        match find(before, name) {
            None => changes.push(format!("newly handles `{name}`")),
            Some(old) if old != *new => {
                let mut text = format!("handles `{name}` differently:");
                let mut differs = |what: &str, old: String, new: String| {
                    if old != new {
                        let comma = if text.ends_with(':') { "" } else { "," };
                        let _ = write!(text, "{comma} {what} {new}, and was {old}");
                    }
                };
                differs("it comes from", old.source.to_string(), new.source.to_string());
                differs("its key is", correlation(&old.key), correlation(&new.key));
                differs("its effect is", effect(old.effect), effect(new.effect));
                differs("without an instance it is", absent(old.absent), absent(new.absent));
                changes.push(text);
            }
            Some(_) => {}
        }
    }
    for old in before {
        if find(after, &old.event_type).is_none() {
            changes.push(format!("no longer handles `{}`", old.event_type));
        }
    }
}

fn correlation(rule: &Correlation) -> String {
    match rule {
        Correlation::Subject => "the subject".to_owned(),
        Correlation::Attribute(name) => format!("the attribute `{name}`"),
        Correlation::Pointer(pointer) => format!("at `{pointer}`"),
        Correlation::Instance => "the instance's".to_owned(),
    }
}

fn effect(effect: Effect) -> String {
    match effect {
        Effect::Start => "`start`",
        Effect::StartOrHandle => "`start-or-handle`",
        Effect::Handle => "`handle`",
    }
    .to_owned()
}

fn absent(absent: Absent) -> String {
    match absent {
        Absent::Ignore => "ignored".to_owned(),
        Absent::Hold(time) => format!("held for {time:?}"),
        Absent::Fail => "a dead letter".to_owned(),
    }
}

fn limits(before: &Limits, after: &Limits, changes: &mut Vec<String>) {
    for ((name, old), (_, new)) in before.named().into_iter().zip(after.named()) {
        if old != new {
            changes.push(format!("has the limit {name} = {new}, and had {old}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sagabox_engine::model::{Role, Source};

    use super::super::samples::plugin;
    use super::*;

    fn saga() -> Facts {
        plugin("order-saga", Role::Saga, &["Placed", "PaymentFailed"], &["Pay"], &[])
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Facts), expected: &[&str]) {
        let mut new = saga();
        new.digest = "d2".to_owned();
        new.manifest.version = "1.3.0".into();
        change(&mut new);
        let compared = compare(&[saga()], &[new]);
        assert_eq!(compared.len(), 1);
        assert_eq!(compared[0].changes, expected);
        assert_eq!(compared[0].from.as_deref(), Some("1.0.0"));
    }

    #[test]
    fn what_changed_is_said() {
        check(|_| {}, &[]);
        check(
            |new| {
                new.manifest.lookups.insert("credit".to_owned());
                new.manifest.subscriptions.pop();
            },
            &["no longer handles `PaymentFailed`", "newly asks for lookup `credit`"],
        );
        check(
            |new| new.manifest.version = "1.0.0".into(),
            &["is another file with the same version 1.0.0"],
        );
        check(
            |new| new.manifest.state_version = 2,
            &["writes states of version 2, and migrates those of version 0"],
        );
        check(
            |new| {
                new.imports.push("wasi:cli/stdout@0.2.0".to_owned());
                new.limits.call_time = Duration::from_millis(50);
                new.manifest.streams = true;
            },
            &[
                "newly asks for streams of the log",
                "newly imports `wasi:cli/stdout@0.2.0`",
                "has the limit call_time_ms = 50, and had 1000",
            ],
        );
        check(
            |new| new.manifest.subscriptions[0].source = Source::Exactly("/shop".to_owned()),
            &["handles `Placed` differently: it comes from `/shop`, and was any source"],
        );
        check(
            |new| new.manifest.subscriptions[0].key = Correlation::Pointer("/id".to_owned()),
            &["handles `Placed` differently: its key is at `/id`, and was the subject"],
        );
        check(
            |new| {
                let schema = serde_json::json!({"type": "object"});
                new.manifest.optional.schemas.insert("Pay".to_owned(), schema);
            },
            &["newly describes the data of `Pay`"],
        );
        check(
            |new| new.manifest.commands = BTreeSet::from(["Charge".to_owned()]),
            &["newly sends the command `Charge`", "no longer sends the command `Pay`"],
        );
    }

    #[test]
    fn what_came_and_went_is_said_and_the_same_file_is_not() {
        let other = plugin("other", Role::Saga, &["Placed"], &[], &[]);
        let compared =
            compare(&[saga(), other], &[saga(), plugin("third", Role::Saga, &["P"], &[], &[])]);
        let said: Vec<(&str, &str)> =
            compared.iter().map(|c| (c.plugin.as_str(), c.changes[0].as_str())).collect();
        assert_eq!(
            said,
            [("other", "is gone: its events wait, its instances stay"), ("third", "is new")]
        );
    }
}
