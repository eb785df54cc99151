use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use serde_json::{Value, json};

use super::app::{App, Asked};
use super::figures::Figures;
use super::tables::Panel;
use super::{as_json, view};
use crate::cli::output::Row;

fn row(value: &Value) -> Row {
    serde_json::from_str(&value.to_string()).unwrap()
}

fn account(plugin: &str, handled: u64, pending: u64, dead: u64) -> Value {
    json!({"plugin": plugin, "received": handled + pending + dead, "handled": handled, "ignored": 0,
        "ignored_because": {"absent": 3}, "held": 0, "parked": 0, "dead": dead, "discarded": 0,
        "pending": pending, "balanced": true})
}

fn sink(name: &str, delivered: u64, pending: u64) -> Value {
    json!({"sink": name, "messages": delivered + pending, "delivered": delivered,
        "pending": pending, "parked": 0, "dead": 0, "discarded": 0, "compensated": 0,
        "balanced": true})
}

fn dead_letter(id: u64, key: &str, reason: &str) -> Value {
    json!({"id": id, "kind": "event", "plugin": "orders", "key": key, "sink": null,
        "reason": reason, "attempts": 1, "event": {"type": "Paid"}})
}

/// A host with trouble: an event or so comes from a sender who writes to the terminal.
fn figures(second: u64) -> Figures {
    Figures {
        at: Duration::from_secs(second),
        accounts: row(&json!({
            "events": 1_000 * second,
            "plugins": [account("billing", 10, 7, 0), account("orders", 500 * second, 12_345, 2)],
            "sinks": [sink("queue:Ship", 30 * second, 4), sink("shop", 0, 9)],
            "balanced": true,
        })),
        plugins: row(&json!({
            "plugins": [
                {"name": "orders", "version": "1.2.0", "file": "orders.wasm", "role": "saga"},
                {"name": "billing", "version": "0.1.0", "file": "billing.wasm", "role": "saga"},
                {"name": "idle", "version": "3.0.0", "file": "idle.wasm", "role": "saga"},
            ],
            "refused": [{"file": "bad.wasm", "reason": "is empty"}],
        })),
        queues: row(&json!({"queues": [{"queue": "Ship", "ready": 1, "leased": 3}]})),
        sinks: row(&json!({"sinks": [
            {"sink": "queue:Ship", "down": null},
            {"sink": "shop", "down": {"reason": "connection refused"}},
        ]})),
        lookups: Row::default(),
        dead_letters: row(&json!({"dead_letters": [
            dead_letter(7, "order-7", "no such product"),
            dead_letter(9, "\u{1b}[2Jo\n9", "it trapped \u{202e}txt"),
        ]})),
        pauses: row(&json!({"pauses": [{"target": {"kind": "plugin", "plugin": "billing"},
            "reason": "maintenance", "by": "ann", "waiting": 7, "until": null}]})),
        refuses: None,
    }
}

fn app() -> App {
    let mut app = App::new("127.0.0.1:8321".to_owned());
    app.take(figures(1));
    app.take(figures(3));
    app
}

fn press(app: &mut App, keys: &[KeyCode]) {
    for key in keys {
        assert_eq!(app.key(KeyEvent::new(*key, KeyModifiers::NONE)), Asked::Nothing);
    }
}

fn drawn_with(app: &App, (width, height): (u16, u16), is_colored: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, app, is_colored)).unwrap();
    terminal
}

/// The lines of a terminal of the usual size.
fn drawn(app: &App) -> Vec<String> {
    let terminal = drawn_with(app, (80, 24), false);
    let buffer = terminal.backend().buffer();
    let width = usize::from(buffer.area.width);
    let lines = buffer.content.chunks(width);
    lines
        .map(|cells| cells.iter().map(Cell::symbol).collect::<String>().trim_end().to_owned())
        .collect()
}

#[track_caller]
fn line_with<'l>(lines: &'l [String], part: &str) -> &'l str {
    let found = lines.iter().find(|line| line.contains(part));
    found.unwrap_or_else(|| panic!("`{part}` is not in:\n{}", lines.join("\n")))
}

