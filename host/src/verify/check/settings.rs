//! Whether the configuration fits the plugins: what it names must be there, and what
//! they need must be named.

use std::collections::BTreeSet;

use sagabox_engine::model::reserved;

use super::{Facts, Finding, Severity};
use crate::config::{LookupSource, Settings};
use crate::io::lookup::Table;

/// `file` is how the configuration is called in findings.
#[must_use]
pub fn check_settings(plugins: &[Facts], settings: &Settings, file: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plugin in plugins {
        findings.extend(plugin.manifest.lookups.iter().filter_map(|lookup| {
            let text = match settings.lookups.get(lookup) {
                None => format!(
                    "its lookup `{lookup}` is not configured: an event whose handler \
                     asks it becomes a dead letter; add [lookup.{lookup}]"
                ),
                Some(configured) if !configured.plugins.contains(plugin.name()) => format!(
                    "its lookup `{lookup}` is not granted: an event whose handler asks \
                     it becomes a dead letter; add `{}` to lookup.{lookup}.plugins",
                    plugin.name()
                ),
                Some(_) => return None,
            };
            Some(Finding::new(Severity::Warning, plugin.name(), text))
        }));
    }
    let about = |severity, text: String| Finding::new(severity, file, text);
    for (name, lookup) in &settings.lookups {
        if let LookupSource::Table(path) = &lookup.source
            && let Err(error) = Table::open(path)
        {
            let text = format!("a host does not start: lookup.{name}: {error:#}");
            findings.push(about(Severity::Error, text));
        }
        for plugin in lookup.plugins.iter().filter(|name| !is_there(plugins, name)) {
            let text = format!("lookup.{name}.plugins: plugin `{plugin}` not found");
            findings.push(about(Severity::Warning, text));
        }
    }
    for plugin in settings.plugins.keys().filter(|name| !is_there(plugins, name)) {
        findings.push(about(Severity::Warning, format!("[plugin.{plugin}]: plugin not found")));
    }
    let sent: BTreeSet<&String> = plugins
        .iter()
        .flat_map(|plugin| plugin.manifest.commands.iter().chain(&plugin.manifest.events))
        .collect();
    let is_of_host = |name: &String| name.starts_with(reserved::ALERT);
    let routes = settings.routes.keys().filter(|name| !sent.contains(name) && !is_of_host(name));
    for message_type in routes {
        let text = format!("routes.\"{message_type}\": no plugin sends it");
        findings.push(about(Severity::Warning, text));
    }
    findings
}

fn is_there(plugins: &[Facts], name: &str) -> bool {
    plugins.iter().any(|plugin| plugin.name() == name)
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Role;

    use super::super::samples::plugin;
    use super::*;
    use crate::config::Overrides;

    fn found(toml: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sagabox.toml");
        std::fs::write(&file, toml).unwrap();
        let settings = Settings::load(Some(&file), Overrides::default()).unwrap();
        let mut shipment = plugin("shipment", Role::Reactor, &["Paid"], &["Send"], &[]);
        shipment.manifest.lookups.insert("stock".to_owned());
        let findings = check_settings(&[shipment], &settings, "sagabox.toml");
        let line = |f: Finding| format!("{} {}: {}", f.severity.as_str(), f.subject, f.text);
        findings.into_iter().map(line).collect()
    }

    #[test]
    fn what_the_plugins_need_must_be_configured() {
        let none = "warning shipment: its lookup `stock` is not configured";
        assert!(found("")[0].starts_with(none), "{:?}", found(""));
        let refused = found("[lookup.stock]\nurl = 'http://h/{key}'");
        assert!(refused[0].starts_with("warning shipment: its lookup `stock` is not granted"));
        let granted = "[lookup.stock]\nurl = 'http://h/{key}'\nplugins = ['shipment']";
        assert_eq!(found(granted), Vec::<String>::new());
    }

    #[test]
    fn what_the_configuration_names_must_be_there() {
        let toml = "[plugin.other]\na = 1\n[routes]\nGone = 'out'\n[sink.out]\nstdout = true\n\
                    [lookup.stock]\ntable = 'none.json'\nplugins = ['shipment', 'unknown']";
        let found = found(toml);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(found[0].starts_with("error sagabox.toml: a host does not start: lookup.stock:"));
        assert_eq!(
            found[1..],
            [
                "warning sagabox.toml: lookup.stock.plugins: plugin `unknown` not found",
                "warning sagabox.toml: [plugin.other]: plugin not found",
                "warning sagabox.toml: routes.\"Gone\": no plugin sends it",
            ]
        );
    }
}
