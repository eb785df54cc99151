//! The figures as tables: one for each panel, with what a line shows when it is opened.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;

use super::figures::{Figures, number, per_second, text};
use crate::cli::output::{Row, grouped};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    Plugins,
    Sinks,
    DeadLetters,
    Pauses,
}

impl Panel {
    pub(super) const ALL: [Self; 4] = [Self::Plugins, Self::Sinks, Self::DeadLetters, Self::Pauses];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Plugins => "Plugins",
            Self::Sinks => "Queues and sinks",
            Self::DeadLetters => "Dead letters",
            Self::Pauses => "Pauses",
        }
    }

    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Plugins => PLUGINS,
            Self::Sinks => SINKS,
            Self::DeadLetters => DEAD_LETTERS,
            Self::Pauses => PAUSES,
        }
    }
}

const PLUGINS: &[Column] = &[
    Column::text("PLUGIN", 16),
    Column::text("VERSION", 7),
    Column::number("LAG", 8),
    Column::number("HANDLED/S", 9),
    Column::number("HELD", 6),
    Column::number("PARKED", 6),
    Column::number("DEAD", 5),
    Column::text("NOTE", 0),
];

const SINKS: &[Column] = &[
    Column::text("SINK", 20),
    Column::number("WAITING", 9),
    Column::number("LEASED", 6),
    Column::number("SENT/S", 8),
    Column::number("PARKED", 6),
    Column::number("DEAD", 5),
    Column::text("NOTE", 0),
];

const DEAD_LETTERS: &[Column] = &[
    Column::number("ID", 7),
    Column::text("PLUGIN", 16),
    Column::text("KEY", 16),
    Column::text("SINK", 12),
    Column::text("REASON", 0),
];

const PAUSES: &[Column] = &[
    Column::text("WHAT", 32),
    Column::number("WAITING", 9),
    Column::text("UNTIL", 24),
    Column::text("REASON", 0),
];

/// A column's title and width; the last column of a panel takes what is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub title: &'static str,
    pub width: u16,
    pub is_number: bool,
}

impl Column {
    const fn text(title: &'static str, width: u16) -> Self {
        Self { title, width, is_number: false }
    }

    const fn number(title: &'static str, width: u16) -> Self {
        Self { title, width, is_number: true }
    }
}

/// How much a line needs an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    #[default]
    Usual,
    Warning,
    Bad,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    /// Escaped for a terminal.
    pub text: String,
    /// What numbers are sorted by.
    value: f64,
}

impl Cell {
    #[expect(clippy::cast_precision_loss, reason = "sorted, not counted")]
    fn count(count: u64) -> Self {
        Self { text: grouped(count), value: count as f64 }
    }

    fn rate(rate: Option<f64>) -> Self {
        let text = rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
        Self { text, value: rate.unwrap_or_default() }
    }

    fn of(row: &Row, name: &str) -> Self {
        Self { text: row.cell(name), value: 0.0 }
    }

    /// An id is not an amount.
    #[expect(clippy::cast_precision_loss, reason = "sorted, not counted")]
    fn id(row: &Row, name: &str) -> Self {
        Self { text: row.cell(name), value: number(row, name) as f64 }
    }

    fn note(text: impl Into<String>) -> Self {
        Self { text: text.into(), value: 0.0 }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// The same at the next moment, so that a selected line stays selected.
    pub name: String,
    pub cells: Vec<Cell>,
    pub tone: Tone,
    /// Names and values, escaped for a terminal.
    pub details: Vec<(String, String)>,
}

/// The lines of a panel, sorted by a column; numbers with the largest first.
pub(super) fn lines(
    panel: Panel,
    now: &Figures,
    before: Option<&Figures>,
    sorted_by: usize,
    is_reversed: bool,
) -> Vec<Line> {
    let mut lines = match panel {
        Panel::Plugins => plugins(now, before),
        Panel::Sinks => sinks(now, before),
        Panel::DeadLetters => dead_letters(now),
        Panel::Pauses => pauses(now),
    };
    let is_number = panel.columns()[sorted_by].is_number;
    lines.sort_by(|one, other| {
        let (a, b) = (&one.cells[sorted_by], &other.cells[sorted_by]);
        let order = match is_number {
            true => b.value.partial_cmp(&a.value).unwrap_or(Ordering::Equal),
            false => a.text.cmp(&b.text),
        };
        let order = if is_reversed { order.reverse() } else { order };
        order.then_with(|| one.name.cmp(&other.name))
    });
    lines
}

struct Earlier {
    rows: BTreeMap<String, Row>,
    between: Duration,
}

impl Earlier {
    fn of(before: Option<&Figures>, now: &Figures, list: &str, name: &str) -> Self {
        let rows = before.map(|before| before.accounts_by(list, name)).unwrap_or_default();
        let between = before.map_or(Duration::ZERO, |before| now.at.saturating_sub(before.at));
        Self { rows, between }
    }

