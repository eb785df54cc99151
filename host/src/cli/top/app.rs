//! What the view shows, and what the keys change.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::figures::Figures;
use super::tables::{Line, Panel, lines};

/// Lines that Page Up and Page Down move over.
const PAGE: usize = 10;

/// How a panel is looked at.
#[derive(Clone, Debug, Default)]
struct Look {
    sorted_by: usize,
    is_reversed: bool,
    /// The name of the selected line, and its place when it was last seen.
    selected: Option<(String, usize)>,
}

pub(super) struct App {
    /// The address of the host.
    pub host: String,
    pub now: Option<Figures>,
    pub before: Option<Figures>,
    /// Why the newest figures are missing.
    pub error: Option<String>,
    pub panel: Panel,
    /// The selected line is shown with its details.
    pub is_open: bool,
    pub is_help: bool,
    looks: [Look; Panel::ALL.len()],
}

/// What a key asks of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    Refresh,
    Quit,
}

impl App {
    pub(super) fn new(host: String) -> Self {
        // The usual order: what lags most, what waits most, the newest dead letters.
        let looks = [2, 1, 0, 1].map(|sorted_by| Look { sorted_by, ..Look::default() });
        Self {
            host,
            now: None,
            before: None,
            error: None,
            panel: Panel::Plugins,
            is_open: false,
            is_help: false,
            looks,
        }
    }

    pub(super) fn take(&mut self, figures: Figures) {
        self.before = self.now.replace(figures);
        self.error = None;
        self.settle();
    }

    pub(super) fn lines(&self, panel: Panel) -> Vec<Line> {
        let Some(now) = &self.now else { return Vec::new() };
        let look = &self.looks[panel as usize];
        lines(panel, now, self.before.as_ref(), look.sorted_by, look.is_reversed)
    }

    /// The column that the panel is sorted by, and whether in the other direction.
    pub(super) fn order(&self) -> (usize, bool) {
        let look = &self.looks[self.panel as usize];
        (look.sorted_by, look.is_reversed)
    }

    /// The place of the selected line.
    pub(super) fn selected(&self, lines: &[Line]) -> Option<usize> {
        let last = lines.len().checked_sub(1)?;
        let Some((name, place)) = &self.looks[self.panel as usize].selected else { return Some(0) };
        let found = lines.iter().position(|line| line.name == *name);
        // A line that is gone leaves the selection at its place.
        Some(found.unwrap_or(*place).min(last))
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Asked {
        if key.kind == KeyEventKind::Release {
            return Asked::Nothing;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return Asked::Quit,
            KeyCode::Char('q') => return Asked::Quit,
            KeyCode::Char('?' | 'h') => self.is_help = !self.is_help,
            KeyCode::Esc if self.is_help => self.is_help = false,
            KeyCode::Esc if self.is_open => self.is_open = false,
            KeyCode::Esc => return Asked::Quit,
            KeyCode::Enter => self.is_open = !self.is_open && !self.lines(self.panel).is_empty(),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Panel::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='4') => {
                let place = usize::from(digit as u8 - b'1');
                self.show(Panel::ALL[place]);
            }
            KeyCode::Char('s') => self.sort(),
            KeyCode::Char('r') => {
                let look = &mut self.looks[self.panel as usize];
                look.is_reversed = !look.is_reversed;
            }
            KeyCode::Char(' ') => return Asked::Refresh,
            KeyCode::Down | KeyCode::Char('j') => self.move_by(1, true),
            KeyCode::Up | KeyCode::Char('k') => self.move_by(1, false),
            KeyCode::PageDown => self.move_by(PAGE, true),
            KeyCode::PageUp => self.move_by(PAGE, false),
            KeyCode::Home => self.move_by(usize::MAX, false),
            KeyCode::End => self.move_by(usize::MAX, true),
            _ => {}
        }
        Asked::Nothing
    }

    fn turn(&mut self, by: usize) {
        let place = (self.panel as usize + by) % Panel::ALL.len();
        self.show(Panel::ALL[place]);
    }

    fn show(&mut self, panel: Panel) {
        self.panel = panel;
        self.is_open = false;
    }

    /// By the next column, from the last one to the first.
    fn sort(&mut self) {
        let look = &mut self.looks[self.panel as usize];
        look.sorted_by = (look.sorted_by + 1) % self.panel.columns().len();
        look.is_reversed = false;
    }

    fn move_by(&mut self, by: usize, is_down: bool) {
        let lines = self.lines(self.panel);
        let Some(place) = self.selected(&lines) else { return };
        let place = match is_down {
            true => place.saturating_add(by).min(lines.len() - 1),
            false => place.saturating_sub(by),
        };
        self.looks[self.panel as usize].selected = Some((lines[place].name.clone(), place));
    }

    /// Notes where the selected line is now.
    fn settle(&mut self) {
        let lines = self.lines(self.panel);
        let Some(place) = self.selected(&lines) else {
            self.is_open = false;
            return;
        };
        if self.looks[self.panel as usize].selected.is_some() || self.is_open {
            self.looks[self.panel as usize].selected = Some((lines[place].name.clone(), place));
        }
    }
}
