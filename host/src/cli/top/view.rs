//! Draws the figures: for a terminal of 80 columns and 24 lines or more, and as plain text.

use std::fmt::Write as _;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{
    Block, Borders, Cell as Drawn, Paragraph, Row as DrawnRow, Table, TableState, Wrap,
};

use super::app::App;
use super::figures::{Figures, per_second};
use super::tables::{Cell, Column, Line, Panel, Tone};
use crate::cli::output::grouped;
use crate::io::printable::printable;

const HEADER_LINES: u16 = 3;
/// A detail's name, before its value.
const NAME_WIDTH: usize = 20;
const KEYS: &str = " ↑↓ select  Enter look into  Tab next list  s sort  r reverse  ? help  q quit";
const HELP: [&str; 12] = [
    "Up, Down, j, k       select a line; Page Up, Page Down, Home, End move further",
    "Enter                look into the selected line; Enter or Esc closes it",
    "Tab, Left, Right     next or previous list; 1 to 4 choose one",
    "s                    sort by the next column; the column in use is marked",
    "r                    reverse the order",
    "Space                read the figures now",
    "?, h                 show or hide this help",
    "q, Esc, Ctrl-C       quit",
    "",
    "LAG: events that the plugin has not settled. HELD: events that wait for an instance.",
    "PARKED: what waits behind a dead letter. /S: in a second, since the figures before.",
    "Red lines need an operator, yellow ones may.",
];

pub(super) fn draw(frame: &mut Frame<'_>, app: &App, is_colored: bool) {
    let paint = Paint { is_colored };
    let rows = [
        Constraint::Length(HEADER_LINES),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ];
    let [header, tabs, body, keys] = Layout::vertical(rows).areas(frame.area());
    let lines: Vec<Text<'_>> =
        summary(app).into_iter().map(|(text, tone)| paint.text(text, tone)).collect();
    frame.render_widget(Paragraph::new(lines), header);
    frame.render_widget(Paragraph::new(titles(app)), tabs);
    frame.render_widget(Paragraph::new(KEYS).style(paint.quiet()), keys);
    if app.is_help {
        let help: Vec<Text<'_>> = HELP.into_iter().map(Text::from).collect();
        let block = Block::new().borders(Borders::TOP).title(" Help ");
        frame.render_widget(Paragraph::new(help).block(block), body);
        return;
    }
    let lines = app.lines(app.panel);
    match app.selected(&lines) {
        Some(place) if app.is_open => details(frame, body, &lines[place], &paint),
        selected => table(frame, body, app, &lines, selected, &paint),
    }
}

struct Paint {
    is_colored: bool,
}

impl Paint {
    fn tone(&self, tone: Tone) -> Style {
        let color = match tone {
            Tone::Usual => return Style::new(),
            Tone::Warning => Color::Yellow,
            Tone::Bad => Color::Red,
        };
        if self.is_colored { Style::new().fg(color) } else { Style::new() }
    }

