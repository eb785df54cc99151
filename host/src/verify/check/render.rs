//! Pure: what was found, as text for people, JSON for programs, and Mermaid for pages.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use sagabox_engine::model::{Source, Subscription};

use serde_json::{Value, json as value};

use crate::io::figures::counted;
use crate::plugins::wasm::shown_import;

use super::{Comparison, Facts, Finding, Severity, count};
use crate::plugins::topology::{End, FlowKind, Topology};

/// Plugins, then findings, the worst first, then their numbers. Notes are many, and only
/// printed if `notes` says so.
#[must_use]
pub fn text(plugins: &[Facts], findings: &[Finding], notes: bool) -> String {
    let mut text = String::new();
    for plugin in plugins {
        let manifest = &plugin.manifest;
        let (name, version, role) = (plugin.name(), &manifest.version, manifest.role.as_str());
        let _ = writeln!(text, "{name} {version} ({role}) from {}", plugin.path.display());
        let handles: Vec<_> = manifest.subscriptions.iter().map(handled).collect();
        list(&mut text, "handles", handles.iter().map(|handled| &**handled));
        list(&mut text, "sends", manifest.commands.iter().map(String::as_str));
        list(&mut text, "emits", manifest.events.iter().map(String::as_str));
        list(&mut text, "asks", manifest.lookups.iter().map(String::as_str));
        let imports: Vec<_> = plugin.imports.iter().map(|import| shown_import(import)).collect();
        list(&mut text, "imports", imports.iter().map(String::as_str));
    }
    let shown = |finding: &&Finding| notes || finding.severity != Severity::Note;
    let mut sorted: Vec<&Finding> = findings.iter().filter(shown).collect();
    sorted.sort();
    for Finding { severity, subject, text: what, .. } in sorted {
        let _ = writeln!(text, "{}: {subject}: {what}", severity.as_str());
    }
    let number = |severity| count(findings, severity) as u64;
    let _ = write!(
        text,
        "{}: {}, {}, {}",
        counted(plugins.len() as u64, "plugin", "plugins"),
        counted(number(Severity::Error), "error", "errors"),
        counted(number(Severity::Warning), "warning", "warnings"),
        counted(number(Severity::Note), "note", "notes"),
    );
    text
}

fn handled(subscription: &Subscription) -> Cow<'_, str> {
    let event_type = subscription.event_type.as_str();
    match &subscription.source {
        Source::Any => event_type.into(),
        source => format!("{event_type} from {source}").into(),
    }
}

fn list<'n>(text: &mut String, what: &str, names: impl Iterator<Item = &'n str>) {
    let names: Vec<&str> = names.collect();
    if !names.is_empty() {
        let _ = writeln!(text, "  {what} {}", names.join(", "));
    }
}

#[must_use]
pub fn comparison_text(comparisons: &[Comparison]) -> String {
    if comparisons.is_empty() {
        return "nothing changed".to_owned();
    }
    let mut lines = Vec::new();
    for Comparison { plugin, from, to, changes } in comparisons {
        let versions: Vec<&str> = [from, to].into_iter().flatten().map(String::as_str).collect();
        lines.push(format!("{plugin} {}:", versions.join(" -> ")));
        lines.extend(changes.iter().map(|change| format!("  {change}")));
        if changes.is_empty() {
            lines.push(
                "  has the same manifest; `sagabox replay` checks whether it makes the same decisions"
                    .to_owned(),
            );
        }
    }
    lines.join("\n")
}

#[must_use]
pub fn json(
    plugins: &[Facts],
    topology: &Topology,
    findings: &[Finding],
    comparisons: Option<&[Comparison]>,
) -> Value {
    let plugin = |facts: &Facts| {
        value!({
            "file": facts.path.display().to_string(),
            "digest": facts.digest,
            "manifest": facts.manifest,
            "imports": facts.imports,
            "limits": facts.limits.named().into_iter().collect::<BTreeMap<_, _>>(),
        })
    };
    let mut report = value!({
        "plugins": plugins.iter().map(plugin).collect::<Vec<_>>(),
        "topology": topology,
        "findings": findings,
        "errors": count(findings, Severity::Error),
        "warnings": count(findings, Severity::Warning),
    });
    if let Some(comparisons) = comparisons {
        report["changes"] = value!(comparisons);
    }
    report
}

