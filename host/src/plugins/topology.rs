//! Pure: the flows of messages between plugins and the outside, by the manifests of all plugins
//! together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sagabox_engine::model::{Manifest, Role, reserved};
use sagabox_engine::pure::identity;
use serde::Serialize;
use utoipa::ToSchema;

/// Something that is a plugin by its manifest.
pub trait Described {
    fn manifest(&self) -> &Manifest;
}

impl Described for Manifest {
    fn manifest(&self) -> &Manifest {
        self
    }
}

/// The plugins, and what flows between them and the outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Topology {
    pub flows: Vec<Flow>,
    /// Cycles, each as the flows that lead from a plugin back to it.
    pub cycles: Vec<Vec<Flow>>,
}

/// The messages of one type between two places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct Flow {
    pub kind: FlowKind,
    #[serde(rename = "type")]
    pub message_type: String,
    pub from: End,
    pub to: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlowKind {
    Event,
    Command,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = FlowEnd)]
pub enum End {
    /// The senders of events to the host.
    Outside,
    Plugin(String),
    /// The sink of a route.
    Sink(String),
    /// The host's own queue of the message type.
    Queue,
    Nowhere,
}

impl Topology {
    /// `routes` maps message types to sinks.
    #[must_use]
    pub fn new<P: Described>(plugins: &[P], routes: &BTreeMap<String, String>) -> Self {
        let mut flows = BTreeSet::new();
        for plugin in plugins {
            flows.extend(received(plugin, plugins));
            flows.extend(sent(plugin, plugins, routes));
        }
        let flows: Vec<Flow> = flows.into_iter().collect();
        let cycles = cycles(&flows);
        Self { flows, cycles }
    }
}

fn received<P: Described>(plugin: &P, plugins: &[P]) -> Vec<Flow> {
    let to = End::Plugin(plugin.manifest().name.as_str().to_owned());
    let mut flows = Vec::new();
    for subscription in &plugin.manifest().subscriptions {
        let event_type = &subscription.event_type;
        // The host itself makes these.
        if event_type.starts_with(reserved::PREFIX) {
            continue;
        }
        let flow = |from| Flow {
            kind: FlowKind::Event,
            message_type: event_type.clone(),
            from,
            to: to.clone(),
        };
        let senders = plugins.iter().filter(|sender| {
            sender.manifest().events.contains(event_type)
                && subscription.source.admits(&identity::source(&sender.manifest().name))
        });
        let mut inside: Vec<Flow> = senders
            .map(|sender| flow(End::Plugin(sender.manifest().name.as_str().to_owned())))
            .collect();
        if inside.is_empty() {
            inside.push(flow(End::Outside));
        }
        flows.append(&mut inside);
    }
    flows
}

/// The messages that leave the host, and the events that no plugin takes.
fn sent<P: Described>(plugin: &P, plugins: &[P], routes: &BTreeMap<String, String>) -> Vec<Flow> {
    let flow = |kind, message_type: &String, to| Flow {
        kind,
        message_type: message_type.clone(),
        from: End::Plugin(plugin.manifest().name.as_str().to_owned()),
        to,
    };
    let route = |message_type: &String| routes.get(message_type).cloned().map(End::Sink);
    let manifest = plugin.manifest();
    let mut flows = Vec::new();
    for command in &manifest.commands {
        flows.push(flow(FlowKind::Command, command, route(command).unwrap_or(End::Queue)));
    }
    for event in &manifest.events {
        // The events of an enricher leave the host; other events leave only if a route names their
        // type.
        let leaves = match manifest.role {
            Role::Enricher => Some(route(event).unwrap_or(End::Queue)),
            Role::Saga | Role::ProcessManager | Role::Reactor => route(event),
        };
        let own = identity::source(&manifest.name);
        let heard = plugins.iter().any(|plugin| receives(plugin, event, &own));
        match leaves {
            Some(to) => flows.push(flow(FlowKind::Event, event, to)),
            None if !heard => flows.push(flow(FlowKind::Event, event, End::Nowhere)),
            None => {}
        }
    }
    flows
}

fn receives(plugin: &impl Described, event_type: &str, source: &str) -> bool {
    plugin.manifest().subscriptions.iter().any(|subscription| {
        subscription.event_type == event_type && subscription.source.admits(source)
    })
}

/// Cycles, each the shortest for its first plugin, until every plugin that can reach itself is in
/// one.
fn cycles(flows: &[Flow]) -> Vec<Vec<Flow>> {
    let mut edges: BTreeMap<&str, Vec<(&str, &Flow)>> = BTreeMap::new();
    for flow in flows {
        if let (End::Plugin(from), End::Plugin(to)) = (&flow.from, &flow.to) {
            edges.entry(from).or_default().push((to, flow));
        }
    }
    let mut covered: BTreeSet<&str> = BTreeSet::new();
    let mut cycles = Vec::new();
    for start in edges.keys() {
        if covered.contains(start) {
            continue;
        }
        if let Some(cycle) = shortest(start, &edges) {
            covered.extend(cycle.iter().filter_map(|flow| match &flow.from {
                End::Plugin(name) => Some(name.as_str()),
                _ => None,
            }));
            cycles.push(cycle.into_iter().cloned().collect());
        }
    }
    cycles
}

/// The shortest way from a plugin back to itself.
fn shortest<'f>(
    start: &str,
    edges: &BTreeMap<&'f str, Vec<(&'f str, &'f Flow)>>,
) -> Option<Vec<&'f Flow>> {
    let mut came_by: BTreeMap<&str, &'f Flow> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(place) = queue.pop_front() {
        for (next, flow) in edges.get(place).into_iter().flatten() {
            if *next == start {
                let mut way = vec![*flow];
                let mut at = place;
                while at != start {
                    let flow = came_by[at];
                    way.push(flow);
                    let End::Plugin(from) = &flow.from else { break };
                    at = from;
                }
                way.reverse();
                return Some(way);
            }
            if !came_by.contains_key(next) {
                came_by.insert(next, flow);
                queue.push_back(next);
            }
        }
    }
    None
}
