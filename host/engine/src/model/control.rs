//! Controls: the settings by which operators hold work back. A *pause* lets nothing of its target
//! begin; a *limit* bounds how much of it begins in a second or is in flight. Both are durable, and
//! the engine applies them before it decides or delivers anything.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Key, PluginName, SinkName, Timestamp};

/// What a control is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Target {
    /// The door: new events of senders. Events that the host makes are accepted.
    Ingest,
    /// All keys of a plugin.
    Plugin {
        /// The plugin.
        plugin: PluginName,
    },
    /// One instance, by its own key, or one lane of a stateless role.
    Key {
        /// The plugin.
        plugin: PluginName,
        /// The key.
        key: Key,
    },
    /// A configured sink, or the queue of a message type (`queue:` and the type).
    Sink {
        /// The sink.
        sink: SinkName,
    },
    /// All messages of a type, wherever they leave.
    Type {
        /// The message type.
        #[serde(rename = "type")]
        message_type: String,
    },
}

/// Nothing of the target begins while it is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// What is paused.
    pub target: Target,
    /// The operator who paused it.
    pub by: String,
    /// Why it is paused, for people.
    pub reason: String,
    /// The wall-clock date since which it is paused.
    pub since: Timestamp,
    /// When the pause ends by itself; none if an operator ends it.
    pub end: Option<PauseEnd>,
}

/// The end of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PauseEnd {
    /// At a date of the wall clock, whenever that shows it.
    At(Timestamp),
    /// After a time that the monotonic clock measures. This is the date that the wall clock
    /// expects. After a restart the pause lasts for what is left by this date, and never longer
    /// than the whole time.
    After(Timestamp),
}

impl PauseEnd {
    /// The date at which the wall clock expects the end.
    #[must_use]
    pub fn date(self) -> Timestamp {
        match self {
            Self::At(date) | Self::After(date) => date,
        }
    }
}

impl Pause {
    /// How much longer the pause lasts, as far as the dates show. None if it has no end.
    #[must_use]
    pub fn left(&self, today: Timestamp) -> Option<Duration> {
        Some(match self.end? {
            PauseEnd::At(date) => date.since(today),
            PauseEnd::After(date) => date.since(today).min(date.since(self.since)),
        })
    }
}

/// A number of messages in a second, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(pub u64);

impl Rate {
    /// One message in a thousand seconds.
    pub const MIN: f64 = 0.001;
    /// A million messages in a second.
    pub const MAX: f64 = 1_000_000.0;

    /// None outside of the range from [`Rate::MIN`] to [`Rate::MAX`].
    #[must_use]
    pub fn per_second(number: f64) -> Option<Self> {
        // The range makes the conversion exact to a thousandth.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        (Self::MIN..=Self::MAX).contains(&number).then(|| Self((number * 1_000.0).round() as u64))
    }

    /// The number of messages in a second.
    #[must_use]
    pub fn to_per_second(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "at most a thousand million")]
        let thousandths = self.0 as f64;
        thousandths / 1_000.0
    }

    /// The time between two messages.
    #[must_use]
    pub fn spacing(self) -> Duration {
        Duration::from_nanos(1_000_000_000_000 / self.0.max(1))
    }
}

/// How much of a sink, queue or message type may be under way. None of the numbers: no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What is limited: a sink, a queue or a message type.
    pub target: Target,
    /// The messages whose delivery, or lease, begins in a second.
    pub per_second: Option<Rate>,
    /// The messages that are being delivered, or are leased, at a time.
    pub in_flight: Option<u32>,
    /// The same for each ordering key.
    pub concurrency: Option<u32>,
    /// The operator who set it.
    pub by: String,
    /// Why it is set, for people.
    pub reason: String,
    /// The wall-clock date since which it is set.
    pub since: Timestamp,
}

impl Limit {
    /// Whether it limits nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.per_second.is_none() && self.in_flight.is_none() && self.concurrency.is_none()
    }
}