/// A flowchart. What leads nowhere is left out: it is a finding.
#[must_use]
pub fn mermaid(plugins: &[Facts], topology: &Topology) -> String {
    let mut text = "flowchart LR\n".to_owned();
    // Ids of a flowchart take few characters, so they are numbers.
    let mut ids: BTreeMap<End, String> = BTreeMap::new();
    for (index, plugin) in plugins.iter().enumerate() {
        let id = format!("plugin{index}");
        let (name, role) = (quoted(plugin.name()), plugin.manifest.role.as_str());
        let _ = writeln!(text, "  {id}[\"{name}<br/>{role}\"]");
        ids.insert(End::Plugin(plugin.name().to_owned()), id);
    }
    for flow in &topology.flows {
        for end in [&flow.from, &flow.to] {
            let (id, shape) = match end {
                End::Outside => ("outside".to_owned(), "((outside))".to_owned()),
                End::Queue => ("queue".to_owned(), "[(\"queues\")]".to_owned()),
                End::Sink(name) => {
                    (format!("sink{}", ids.len()), format!("[/\"{}\"/]", quoted(name)))
                }
                End::Plugin(_) | End::Nowhere => continue,
            };
            if !ids.contains_key(end) {
                let _ = writeln!(text, "  {id}{shape}");
                ids.insert(end.clone(), id);
            }
        }
    }
    for flow in &topology.flows {
        let (Some(from), Some(to)) = (ids.get(&flow.from), ids.get(&flow.to)) else { continue };
        let arrow = match flow.kind {
            FlowKind::Event => "-.->",
            FlowKind::Command => "-->",
        };
        let _ = writeln!(text, "  {from} {arrow}|\"{}\"| {to}", quoted(&flow.message_type));
    }
    text.trim_end().to_owned()
}

/// Mermaid takes entities where a character would end the text or be markup.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '#' | '<' | '>' | '&' | '|' | '`' | '\n' => {
                let _ = write!(quoted, "#{};", u32::from(character));
            }
            other => quoted.push(other),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Role;

    use super::super::samples::plugin;
    use super::*;

    fn plugins() -> [Facts; 2] {
        [
            plugin("order-saga", Role::Saga, &["Paid"], &["Send \"it\""], &[]),
            plugin("bank", Role::Reactor, &["Placed"], &["Charge"], &["Paid"]),
        ]
    }

    fn topology() -> Topology {
        let routes = BTreeMap::from([("Charge".to_owned(), "card".to_owned())]);
        Topology::new(&plugins(), &routes)
    }

    #[test]
    fn a_flowchart_shows_who_sends_what_to_whom() {
        let expected = "flowchart LR
  plugin0[\"order-saga<br/>saga\"]
  plugin1[\"bank<br/>reactor\"]
  outside((outside))
  sink3[/\"card\"/]
  queue[(\"queues\")]
  plugin1 -.->|\"Paid\"| plugin0
  outside -.->|\"Placed\"| plugin1
  plugin1 -->|\"Charge\"| sink3
  plugin0 -->|\"Send #34;it#34;\"| queue";
        assert_eq!(mermaid(&plugins(), &topology()), expected);
    }

    #[test]
    fn a_source_is_shown_with_its_type() {
        let mut plugins = plugins();
        plugins[1].manifest.subscriptions[0].source = Source::Prefix("/shop".to_owned());
        let printed = text(&plugins[1..], &[], true);
        assert!(printed.contains("\n  handles Placed from `/shop*`\n"), "{printed}");
    }

    #[test]
    fn people_read_the_worst_first() {
        let findings = [
            Finding::new(Severity::Note, "bank", "n"),
            Finding::new(Severity::Error, "x.wasm", "e"),
        ];
        let printed = text(&plugins()[..1], &findings, true);
        let expected = "order-saga 1.0.0 (saga) from order-saga.wasm
  handles Paid
  sends Send \"it\"
  imports sagabox:plugin/logging@0.1.0
error: x.wasm: e
note: bank: n
1 plugin: 1 error, 0 warnings, 1 note";
        assert_eq!(printed, expected);
        let without = expected.replace("note: bank: n\n", "");
        assert_eq!(text(&plugins()[..1], &findings, false), without);
    }

    #[test]
    fn programs_read_everything() {
        let findings = [Finding::new(Severity::Warning, "bank", "w")];
        let changed = [Comparison {
            plugin: "bank".to_owned(),
            from: None,
            to: Some("1.0.0".to_owned()),
            changes: vec!["is new".to_owned()],
        }];
        let report = json(&plugins(), &topology(), &findings, Some(&changed));
        let again: Value = serde_json::from_str(&report.to_string()).unwrap();
        assert_eq!(again["plugins"][1]["manifest"]["name"], "bank");
        assert_eq!(again["plugins"][0]["limits"]["call_time_ms"], 1000);
        assert_eq!(
            again["topology"]["flows"][0],
            value!({"kind": "event", "type": "Paid", "from": {"plugin": "bank"}, "to": {"plugin": "order-saga"}})
        );
        assert_eq!(again["warnings"], 1);
        assert_eq!(again["findings"][0]["severity"], "warning");
        assert_eq!(again["changes"][0]["changes"][0], "is new");
        assert_eq!(json(&[], &Topology::default(), &[], None).get("changes"), None);
    }

    #[test]
    fn changes_are_said_below_the_versions() {
        let mut changed = Comparison {
            plugin: "bank".to_owned(),
            from: Some("1.2.0".to_owned()),
            to: Some("1.3.0".to_owned()),
            changes: vec!["newly asks for lookup `credit`".to_owned()],
        };
        assert_eq!(
            comparison_text(std::slice::from_ref(&changed)),
            "bank 1.2.0 -> 1.3.0:\n  newly asks for lookup `credit`"
        );
        changed.changes.clear();
        assert!(comparison_text(&[changed]).contains("has the same manifest"));
        assert_eq!(comparison_text(&[]), "nothing changed");
    }
}