    fn quiet(&self) -> Style {
        if self.is_colored { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    fn text(&self, text: String, tone: Tone) -> Text<'static> {
        Text::styled(text, self.tone(tone))
    }
}

/// The three lines above everything.
fn summary(app: &App) -> [(String, Tone); 3] {
    let title = format!("sagabox top  {}", printable(&app.host));
    let first = match (&app.error, &app.now) {
        (Some(error), _) => (format!("{title}  no answer: {}", printable(error)), Tone::Bad),
        (None, None) => (format!("{title}  waits for the first answer"), Tone::Warning),
        (None, Some(now)) => match &now.refuses {
            Some(reason) => (format!("{title}  refuses events: {}", printable(reason)), Tone::Bad),
            None => (format!("{title}  accepts events"), Tone::Usual),
        },
    };
    let Some(now) = &app.now else { return [first, Default::default(), Default::default()] };
    [first, (rates(now, app.before.as_ref()), Tone::Usual), attention(now)]
}

fn rates(now: &Figures, before: Option<&Figures>) -> String {
    let between = before.map_or(Duration::ZERO, |before| now.at.saturating_sub(before.at));
    let part = |name: &str, of: &dyn Fn(&Figures) -> u64| {
        let rate = per_second(of(now), before.map(of), between);
        let rate = rate.map(|rate| format!(" ({rate:.1}/s)")).unwrap_or_default();
        format!("{name} {}{rate}", grouped(of(now)))
    };
    [
        part("events", &|figures| super::figures::number(&figures.accounts, "events")),
        part("handled", &|figures| figures.sum("plugins", &["handled"])),
        part("delivered", &|figures| figures.sum("sinks", &["delivered"])),
    ]
    .join("  ")
}

/// What waits, and what needs an operator.
fn attention(now: &Figures) -> (String, Tone) {
    let dead = now.sum("plugins", &["dead"]) + now.sum("sinks", &["dead"]);
    let down = now.sinks_down().count() + now.lookups.rows("lookups_down").len();
    let pauses = now.pauses.rows("pauses").len();
    let is_balanced = now.accounts.cell("balanced") != "no";
    let mut text = format!(
        "waiting: {} events, {} messages  dead letters: {}  down: {down}",
        grouped(now.sum("plugins", &["pending", "held", "parked"])),
        grouped(now.sum("sinks", &["pending", "parked"])),
        grouped(dead),
    );
    if pauses > 0 {
        let _ = write!(text, "  paused: {pauses}");
    }
    if !is_balanced {
        text.push_str("  THE SUMS DO NOT AGREE");
    }
    let tone = match (dead, down, is_balanced) {
        (0, 0, true) if pauses == 0 => Tone::Usual,
        (0, 0, true) => Tone::Warning,
        _ => Tone::Bad,
    };
    (text, tone)
}

fn titles(app: &App) -> Text<'static> {
    let title = |(place, panel): (usize, Panel)| {
        let text = format!(" {} {} {} ", place + 1, panel.title(), app.lines(panel).len());
        match panel == app.panel {
            true => Span::styled(text, Style::new().add_modifier(Modifier::REVERSED)),
            false => Span::raw(text),
        }
    };
    Text::from(Panel::ALL.into_iter().enumerate().map(title).collect::<Vec<_>>())
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    app: &App,
    lines: &[Line],
    selected: Option<usize>,
    paint: &Paint,
) {
    let columns = app.panel.columns();
    let widths = columns.iter().map(|column| match column.width {
        0 => Constraint::Min(8),
        width => Constraint::Length(width),
    });
    let (sorted_by, is_reversed) = app.order();
    let titles = columns.iter().enumerate().map(|(place, column)| {
        let mark = match (place == sorted_by, is_reversed) {
            (false, _) => "",
            (true, false) => "▼",
            (true, true) => "▲",
        };
        Drawn::from(aligned(&format!("{}{mark}", column.title), *column))
    });
    let header = DrawnRow::new(titles).style(Style::new().add_modifier(Modifier::BOLD));
    let rows = lines.iter().map(|line| {
        let cells = line.cells.iter().zip(columns);
        let cells = cells.map(|(cell, column)| Drawn::from(aligned(&cell.text, *column)));
        DrawnRow::new(cells).style(paint.tone(line.tone))
    });
    let table = Table::new(rows, widths)
        .header(header)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
    if lines.is_empty() && area.height > 1 {
        let below = Rect { y: area.y + 1, height: 1, ..area };
        frame.render_widget(Paragraph::new("none").style(paint.quiet()), below);
    }
}

/// Numbers stand to the right.
fn aligned(text: &str, column: Column) -> Text<'static> {
    let line = Text::from(text.to_owned());
    if column.is_number { line.right_aligned() } else { line }
}

fn details(frame: &mut Frame<'_>, area: Rect, line: &Line, paint: &Paint) {
    let title = line.cells.first().map(|cell| cell.text.as_str()).unwrap_or_default();
    let block = Block::new().borders(Borders::TOP).title(format!(" {title} "));
    let rows: Vec<Text<'_>> = line
        .details
        .iter()
        .map(|(name, value)| {
            let name = Span::styled(format!("{name:<NAME_WIDTH$} "), paint.quiet());
            Text::from(vec![name, Span::raw(value.clone())])
        })
        .collect();
    frame.render_widget(Paragraph::new(rows).wrap(Wrap { trim: false }).block(block), area);
}

/// Everything as text, for a pipe or a file.
pub(super) fn plain(app: &App) -> String {
    let mut out = String::new();
    for (line, _) in summary(app) {
        let _ = writeln!(out, "{line}");
    }
    for panel in Panel::ALL {
        let lines = app.lines(panel);
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{}", panel.title());
        let columns = panel.columns();
        let width = |place: usize| {
            let cells = lines.iter().map(|line| line.cells[place].text.chars().count());
            cells.chain([columns[place].title.len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        let titles = columns.iter().map(|column| column.title);
        let _ = writeln!(out, "{}", row(titles, columns, &widths));
        for line in &lines {
            let cells = line.cells.iter().map(|Cell { text, .. }| text.as_str());
            let _ = writeln!(out, "{}", row(cells, columns, &widths));
        }
    }
    out
}

fn row<'c>(cells: impl Iterator<Item = &'c str>, columns: &[Column], widths: &[usize]) -> String {
    let cells =
        cells.zip(columns).zip(widths).map(|((text, column), &width)| match column.is_number {
            true => format!("{text:>width$}"),
            false => format!("{text:<width$}"),
        });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}