#[test]
fn rates_and_what_waits_fit_a_usual_terminal() {
    let lines = drawn(&app());
    assert_eq!(lines[0], "sagabox top  127.0.0.1:8321  accepts events");
    assert_eq!(lines[1], "events 3,000 (1000.0/s)  handled 1,510 (500.0/s)  delivered 90 (30.0/s)");
    let waiting = "waiting: 12,352 events, 13 messages  dead letters: 2  down: 1  paused: 1";
    assert_eq!(lines[2], waiting);
    let orders = line_with(&lines, "orders ");
    let cells: Vec<&str> = orders.split_whitespace().collect();
    assert_eq!(cells[..7], ["orders", "1.2.0", "12,345", "500.0", "0", "0", "2"]);
    // What lags most comes first; a plugin without events and a refused file are shown, too.
    let place = |part| lines.iter().position(|line| line.starts_with(part)).unwrap();
    assert!(place("orders") < place("billing") && place("billing") < place("idle"));
    assert!(line_with(&lines, "bad.wasm").contains("refused:"));
    assert!(lines[23].contains("q quit"), "{}", lines[23]);
}

#[test]
fn a_line_is_looked_into_and_stays_selected_when_figures_change() {
    let mut app = app();
    press(&mut app, &[KeyCode::Tab, KeyCode::Down, KeyCode::Enter]);
    let lines = drawn(&app);
    assert!(line_with(&lines, "queue:Ship").contains("─"));
    assert!(line_with(&lines, "delivered  ").ends_with(" 90"), "{lines:?}");
    app.take(figures(5));
    assert!(line_with(&drawn(&app), "delivered  ").ends_with(" 150"));
    press(&mut app, &[KeyCode::Esc]);
    assert!(line_with(&drawn(&app), "shop").contains("down: connection"));
    assert_eq!(app.key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)), Asked::Quit);
}

#[test]
fn columns_sort_and_the_order_turns() {
    let mut app = app();
    let first = |app: &App| app.lines(Panel::Plugins)[0].name.clone();
    assert_eq!(first(&app), "orders");
    press(&mut app, &[KeyCode::Char('r')]);
    assert_eq!(first(&app), "idle");
    // From LAG by way of the other columns to PLUGIN.
    press(&mut app, &[KeyCode::Char('s'); 6]);
    assert_eq!(first(&app), "refused bad.wasm");
    assert!(line_with(&drawn(&app), "PLUGIN▼").contains("LAG"));
}

#[test]
fn text_of_events_never_reaches_the_terminal_as_it_is() {
    let mut app = app();
    press(&mut app, &[KeyCode::Char('3')]);
    let lines = drawn(&app);
    let dead_letter = line_with(&lines, "      9 ");
    assert!(dead_letter.contains(r"\u{1b}[2Jo\n9"), "{dead_letter}");
    press(&mut app, &[KeyCode::Enter]);
    let all = [drawn(&app).join(""), view::plain(&app), as_json(&app).to_string()].concat();
    assert!(!all.contains(['\u{1b}', '\u{202e}']), "{all}");
    assert!(all.contains(r"\u{202e}txt"), "{all}");
}

#[test]
fn colours_are_used_only_if_they_are_wanted() {
    let is_colored = |is_wanted| {
        let terminal = drawn_with(&app(), (80, 24), is_wanted);
        let cells = &terminal.backend().buffer().content;
        cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(is_colored(true));
    assert!(!is_colored(false));
}

#[test]
fn every_size_of_a_terminal_is_drawn() {
    let mut app = app();
    for keys in [&[][..], &[KeyCode::Enter], &[KeyCode::Char('?')], &[KeyCode::Char('4')]] {
        press(&mut app, keys);
        for size in [(1, 1), (20, 5), (80, 24), (200, 60)] {
            drawn_with(&app, size, true);
        }
    }
}

#[test]
fn a_host_that_does_not_answer_leaves_the_last_figures() {
    let mut app = app();
    app.error = Some("connection refused".to_owned());
    let lines = drawn(&app);
    assert!(lines[0].ends_with("no answer: connection refused"));
    assert!(line_with(&lines, "orders ").contains("12,345"));
    let waits = drawn(&App::new("h".to_owned()));
    assert_eq!(waits[0], "sagabox top  h  waits for the first answer");
}

#[test]
fn a_snapshot_has_every_panel() {
    let text = view::plain(&app());
    for part in ["Plugins\n", "Queues and sinks\n", "Dead letters\n", "Pauses\n", "plugin billing"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = as_json(&app());
    assert_eq!(json["plugins"][0]["handled_per_s"], "500.0", "{json}");
    assert_eq!(json["sinks"][1]["sink"], "queue:Ship", "{json}");
}
