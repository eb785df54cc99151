//! What a backtest came to, read from what is stored at its end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use sagabox_engine::model::{
    Counters, DeadLetterSubject, Event, InstanceStatus, Key, Manifest, MessageKind, PluginName,
    Position, Timestamp, reserved,
};
use sagabox_engine::seams::store::memory::Tables;

use crate::verify::simulation::{Deed, Who, deeds};

/// A message that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub at: Timestamp,
    pub who: Who,
    pub kind: MessageKind,
    pub event: Arc<Event>,
    /// The event that led to it.
    pub because: Arc<Event>,
}

/// How an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Completed,
    /// It completed, and it had handled that a command could not be delivered.
    Compensated,
    /// It completed, and an operator had cancelled it.
    Cancelled,
    /// An operator ended it.
    Ended,
    /// It is open, and waits behind a dead letter.
    DeadLetter,
    Open,
}

impl End {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Cancelled => "cancelled",
            Self::Ended => "ended",
            Self::DeadLetter => "dead_letter",
            Self::Open => "open",
        }
    }

    pub(super) fn is_over(self) -> bool {
        !matches!(self, Self::DeadLetter | Self::Open)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub who: Who,
    pub end: End,
    pub started_at: Timestamp,
    /// When it decided last.
    pub decided_at: Timestamp,
    pub decisions: u64,
    pub messages: u64,
}

/// What became of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerOutcome {
    Fired,
    /// It fired when its instance had replaced or cancelled it at the same time.
    Superseded,
    /// It fired, and waits behind a dead letter or a retry of its instance.
    Waits,
    /// It is due after the end.
    Open,
}

impl TimerOutcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Superseded => "superseded",
            Self::Waits => "waits",
            Self::Open => "open",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct TimerFound {
    pub who: Who,
    pub name: String,
    /// When it fired, or is due.
    pub at: Timestamp,
    pub outcome: TimerOutcome,
}

/// An event or message that could not be handled or delivered.
#[derive(Clone, Debug)]
pub(super) struct DeadLetterFound {
    pub at: Timestamp,
    pub plugin: PluginName,
    pub key: Option<Key>,
    pub is_message: bool,
    pub event: Arc<Event>,
    pub reason: String,
    pub attempts: u32,
    pub status: &'static str,
    pub is_unresolved: bool,
}

#[derive(Clone, Debug)]
pub(super) struct PluginFound {
    pub manifest: Manifest,
    pub counters: Counters,
    pub held: u64,
    /// Events that wait behind a dead letter or a retry.
    pub parked: u64,
}

/// What a backtest came to. Everything is in the order of its time.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub(super) sent: Vec<Sent>,
    pub(super) timers: Vec<TimerFound>,
    pub(super) processes: Vec<Process>,
    pub(super) dead_letters: Vec<DeadLetterFound>,
    pub(super) plugins: Vec<PluginFound>,
    /// Events of types that no plugin takes.
    pub(super) untaken: BTreeMap<String, u64>,
    /// What operators asked in the log, and could not ask here.
    pub(super) refused: Vec<String>,
    pub(super) decisions: u64,
}

/// What the decisions of one instance were.
#[derive(Default)]
struct Tally {
    decisions: u64,
    messages: u64,
    was_undeliverable: bool,
    was_cancelled: bool,
}

impl Findings {
    #[must_use]
    pub(super) fn of(tables: &Tables, manifests: Vec<Manifest>, refused: Vec<String>) -> Self {
        let deeds = deeds(tables);
        let mut tallies: HashMap<Who, Tally> = HashMap::new();
        for deed in &deeds {
            tallies.entry(deed.who.clone()).or_default().add(deed);
        }
        let dead_letters = dead_letters(tables);
        let untaken = tables.untaken.iter().map(|(name, (count, _))| (name.clone(), *count));
        Self {
            decisions: deeds.len() as u64,
            processes: processes(tables, &tallies, &dead_letters),
            timers: timers(tables),
            sent: sent(deeds),
            dead_letters,
            plugins: manifests.into_iter().map(|manifest| plugin(tables, manifest)).collect(),
            untaken: untaken.collect(),
            refused,
        }
    }

    /// How many events were decided.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.decisions
    }
}

impl Tally {
    fn add(&mut self, deed: &Deed) {
        self.decisions += 1;
        self.messages += deed.messages.len() as u64;
        match deed.event.event_type.as_str() {
            reserved::COMMAND_UNDELIVERABLE => self.was_undeliverable = true,
            reserved::INSTANCE_CANCELLED => self.was_cancelled = true,
            _ => {}
        }
    }
}

