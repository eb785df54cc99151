//! Pure: nodes and arrows, laid out in layers from left to right, as a drawing has them.

use std::fmt::Write as _;

use dagre::graph::{Graph, GraphOptions};
use dagre::{EdgeLabel, LayoutOptions, NodeLabel, RankDir, layout};

/// The width of a character in a drawing: enough for most, because the real width depends on the
/// browser.
const CHARACTER_WIDTH: f64 = 7.6;
const LINE_HEIGHT: f64 = 16.0;
const PADDING: f64 = 12.0;
/// A longer name is cut in the drawing; the table below it has all of it.
const NAME_CHARS_MAX: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Outside,
    Plugin,
    Queue,
    Sink,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Plugin => "plugin",
            Self::Queue => "queue",
            Self::Sink => "sink",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub name: String,
    pub rate: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Arrow {
    /// Indexes of nodes.
    pub from: usize,
    pub to: usize,
    pub label: Vec<String>,
    pub rate: Option<String>,
}

#[derive(Debug)]
pub(super) struct Drawing {
    pub width: u32,
    pub height: u32,
    pub boxes: Vec<Box>,
    pub lines: Vec<Line>,
}

/// A node and its place. Texts are in its middle.
#[derive(Debug)]
pub(super) struct Box {
    pub class: &'static str,
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub texts: Vec<Text>,
}

#[derive(Debug)]
pub(super) struct Line {
    /// The `d` of a path.
    pub path: String,
    pub texts: Vec<Text>,
}

/// A line of text, by its middle and its base.
#[derive(Debug)]
pub(super) struct Text {
    pub x: f64,
    pub y: f64,
    pub text: String,
    pub is_rate: bool,
}

impl Drawing {
    pub(super) fn of(nodes: Vec<Node>, arrows: Vec<Arrow>) -> Self {
        let mut graph: Graph<NodeLabel, EdgeLabel> =
            Graph::with_options(GraphOptions { directed: true, multigraph: true, compound: false });
        for (number, node) in nodes.iter().enumerate() {
            let lines = lines(&node.name, node.rate.as_ref());
            let (width, height) = size(&lines);
            let label = NodeLabel {
                width: width + 2.0 * PADDING,
                height: height + 2.0 * PADDING,
                ..NodeLabel::default()
            };
            graph.set_node(id(number), Some(label));
        }
        for arrow in &arrows {
            let texts = arrow.texts();
            let (width, height) = size(&texts);
            let label = EdgeLabel { width: width + PADDING, height, ..EdgeLabel::default() };
            graph.set_edge(id(arrow.from), id(arrow.to), Some(label), None);
        }
        let options = LayoutOptions {
            rankdir: RankDir::LR,
            nodesep: 24.0,
            ranksep: 40.0,
            marginx: 8.0,
            marginy: 8.0,
            ..LayoutOptions::default()
        };
        layout(&mut graph, Some(options));
        let boxes: Vec<Box> = nodes
            .into_iter()
            .enumerate()
            .filter_map(|(number, node)| Some(Box::of(node, graph.node(&id(number))?)))
            .collect();
        let lines: Vec<Line> = arrows
            .iter()
            .filter_map(|arrow| {
                let label = graph.edge(&id(arrow.from), &id(arrow.to), None)?;
                Some(Line::of(arrow, label))
            })
            .collect();
        let right = boxes.iter().map(|node| node.left + node.width).fold(0.0, f64::max);
        let bottom = boxes.iter().map(|node| node.top + node.height).fold(0.0, f64::max);
        let below =
            lines.iter().flat_map(|line| &line.texts).map(|text| text.y).fold(0.0, f64::max);
        Self {
            width: pixels(right + PADDING),
            height: pixels(bottom.max(below) + PADDING),
            boxes,
            lines,
        }
    }
}

fn id(number: usize) -> String {
    number.to_string()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates, and is no length of a drawing then"
)]
fn pixels(length: f64) -> u32 {
    length.ceil() as u32
}

