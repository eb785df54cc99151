//! The dashboard and the alert rules: each metric that they name exists, with the labels that they
//! use, the syntax is Prometheus's, and the documentation explains each rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use sagabox_tests::paths;
use serde_json::Value;
use tempfile::TempDir;

const RULES: &str = "host/packaging/prometheus/sagabox.rules.yml";
const DASHBOARD: &str = "host/packaging/grafana/sagabox.json";

fn read(path: &str) -> String {
    fs::read_to_string(paths::repository().join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The metrics of the table in the documentation, which is that of the code: kind and labels.
fn declared() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = read("docs/operations.md");
    let rows = text.lines().filter(|line| line.starts_with("| `sagabox_"));
    let declared: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let name = |cell: &str| cell.trim_matches('`').to_owned();
            let labels = cells[3].split(',').map(|label| name(label.trim()));
            (name(cells[1]), (cells[2].to_owned(), labels.filter(|l| !l.is_empty()).collect()))
        })
        .collect();
    assert!(declared.len() > 20, "the table of metrics is not found");
    declared
}

/// The expressions of the dashboard, with its variables filled in.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions: Vec<String> = targets
        .map(|target| target["expr"].as_str().expect("an expression").to_owned())
        .map(|text| text.replace("$__rate_interval", "5m").replace("$instance", ".*"))
        .collect();
    assert!(expressions.len() > 20, "the expressions of the dashboard are not found");
    expressions
}

/// Names that begin with `sagabox_` outside of words.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_of_name(c));
    words.filter(|word| word.starts_with("sagabox_")).map(str::to_owned).collect()
}

#[test]
fn every_metric_that_the_dashboard_and_the_rules_name_exists() {
    let declared = declared();
    let exists = |name: &String| {
        declared.contains_key(name)
            || ["_bucket", "_sum", "_count"].iter().any(|suffix| {
                let family = name.strip_suffix(suffix);
                family
                    .and_then(|family| declared.get(family))
                    .is_some_and(|(kind, _)| kind == "histogram")
            })
    };
    let named = metrics_in(&(expressions().join("\n") + &read(RULES)));
    let missing: Vec<&String> = named.iter().filter(|name| !exists(name)).collect();
    assert_eq!(missing, Vec::<&String>::new());
    // And what is measured is shown.
    let shown = metrics_in(&expressions().join("\n"));
    let unshown: Vec<&String> = declared
        .keys()
        .filter(|name| !shown.iter().any(|shown| shown.starts_with(name.as_str())))
        .filter(|name| !named.contains(*name))
        .collect();
    let known = [
        "sagabox_candidate_info",
        "sagabox_events_differing_total",
        "sagabox_events_untaken",
        "sagabox_log_position",
        "sagabox_plugin_replaced_total",
    ];
    assert_eq!(unshown, known, "shown nowhere");
}

#[test]
fn the_labels_by_which_is_grouped_exist() {
    let declared = declared();
    let all: BTreeSet<&String> = declared.values().flat_map(|(_, labels)| labels).collect();
    let text = expressions().join("\n") + &read(RULES);
    for group in text.split(" by (").skip(1) {
        let labels = group.split(')').next().unwrap_or_default();
        for label in labels.split(',').map(str::trim) {
            let of_prometheus = ["le", "instance"].contains(&label);
            assert!(of_prometheus || all.contains(&label.to_owned()), "{label} in {group}");
        }
    }
}

#[test]
fn each_rule_is_explained() {
    let (rules, documentation) = (read(RULES), read("docs/operations.md"));
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let mut count = 0;
    for name in names {
        assert!(documentation.contains(&format!("| `{name}` |")), "{name} is not explained");
        count += 1;
    }
    assert!(count > 10, "{count} rules");
}

#[test]
fn prometheus_understands_the_rules_and_the_dashboard() {
    let folder = TempDir::new().expect("a temporary folder");
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, expression) in expressions().into_iter().enumerate() {
        let expression = Value::from(expression);
        let _ = writeln!(rules, "      - record: panel:{number}\n        expr: {expression}");
    }
    let dashboard = folder.path().join("dashboard.yml");
    fs::write(&dashboard, rules).expect("a file");
    let checked = Command::new("promtool")
        .args(["check", "rules"])
        .args([&paths::repository().join(RULES), &dashboard])
        .output()
        .expect("promtool is installed: `./dev setup` does it");
    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}