/// A control as the store keeps it: at most one of each kind for each target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "control", rename_all = "lowercase")]
pub enum Control {
    /// A pause.
    Pause(Pause),
    /// A limit.
    Limit(Limit),
}

/// Which control: its kind and its target. Controls are ordered by this.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControlId {
    /// Pause or limit.
    pub kind: ControlKind,
    /// The target.
    pub target: Target,
}

/// The kinds of controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ControlKind {
    /// A pause.
    Pause,
    /// A limit.
    Limit,
}

impl Control {
    /// Which control it is.
    #[must_use]
    pub fn id(&self) -> ControlId {
        match self {
            Self::Pause(pause) => {
                ControlId { kind: ControlKind::Pause, target: pause.target.clone() }
            }
            Self::Limit(limit) => {
                ControlId { kind: ControlKind::Limit, target: limit.target.clone() }
            }
        }
    }
}

impl ControlKind {
    /// As the store has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Limit => "limit",
        }
    }
}

impl Target {
    /// Whether a limit can be set for it.
    #[must_use]
    pub fn can_be_limited(&self) -> bool {
        matches!(self, Self::Sink { .. } | Self::Type { .. })
    }

    /// The kind of the target, and its name for people and metrics.
    #[must_use]
    pub fn kind_and_name(&self) -> (&'static str, String) {
        match self {
            Self::Ingest => ("ingest", String::new()),
            Self::Plugin { plugin } => ("plugin", plugin.to_string()),
            Self::Key { plugin, key } => ("key", format!("{plugin} {key}")),
            Self::Sink { sink } => ("sink", sink.to_string()),
            Self::Type { message_type } => ("type", message_type.clone()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ingest => f.write_str("ingest"),
            Self::Plugin { plugin } => write!(f, "plugin `{plugin}`"),
            Self::Key { plugin, key } => write!(f, "key `{key}` of plugin `{plugin}`"),
            Self::Sink { sink } => write!(f, "sink `{sink}`"),
            Self::Type { message_type } => write!(f, "message type `{message_type}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Timestamp = Timestamp(1_800_000_000_000);

    fn pause(end: PauseEnd) -> Pause {
        let (by, reason) = ("ada".to_owned(), "a release".to_owned());
        Pause { target: Target::Ingest, by, reason, since: DAY, end: Some(end) }
    }

    #[test]
    fn a_duration_is_never_exceeded_and_a_date_is_waited_for() {
        let (duration, date) = (PauseEnd::After(DAY.after(HOUR)), PauseEnd::At(DAY.after(HOUR)));
        for (today, by_duration, by_date) in [
            (DAY.after(HOUR / 4), HOUR * 3 / 4, HOUR * 3 / 4),
            (DAY.after(24 * HOUR), Duration::ZERO, Duration::ZERO),
            (DAY.before(24 * HOUR), HOUR, 25 * HOUR),
        ] {
            assert_eq!(pause(duration).left(today), Some(by_duration));
            assert_eq!(pause(date).left(today), Some(by_date));
        }
    }

    #[test]
    fn rates_are_exact_to_a_thousandth_and_bounded() {
        assert_eq!(Rate::per_second(0.5).map(|rate| rate.spacing().as_secs()), Some(2));
        assert_eq!(Rate::per_second(1_000.0).map(Rate::to_per_second), Some(1_000.0));
        for outside in [0.0, -1.0, 0.0001, 1e7, f64::NAN, f64::INFINITY] {
            assert_eq!(Rate::per_second(outside), None, "{outside}");
        }
    }

    #[test]
    fn a_control_is_read_back_as_it_was_written() {
        let target = Target::Key { plugin: "p".into(), key: "ä \"".into() };
        let pause = Pause { target, ..pause(PauseEnd::At(DAY)) };
        let control = Control::Pause(pause);
        let json = serde_json::to_string(&control).unwrap();
        assert_eq!(serde_json::from_str::<Control>(&json).unwrap(), control);
    }
}