fn sent(deeds: Vec<Deed>) -> Vec<Sent> {
    let all = deeds.into_iter().flat_map(|deed| {
        let Deed { at, who, event: because, messages, .. } = deed;
        messages.into_iter().map(move |(kind, event)| {
            let (who, because) = (who.clone(), Arc::clone(&because));
            Sent { at, who, kind, event, because }
        })
    });
    all.collect()
}

fn processes(
    tables: &Tables,
    tallies: &HashMap<Who, Tally>,
    dead_letters: &[DeadLetterFound],
) -> Vec<Process> {
    let nothing = Tally::default();
    let dead: HashSet<(&PluginName, &Key)> = dead_letters
        .iter()
        .filter(|dead_letter| dead_letter.is_unresolved && !dead_letter.is_message)
        .filter_map(|dead_letter| Some((&dead_letter.plugin, dead_letter.key.as_ref()?)))
        .collect();
    let found = tables.instances.iter().map(|((plugin, key), instance)| {
        let who = Who { plugin: plugin.clone(), key: key.clone() };
        let tally = tallies.get(&who).unwrap_or(&nothing);
        let end = match instance.status {
            InstanceStatus::Ended => End::Ended,
            InstanceStatus::Running if dead.contains(&(plugin, key)) => End::DeadLetter,
            InstanceStatus::Running => End::Open,
            InstanceStatus::Completed if tally.was_cancelled => End::Cancelled,
            InstanceStatus::Completed if tally.was_undeliverable => End::Compensated,
            InstanceStatus::Completed => End::Completed,
        };
        let (started_at, decided_at) = (instance.started_at, instance.updated_at);
        let Tally { decisions, messages, .. } = *tally;
        Process { who, end, started_at, decided_at, decisions, messages }
    });
    let mut found: Vec<Process> = found.collect();
    found.sort_by_key(|process| process.started_at);
    found
}

fn timers(tables: &Tables) -> Vec<TimerFound> {
    let dead = tables.dead_letters.values();
    let dead = dead.filter(|dead_letter| dead_letter.subject == DeadLetterSubject::Event);
    let dead: HashSet<(Position, &PluginName)> =
        dead.map(|dead_letter| (dead_letter.position, &dead_letter.plugin)).collect();
    let fired = tables.log.values().filter_map(|entry| {
        let event = &entry.event;
        let own = |name| event.extension(name);
        let plugin = PluginName::from(own(reserved::EXTENSION_PLUGIN)?);
        let key = Key::from(own(reserved::EXTENSION_INSTANCE)?);
        let is_timer = event.event_type == reserved::TIMER_FIRED;
        let name = event.subject.clone().filter(|_| is_timer)?;
        let position = entry.position;
        let outcome = if tables.decisions.contains_key(&(position, plugin.clone(), key.clone())) {
            TimerOutcome::Fired
        } else if tables.parked.contains_key(&(plugin.clone(), key.clone(), position))
            || dead.contains(&(position, &plugin))
        {
            TimerOutcome::Waits
        } else {
            TimerOutcome::Superseded
        };
        Some(TimerFound { who: Who { plugin, key }, name, at: entry.received_at, outcome })
    });
    let open = tables.timers.values().map(|row| {
        let timer = &row.timer;
        let who = Who { plugin: timer.plugin.clone(), key: timer.instance.clone() };
        let name = timer.name.as_str().to_owned();
        TimerFound { who, name, at: timer.due, outcome: TimerOutcome::Open }
    });
    let mut all: Vec<TimerFound> = fired.chain(open).collect();
    all.sort_by_key(|timer| timer.at);
    all
}

fn dead_letters(tables: &Tables) -> Vec<DeadLetterFound> {
    let all = tables.dead_letters.values().map(|dead_letter| DeadLetterFound {
        at: dead_letter.at,
        plugin: dead_letter.plugin.clone(),
        key: dead_letter.key.clone(),
        is_message: dead_letter.subject != DeadLetterSubject::Event,
        event: Arc::clone(&dead_letter.event),
        reason: dead_letter.reason.clone(),
        attempts: dead_letter.attempts,
        status: dead_letter.status.as_str(),
        is_unresolved: dead_letter.status.is_unresolved(),
    });
    let mut all: Vec<DeadLetterFound> = all.collect();
    all.sort_by_key(|dead_letter| dead_letter.at);
    all
}

fn plugin(tables: &Tables, manifest: Manifest) -> PluginFound {
    let name = &manifest.name;
    let counters = tables.plugins.get(name).map(|plugin| plugin.counters).unwrap_or_default();
    let held = tables.held.values().filter(|held| held.plugin == *name).count() as u64;
    let parked = tables.parked.keys().filter(|(plugin, ..)| plugin == name).count() as u64;
    PluginFound { manifest, counters, held, parked }
}
