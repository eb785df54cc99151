//! Identifiers. Each has a type of its own, so that code which passes one id in the place of
//! another does not compile.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(Arc<str>);

        // Names are the first part of most maps' keys, where nearly all that are compared are
        // clones of one name.
        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                match Arc::ptr_eq(&self.0, &other.0) {
                    true => Ordering::Equal,
                    false => self.0.cmp(&other.0),
                }
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
            }
        }

        impl Eq for $type {}

        impl Hash for $type {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl $type {
            /// Takes any text. The text is checked where it enters the host: in the manifest,
            /// the configuration or the event.
            #[must_use]
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl From<&str> for $type {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl From<String> for $type {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }
    };
}

name! {
    /// The name in a plugin's manifest. It is unique on a host, and part of every message id.
    PluginName
}
name! {
    /// A correlation key: ties an event to an instance, and is the unit of ordering.
    Key
}

name! {
    /// Where messages leave: a configured sink, or a queue of the host (`queue:<type>`).
    SinkName
}
name! {
    /// A message's id: the same after every retry, crash and takeover.
    MessageId
}
name! {
    /// A timer's name, unique within its instance.
    TimerName
}

impl PluginName {
    /// Longer names fit no line of a table.
    pub const CHARACTERS_MAX: usize = 64;

    /// Whether a manifest can have this name: 1 to 64 of the characters a-z, 0-9 and -.
    #[must_use]
    pub fn is_valid(name: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=Self::CHARACTERS_MAX).contains(&name.len()) && name.bytes().all(plain)
    }
}

impl Key {
    /// Bytes of a correlation key, of an additional key, and of a timer's name: longer ones make
    /// the indexes of a store useless.
    pub const BYTES_MAX: usize = 512;
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $type(pub u64);

        impl $type {
            /// The number that comes directly after this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// An event's place in the log. The first is 1; positions grow, and may have gaps.
    Position
}
number! {
    /// A message's place in the outbox of its sink. The first is 1; gaps are possible.
    Sequence
}

/// Milliseconds on the age clock, by which retention measures how old data is. The clock runs
/// while the host runs, and nothing sets it. Its values are no dates.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct AgeTime(pub u64);

impl AgeTime {
    /// This time plus a duration; at most [`Timestamp::MAX`].
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(Timestamp(self.0).after(time).0)
    }

    /// This time minus a duration; at least zero.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(Timestamp(self.0).before(time).0)
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Timestamp(self.0).since(Timestamp(earlier.0))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The latest time that a [`Timestamp`] can have. It stands for "never".
    pub const MAX: Self = Self(i64::MAX as u64);

    /// This time plus a delay; at most [`Timestamp::MAX`].
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(Self::MAX.0);
        Self(self.0.saturating_add(millis).min(Self::MAX.0))
    }

    /// This time minus a delay; at least zero, which is 1970-01-01.
    #[must_use]
    pub fn before(self, delay: Duration) -> Self {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(Self::MAX.0);
        Self(self.0.saturating_sub(millis))
    }

    /// Time from `earlier` to `self`; zero if the clock went backwards.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC with milliseconds, as in the CloudEvents attribute `time`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        const MILLISECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        MILLISECONDS.timestamp_to_string(&time)
    }

    /// Reads what [`Timestamp::to_rfc3339`] writes, and no other form: it is read back for each
    /// message that leaves, without allocating.
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let text: &[u8; 24] = text.as_bytes().try_into().ok()?;
        let [b'0'..=b'9', .., b'Z'] = text else { return None };
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.')];
        if !separators.iter().all(|(index, byte)| text[*index] == *byte) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| {
            text[range].iter().try_fold(0_u64, |number, byte| {
                byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
            })
        };
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day)
        {
            return None;
        }
        // The days since March of the year 0, whose leap day is the last day of its year.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days =
            year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
        let days = days.checked_sub(719_468)?;
        let seconds = (number(11..13)? * 60 + number(14..16)?) * 60 + number(17..19)?;
        Some(Self((days * 86_400 + seconds) * 1_000 + number(20..23)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_as_it_was_written() {
        let dates = (0..400_u64).map(|n| n * 20_000_000_123_457 / 31).chain([
            951_782_399_999,
            951_782_400_000,
            951_868_800_000,
            4_107_542_400_000,
            253_402_207_200_999,
        ]);
        // The calendar of the other implementation ends there.
        for millis in dates.filter(|millis| *millis <= 253_402_207_200_999) {
            let text = Timestamp(millis).to_rfc3339();
            assert_eq!(Timestamp::from_rfc3339(&text), Some(Timestamp(millis)), "{text}");
        }
        for text in
            ["", "2026-01-31T12:00:00Z", "2026-13-01T00:00:00.000Z", "2026-01-31 12:00:00.000Z"]
        {
            assert_eq!(Timestamp::from_rfc3339(text), None, "{text}");
        }
    }
}
