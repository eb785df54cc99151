//! The flows between plugins as a drawing, from their manifests, with the rate of each arrow.
//!
//! Counters exist for each plugin and each sink. The rate of an arrow is known if it is the only
//! one that leads to its end; otherwise the number is shown at the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::drawing::{Arrow, Drawing, Kind, Node};
use super::frame::{Frame, Page, Visit, html};
use super::live::Parts;
use super::{PageRoute, Pages, page, plugins};
use crate::access::Permission::Read;
use crate::api::Needs::ForAll;
use crate::api::admin;
use crate::api::samples::Moment;
use crate::api::{Problem, Shared};
use crate::io::locks::lock;
use crate::plugins::topology::{End, Flow, FlowKind};

pub(super) const PATH: &str = "/topology";
/// Types that an arrow names; the table below the drawing has all.
const NAMED_MAX: usize = 3;

pub(super) fn routes() -> Vec<PageRoute> {
    vec![page(PATH, ForAll(Read), show), page("/topology/live", ForAll(Read), live)]
}

#[derive(Template)]
#[template(path = "pages/topology.html")]
struct TopologyPage {
    frame: Frame,
    drawing: Option<Drawing>,
    flows: Vec<Row>,
    cycles: Vec<String>,
}

#[derive(Template)]
#[template(path = "pages/topology_drawing.html")]
struct DrawingPart {
    drawing: Option<Drawing>,
}

/// A flow, in words.
struct Row {
    from: String,
    message_type: String,
    kind: &'static str,
    to: String,
}

async fn show(State(pages): State<Pages>, visit: Visit) -> Result<Page, Problem> {
    let topology = admin::topology(State(Arc::clone(&pages.site))).await.0;
    let drawing = drawn(&pages.site, &Mutex::default()).await?;
    let rows = topology.flows.iter().map(Row::of).collect();
    let cycles = topology.cycles.iter().map(|cycle| around(cycle)).collect();
    let frame = visit.frame("Topology", plugins::PATH).with_live("/topology/live".to_owned());
    Page::of(&TopologyPage { frame, drawing, flows: rows, cycles })
}

async fn live(State(pages): State<Pages>) -> Result<Response, Problem> {
    let site = Arc::clone(&pages.site);
    let before: Arc<Mutex<Option<Arc<Moment>>>> = Arc::default();
    // Readers who may see it see all of it.
    pages.live.stream(PATH.to_owned(), move || {
        let (site, before) = (Arc::clone(&site), Arc::clone(&before));
        async move {
            let drawing = drawn(&site, &before).await?;
            Ok(Parts::from([("topology", html(&DrawingPart { drawing })?)]))
        }
    })
}

/// The drawing with the rates since the moment before. None if it cannot be laid out, which is a
/// bug; the table has all of it.
async fn drawn(
    site: &Shared,
    before: &Mutex<Option<Arc<Moment>>>,
) -> Result<Option<Drawing>, Problem> {
    let topology = admin::topology(State(Arc::clone(site))).await.0;
    let moment = site.samples.look(site).await?;
    let earlier = lock(before).replace(Arc::clone(&moment));
    let rates = earlier.map_or_else(Rates::default, |earlier| Rates::between(&earlier, &moment));
    let (nodes, arrows) = graph(&topology.flows, &rates);
    let laid_out = tokio::task::spawn_blocking(move || Drawing::of(nodes, arrows)).await;
    if let Err(error) = &laid_out {
        tracing::error!(%error, "the topology cannot be laid out");
    }
    Ok(laid_out.ok())
}

/// What ends receive in a second, by their names.
#[derive(Default)]
struct Rates {
    plugins: BTreeMap<String, f64>,
    sinks: BTreeMap<String, f64>,
}

impl Rates {
    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    fn between(before: &Moment, now: &Moment) -> Self {
        let millis = now.at.0.saturating_sub(before.at.0);
        if millis == 0 {
            return Self::default();
        }
        let rate =
            |now: u64, before: u64| now.saturating_sub(before) as f64 * 1000.0 / millis as f64;
        let earlier: BTreeMap<&str, u64> =
            before.accounts.plugins.iter().map(|row| (&*row.plugin, row.received)).collect();
        let plugins = now.accounts.plugins.iter().filter_map(|row| {
            let earlier = earlier.get(&*row.plugin)?;
            Some((row.plugin.clone(), rate(row.received, *earlier)))
        });
        let earlier: BTreeMap<&str, u64> =
            before.accounts.sinks.iter().map(|row| (&*row.sink, row.messages)).collect();
        let sinks = now.accounts.sinks.iter().filter_map(|row| {
            let earlier = earlier.get(&*row.sink)?;
            Some((row.sink.clone(), rate(row.messages, *earlier)))
        });
        Self { plugins: plugins.collect(), sinks: sinks.collect() }
    }

    fn of(&self, end: &End, message_type: &str) -> Option<f64> {
        match end {
            End::Plugin(name) => self.plugins.get(name).copied(),
            End::Sink(name) => self.sinks.get(name).copied(),
            End::Queue => self.sinks.get(&format!("queue:{message_type}")).copied(),
            End::Outside | End::Nowhere => None,
        }
    }
}

