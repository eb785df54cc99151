//! Pure: what looks wrong in what the plugins send each other.

use std::collections::BTreeMap;

use sagabox_engine::model::{Effect, Manifest, reserved};

use super::{Facts, Finding, Severity};
use crate::plugins::topology::{Described, End, Flow, FlowKind, Topology};

impl Described for Facts {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

impl Topology {
    /// What looks wrong when all is seen together.
    #[must_use]
    pub fn findings(&self, plugins: &[Facts], routes: &BTreeMap<String, String>) -> Vec<Finding> {
        let mut findings: Vec<Finding> = plugins.iter().filter_map(cannot_start).collect();
        findings.extend(self.flows.iter().filter_map(|flow| about(flow, plugins, routes)));
        findings.extend(self.cycles.iter().map(|cycle| about_cycle(cycle)));
        findings
    }
}

/// A process manager none of whose subscriptions can start an instance.
fn cannot_start(plugin: &Facts) -> Option<Finding> {
    let manifest = &plugin.manifest;
    // Reserved events are for instances that are there already.
    let starts = manifest.subscriptions.iter().any(|subscription| {
        subscription.effect != Effect::Handle
            && !subscription.event_type.starts_with(reserved::PREFIX)
    });
    (manifest.role.has_instances() && !starts).then(|| {
        let text = "none of its subscriptions can start an instance, so none is ever called; \
                    give the first event of the process the effect `start`";
        Finding::new(Severity::Warning, plugin.name(), text)
    })
}

fn about(flow: &Flow, plugins: &[Facts], routes: &BTreeMap<String, String>) -> Option<Finding> {
    let Flow { kind, message_type, from, to } = flow;
    match (kind, from, to) {
        (FlowKind::Command, End::Plugin(sender), End::Queue) => {
            // Who routes some of them has hardly forgotten the others on purpose.
            let severity = if routes.is_empty() { Severity::Note } else { Severity::Warning };
            let text = format!(
                "its command `{message_type}` has no route: it waits in the host's queue \
                 of that name until a worker leases it; to deliver it to a sink, add it \
                 under [routes]"
            );
            Some(Finding::new(severity, sender, text))
        }
        (FlowKind::Event, End::Plugin(sender), End::Nowhere) => {
            let text = format!(
                "its event `{message_type}` has no receiver: no plugin subscribes to it, \
                 and it has no route"
            );
            Some(Finding::new(Severity::Warning, sender, text))
        }
        (FlowKind::Event, End::Outside, End::Plugin(receiver)) => {
            let as_command: Vec<&str> = plugins
                .iter()
                .filter(|plugin| plugin.manifest.commands.contains(message_type))
                .map(Facts::name)
                .collect();
            Some(if as_command.is_empty() {
                let text = format!(
                    "no plugin sends its event `{message_type}`: it has to come from outside"
                );
                Finding::new(Severity::Note, receiver, text)
            } else {
                let text = format!(
                    "it subscribes to `{message_type}`, which {} sends as a command; commands \
                     never come to the log: emit it as an event",
                    as_command.join(", ")
                );
                Finding::new(Severity::Warning, receiver, text)
            })
        }
        _ => None,
    }
}

fn about_cycle(cycle: &[Flow]) -> Finding {
    let End::Plugin(first) = &cycle[0].from else { unreachable!("cycles are among plugins") };
    let mut way = first.clone();
    for flow in cycle {
        if let End::Plugin(next) = &flow.to {
            way += &format!(" -[{}]-> {next}", flow.message_type);
        }
    }
    let text = format!("its messages return to it: {way}; make sure that this loop ends");
    Finding::new(Severity::Warning, first, text)
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Role;

    use super::super::samples::plugin;
    use super::*;

    fn found(plugins: &[Facts], routes: &[(&str, &str)]) -> Vec<String> {
        let routes: BTreeMap<String, String> =
            routes.iter().map(|(kind, sink)| ((*kind).to_owned(), (*sink).to_owned())).collect();
        let findings = Topology::new(plugins, &routes).findings(plugins, &routes);
        let line = |f: &Finding| format!("{} {}: {}", f.severity.as_str(), f.subject, f.text);
        findings.iter().map(line).collect()
    }

    #[track_caller]
    fn check(plugins: &[Facts], routes: &[(&str, &str)], expected: &[&str]) {
        let found = found(plugins, routes);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "`{found}` does not begin with `{expected}`");
        }
    }

    #[test]
    fn a_command_without_a_route_is_a_warning_where_others_have_one() {
        let saga = plugin("pay", Role::Saga, &["Placed"], &["Pay", "Refund"], &[]);
        let outside = "note pay: no plugin sends its event `Placed`";
        let unrouted = "its command `Refund` has no route";
        check(
            std::slice::from_ref(&saga),
            &[("Pay", "bank")],
            &[outside, &format!("warning pay: {unrouted}")],
        );
        check(
            &[saga],
            &[],
            &[
                outside,
                "note pay: its command `Pay` has no route",
                &format!("note pay: {unrouted}"),
            ],
        );
    }

    #[test]
    fn an_event_that_reaches_no_handler_is_named() {
        let reactor = || plugin("stock", Role::Reactor, &["Paid"], &[], &["Missing"]);
        let outside = "note stock: no plugin sends its event `Paid`";
        check(&[reactor()], &[], &["warning stock: its event `Missing` has no receiver", outside]);
        check(&[reactor()], &[("Missing", "out")], &[outside]);
        let listener = plugin("buyer", Role::Reactor, &["Missing"], &[], &[]);
        check(&[reactor(), listener], &[], &[outside]);
        // What an enricher emits leaves without a route as well.
        check(&[plugin("stock", Role::Enricher, &["Paid"], &[], &["Missing"])], &[], &[outside]);
    }

    #[test]
    fn a_command_is_no_event() {
        let sender = plugin("a", Role::Saga, &["Placed"], &["Pay"], &[]);
        let receiver = plugin("b", Role::Saga, &["Pay"], &[], &[]);
        check(
            &[sender, receiver],
            &[("Pay", "bank")],
            &[
                "warning b: it subscribes to `Pay`, which a sends as a command",
                "note a: no plugin sends its event `Placed`",
            ],
        );
    }

    #[test]
    fn a_process_that_nothing_starts_is_named() {
        let mut manager = plugin("p", Role::ProcessManager, &["Placed"], &[], &[]);
        let none = "warning p: none of its subscriptions can start an instance";
        let outside = "note p: no plugin sends its event `Placed`";
        check(std::slice::from_ref(&manager), &[], &[none, outside]);
        manager.manifest.subscriptions[0].effect = Effect::StartOrHandle;
        check(std::slice::from_ref(&manager), &[], &[outside]);
        // A timer fires for an instance that is there already.
        let mut fired = manager.manifest.subscriptions[0].clone();
        fired.event_type = reserved::TIMER_FIRED.to_owned();
        manager.manifest.subscriptions[0].effect = Effect::Handle;
        manager.manifest.subscriptions.push(fired);
        check(&[manager], &[], &[none, outside]);
    }

    #[test]
    fn a_way_back_is_a_cycle_and_found_once() {
        let plugins = [
            plugin("a", Role::Reactor, &["Three", "Start"], &[], &["One"]),
            plugin("b", Role::Reactor, &["One"], &[], &["Two"]),
            plugin("c", Role::Reactor, &["Two"], &[], &["Three"]),
        ];
        check(
            &plugins,
            &[],
            &[
                "note a: no plugin sends its event `Start`",
                "warning a: its messages return to it: a -[One]-> b -[Two]-> c -[Three]-> a;",
            ],
        );
        let own = plugin("a", Role::Reactor, &["One"], &[], &["One"]);
        check(&[own], &[], &["warning a: its messages return to it: a -[One]-> a;"]);
        let line = [
            plugin("a", Role::Reactor, &["Start"], &[], &["One"]),
            plugin("b", Role::Reactor, &["One"], &[], &[]),
        ];
        assert_eq!(Topology::new(&line, &BTreeMap::new()).cycles, Vec::<Vec<Flow>>::new());
    }

    #[test]
    fn a_plugin_that_only_leads_to_a_cycle_is_not_in_it() {
        let plugins = [
            plugin("a", Role::Reactor, &["Start"], &[], &["One"]),
            plugin("b", Role::Reactor, &["One", "Two"], &[], &["Two"]),
        ];
        let cycles = Topology::new(&plugins, &BTreeMap::new()).cycles;
        assert_eq!(cycles.len(), 1);
        assert_eq!(cycles[0][0].from, End::Plugin("b".to_owned()));
    }
}