fn lines(name: &str, rate: Option<&String>) -> Vec<(String, bool)> {
    let name = match name.chars().count() > NAME_CHARS_MAX {
        true => format!("{}…", name.chars().take(NAME_CHARS_MAX - 1).collect::<String>()),
        false => name.to_owned(),
    };
    let rate = rate.map(|rate| (rate.clone(), true));
    std::iter::once((name, false)).chain(rate).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a number of characters and lines")]
fn size(lines: &[(String, bool)]) -> (f64, f64) {
    let characters = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
    (characters as f64 * CHARACTER_WIDTH, lines.len() as f64 * LINE_HEIGHT)
}

/// Lines of text around a middle.
#[expect(clippy::cast_precision_loss, reason = "a number of lines")]
fn around(x: f64, y: f64, lines: Vec<(String, bool)>) -> Vec<Text> {
    let top = y - lines.len() as f64 * LINE_HEIGHT / 2.0;
    let text = |(number, (text, is_rate)): (usize, (String, bool))| Text {
        x,
        y: top + (number as f64 + 0.75) * LINE_HEIGHT,
        text,
        is_rate,
    };
    lines.into_iter().enumerate().map(text).collect()
}

impl Arrow {
    fn texts(&self) -> Vec<(String, bool)> {
        let mut texts: Vec<(String, bool)> =
            self.label.iter().flat_map(|text| lines(text, None)).collect();
        texts.extend(self.rate.iter().map(|rate| (rate.clone(), true)));
        texts
    }
}

impl Box {
    fn of(node: Node, label: &NodeLabel) -> Self {
        let (x, y) = (label.x.unwrap_or(0.0), label.y.unwrap_or(0.0));
        Self {
            class: node.kind.class(),
            left: x - label.width / 2.0,
            top: y - label.height / 2.0,
            width: label.width,
            height: label.height,
            texts: around(x, y, lines(&node.name, node.rate.as_ref())),
        }
    }
}

impl Line {
    fn of(arrow: &Arrow, label: &EdgeLabel) -> Self {
        let mut path = String::new();
        for (number, point) in label.points.iter().enumerate() {
            let command = if number == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", point.x, point.y);
        }
        let middle = label.points.get(label.points.len() / 2);
        let (x, y) = middle.map_or((0.0, 0.0), |point| (point.x, point.y));
        let (x, y) = (label.x.unwrap_or(x), label.y.unwrap_or(y));
        Self { path, texts: around(x, y, arrow.texts()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(name: &str) -> Node {
        Node { kind: Kind::Plugin, name: name.to_owned(), rate: None }
    }

    fn arrow(from: usize, to: usize) -> Arrow {
        Arrow { from, to, label: vec!["Type".to_owned()], rate: None }
    }

    fn overlap(one: &Box, other: &Box) -> bool {
        one.left < other.left + other.width
            && other.left < one.left + one.width
            && one.top < other.top + other.height
            && other.top < one.top + one.height
    }

    #[test]
    fn what_sends_stands_left_of_what_receives() {
        let nodes = ["senders", "saga", "queue"].map(node).to_vec();
        let drawing = Drawing::of(nodes, vec![arrow(0, 1), arrow(1, 2)]);
        let left: Vec<f64> = drawing.boxes.iter().map(|node| node.left).collect();
        assert!(left.is_sorted(), "{left:?}");
        assert_eq!(drawing.lines.len(), 2);
        assert!(drawing.lines[0].path.starts_with('M'), "{}", drawing.lines[0].path);
        assert_eq!(Drawing::of(Vec::new(), Vec::new()).boxes.len(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Plugins that send each other anything, circles included.
        #[test]
        fn every_graph_is_laid_out_without_overlaps(
            count in 1usize..9,
            ways in prop::collection::btree_set((0usize..9, 0usize..9), 0..16),
        ) {
            let nodes: Vec<Node> = (0..count).map(|n| node(&"n".repeat(n + 1))).collect();
            let ways: Vec<_> =
                ways.into_iter().filter(|(from, to)| *from < count && *to < count).collect();
            let arrows = ways.iter().map(|(from, to)| arrow(*from, *to)).collect();
            let drawing = Drawing::of(nodes, arrows);
            prop_assert_eq!(drawing.boxes.len(), count);
            prop_assert_eq!(drawing.lines.len(), ways.len());
            for (number, one) in drawing.boxes.iter().enumerate() {
                prop_assert!(one.left >= 0.0 && one.top >= 0.0);
                prop_assert!(one.left + one.width <= f64::from(drawing.width));
                for other in &drawing.boxes[number + 1..] {
                    prop_assert!(!overlap(one, other), "{:?} and {:?}", one, other);
                }
            }
        }
    }
}