/// One arrow for all types on the same way.
fn graph(flows: &[Flow], rates: &Rates) -> (Vec<Node>, Vec<Arrow>) {
    let mut names: BTreeMap<(Kind, String), usize> = BTreeMap::new();
    let mut ways: BTreeMap<(usize, usize), Vec<&Flow>> = BTreeMap::new();
    for flow in flows {
        let mut number = |end: &End| {
            let next = names.len();
            *names.entry(node(end, &flow.message_type)).or_insert(next)
        };
        ways.entry((number(&flow.from), number(&flow.to))).or_default().push(flow);
    }
    let mut nodes: Vec<(usize, Node)> = names
        .into_iter()
        .map(|((kind, name), number)| (number, Node { kind, name, rate: None }))
        .collect();
    nodes.sort_by_key(|(number, _)| *number);
    let mut nodes: Vec<Node> = nodes.into_iter().map(|(_, node)| node).collect();
    let mut arrows = Vec::new();
    for ((from, to), flows) in &ways {
        let rate = rates.of(&flows[0].to, &flows[0].message_type).map(per_second);
        let is_only = ways.keys().filter(|(_, end)| end == to).count() == 1;
        let arrow_rate = rate.clone().filter(|_| is_only);
        if !is_only {
            nodes[*to].rate = rate;
        }
        arrows.push(Arrow { from: *from, to: *to, label: label(flows), rate: arrow_rate });
    }
    (nodes, arrows)
}

fn node(end: &End, message_type: &str) -> (Kind, String) {
    match end {
        End::Outside => (Kind::Outside, "senders".to_owned()),
        End::Plugin(name) => (Kind::Plugin, name.clone()),
        End::Sink(name) => (Kind::Sink, name.clone()),
        End::Queue => (Kind::Queue, format!("queue:{message_type}")),
        End::Nowhere => (Kind::Outside, "no receiver".to_owned()),
    }
}

fn label(flows: &[&Flow]) -> Vec<String> {
    let mut lines: Vec<String> =
        flows.iter().take(NAMED_MAX).map(|flow| flow.message_type.clone()).collect();
    if flows.len() > NAMED_MAX {
        lines.push(format!("and {} more", flows.len() - NAMED_MAX));
    }
    lines
}

fn per_second(rate: f64) -> String {
    match rate {
        rate if rate >= 10.0 || rate == 0.0 => format!("{rate:.0}/s"),
        rate => format!("{rate:.1}/s"),
    }
}

fn around(cycle: &[Flow]) -> String {
    let mut text = cycle.first().map_or(String::new(), |flow| node(&flow.from, "").1);
    for flow in cycle {
        text += &format!(" → {} ({})", node(&flow.to, &flow.message_type).1, flow.message_type);
    }
    text
}

impl Row {
    fn of(flow: &Flow) -> Self {
        Self {
            from: node(&flow.from, &flow.message_type).1,
            message_type: flow.message_type.clone(),
            kind: match flow.kind {
                FlowKind::Event => "event",
                FlowKind::Command => "command",
            },
            to: node(&flow.to, &flow.message_type).1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(message_type: &str, from: End, to: End) -> Flow {
        Flow { kind: FlowKind::Event, message_type: message_type.to_owned(), from, to }
    }

    fn plugin(name: &str) -> End {
        End::Plugin(name.to_owned())
    }

    #[test]
    fn types_on_one_way_are_one_arrow_and_the_number_stands_where_it_is_certain() {
        let flows = [
            flow("A", End::Outside, plugin("p")),
            flow("B", End::Outside, plugin("p")),
            flow("C", plugin("p"), plugin("q")),
            flow("D", End::Outside, plugin("q")),
            flow("E", plugin("q"), End::Queue),
        ];
        let rates = Rates {
            plugins: [("p".to_owned(), 12.4), ("q".to_owned(), 0.25)].into(),
            sinks: [("queue:E".to_owned(), 0.0)].into(),
        };
        let (nodes, arrows) = graph(&flows, &rates);
        let name = |number: usize| nodes[number].name.as_str();
        let shown: Vec<_> = arrows
            .iter()
            .map(|arrow| {
                let label = arrow.label.join(" ");
                format!("{} {} {label} {:?}", name(arrow.from), name(arrow.to), arrow.rate)
            })
            .collect();
        let expected = [
            "senders p A B Some(\"12/s\")",
            "senders q D None",
            "p q C None",
            "q queue:E E Some(\"0/s\")",
        ];
        assert_eq!(shown, expected);
        let q = nodes.iter().find(|node| node.name == "q").unwrap();
        assert_eq!(q.rate.as_deref(), Some("0.2/s"));
    }

    #[test]
    fn an_arrow_names_some_types() {
        let flows: Vec<Flow> =
            ["A", "B", "C", "D", "E"].map(|name| flow(name, plugin("p"), plugin("q"))).to_vec();
        let (_, arrows) = graph(&flows, &Rates::default());
        assert_eq!(arrows[0].label, ["A", "B", "C", "and 2 more"]);
    }
}