    fn rate(&self, name: &str, row: &Row, figure: &str) -> Option<f64> {
        let before = self.rows.get(name).map(|row| number(row, figure));
        per_second(number(row, figure), before, self.between)
    }
}

fn details(rows: &[&Row], left_out: &[&str]) -> Vec<(String, String)> {
    let members = rows.iter().flat_map(|row| row.members().map(move |(name, _)| (*row, name)));
    let shown = members.filter(|(_, name)| !left_out.contains(name));
    shown.map(|(row, name)| (name.replace('_', " "), row.cell(name))).collect()
}

/// Members of a manifest that would fill the screen.
const OF_MANIFESTS: [&str; 6] =
    ["schemas", "configuration_schema", "optional", "subscriptions", "fields", "summary"];

fn plugins(now: &Figures, before: Option<&Figures>) -> Vec<Line> {
    let earlier = Earlier::of(before, now, "plugins", "plugin");
    let mut serving: BTreeMap<String, Row> =
        now.plugins.rows("plugins").into_iter().map(|row| (text(&row, "name"), row)).collect();
    let mut lines: Vec<Line> = now
        .accounts
        .rows("plugins")
        .iter()
        .map(|row| {
            let name = text(row, "plugin");
            let own = serving.remove(&name);
            let dead = number(row, "dead");
            let note = match (&own, dead) {
                (None, _) => "does not serve",
                (Some(_), 0) => "",
                (Some(_), _) => "dead letters",
            };
            let version = own.as_ref().map_or_else(|| "-".to_owned(), |own| own.cell("version"));
            let tone = if dead > 0 { Tone::Bad } else { Tone::Usual };
            let rows: Vec<&Row> = own.iter().chain([row]).collect();
            Line {
                cells: vec![
                    Cell::of(row, "plugin"),
                    Cell::note(version),
                    Cell::count(number(row, "pending")),
                    Cell::rate(earlier.rate(&name, row, "handled")),
                    Cell::count(number(row, "held")),
                    Cell::count(number(row, "parked")),
                    Cell::count(dead),
                    Cell::note(note),
                ],
                tone: if own.is_none() { tone.max(Tone::Warning) } else { tone },
                details: details(&rows, &OF_MANIFESTS),
                name,
            }
        })
        .collect();
    // Plugins that have received nothing yet.
    lines.extend(serving.into_iter().map(|(name, row)| idle(name, &row)));
    lines.extend(now.plugins.rows("refused").iter().map(refused));
    lines
}

fn idle(name: String, row: &Row) -> Line {
    let mut cells = vec![Cell::of(row, "name"), Cell::of(row, "version")];
    cells.extend([0; 5].map(Cell::count));
    cells.push(Cell::default());
    Line { name, cells, details: details(&[row], &OF_MANIFESTS), ..Line::default() }
}

fn refused(row: &Row) -> Line {
    let mut cells = vec![Cell::of(row, "file")];
    cells.extend((0..6).map(|_| Cell::note("-")));
    cells.push(Cell::note(format!("refused: {}", row.cell("reason"))));
    let name = format!("refused {}", text(row, "file"));
    Line { name, cells, tone: Tone::Bad, details: details(&[row], &[]) }
}

fn sinks(now: &Figures, before: Option<&Figures>) -> Vec<Line> {
    let earlier = Earlier::of(before, now, "sinks", "sink");
    let leased: BTreeMap<String, u64> = now
        .queues
        .rows("queues")
        .iter()
        .map(|row| (format!("queue:{}", text(row, "queue")), number(row, "leased")))
        .collect();
    let down: BTreeMap<String, Row> =
        now.sinks_down().map(|(row, down)| (text(&row, "sink"), down)).collect();
    let line = |row: &Row| {
        let name = text(row, "sink");
        let (dead, trouble) = (number(row, "dead"), down.get(&name));
        let note = trouble.map(|down| format!("down: {}", down.cell("reason")));
        let rows: Vec<&Row> = [row].into_iter().chain(trouble).collect();
        let leased = leased.get(&name).map_or_else(|| Cell::note("-"), |own| Cell::count(*own));
        Line {
            cells: vec![
                Cell::of(row, "sink"),
                Cell::count(number(row, "pending")),
                leased,
                Cell::rate(earlier.rate(&name, row, "delivered")),
                Cell::count(number(row, "parked")),
                Cell::count(dead),
                Cell::note(note.unwrap_or_default()),
            ],
            tone: match (trouble, dead) {
                (Some(_), _) => Tone::Bad,
                (None, 0) => Tone::Usual,
                (None, _) => Tone::Warning,
            },
            details: details(&rows, &[]),
            name,
        }
    };
    now.accounts.rows("sinks").iter().map(line).collect()
}

fn dead_letters(now: &Figures) -> Vec<Line> {
    let line = |row: &Row| Line {
        name: text(row, "id"),
        cells: vec![
            Cell::id(row, "id"),
            Cell::of(row, "plugin"),
            Cell::of(row, "key"),
            Cell::of(row, "sink"),
            Cell::of(row, "reason"),
        ],
        tone: Tone::Bad,
        details: details(&[row], &["edited", "payloads_hidden"]),
    };
    now.dead_letters.rows("dead_letters").iter().map(line).collect()
}

fn pauses(now: &Figures) -> Vec<Line> {
    let line = |row: &Row| {
        let target = row.get("target").map(RawValue::get).unwrap_or_default();
        let target: Row = serde_json::from_str(target).unwrap_or_default();
        let parts: Vec<String> = target.members().map(|(name, _)| target.cell(name)).collect();
        let what = parts.join(" ");
        Line {
            name: what.clone(),
            cells: vec![
                Cell::note(what),
                Cell::count(number(row, "waiting")),
                Cell::of(row, "until"),
                Cell::of(row, "reason"),
            ],
            tone: Tone::Warning,
            details: details(&[&target, row], &["target"]),
        }
    };
    now.pauses.rows("pauses").iter().map(line).collect()
}
