//! Pure: ranges of numbers, compared exactly where both sides are integers.

use std::cmp::Ordering;

use serde_json::Number;

/// What a number may be.
#[derive(Clone, Debug, Default)]
pub(super) struct Range<'s> {
    pub is_integer: bool,
    /// All of them hold.
    pub low: Vec<Bound<'s>>,
    pub high: Vec<Bound<'s>>,
    pub multiple_of: Vec<f64>,
    pub format: Option<&'s str>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bound<'s> {
    pub at: &'s Number,
    pub is_exclusive: bool,
}

impl Range<'_> {
    /// A bound of `wanted` that this range does not keep, as (is lower bound, bound).
    pub(super) fn beyond<'w>(&self, wanted: &'w Range<'_>) -> Option<(bool, &'w Number)> {
        let low = wanted
            .low
            .iter()
            .find(|bound| !self.low.iter().any(|own| self.implies(own, bound, Ordering::Greater)));
        let high = wanted
            .high
            .iter()
            .find(|bound| !self.high.iter().any(|own| self.implies(own, bound, Ordering::Less)));
        low.map(|bound| (true, bound.at)).or_else(|| high.map(|bound| (false, bound.at)))
    }

    /// Whether every number that keeps `own` keeps `other`. `inside` is the side of a bound on
    /// which its numbers are.
    fn implies(&self, own: &Bound<'_>, other: &Bound<'_>, inside: Ordering) -> bool {
        let ordering = compare(own.at, other.at);
        if ordering == inside {
            return true;
        }
        if ordering == Ordering::Equal {
            return own.is_exclusive || !other.is_exclusive;
        }
        // The next integer may be the first that is allowed.
        let next = integer(own.at).map(|at| match inside {
            Ordering::Greater => at + 1,
            _ => at - 1,
        });
        let (Some(next), Some(other_at)) = (next, integer(other.at)) else { return false };
        self.is_integer && own.is_exclusive && !other.is_exclusive && next == other_at
    }

    /// Whether the number keeps to the range; none if that is uncertain.
    pub(super) fn holds(&self, number: &Number) -> Option<bool> {
        if self.is_integer && !is_whole(number) {
            return Some(false);
        }
        let keeps = |bound: &Bound<'_>, inside| match compare(number, bound.at) {
            Ordering::Equal => !bound.is_exclusive,
            ordering => ordering == inside,
        };
        let within = self.low.iter().all(|bound| keeps(bound, Ordering::Greater))
            && self.high.iter().all(|bound| keeps(bound, Ordering::Less));
        match (within, self.multiple_of.is_empty()) {
            (false, _) => Some(false),
            (true, true) => Some(true),
            (true, false) => None,
        }
    }

    /// Whether no number is between the bounds.
    pub(super) fn is_void(&self) -> bool {
        self.low.iter().any(|low| {
            self.high.iter().any(|high| match compare(low.at, high.at) {
                Ordering::Greater => true,
                Ordering::Equal => low.is_exclusive || high.is_exclusive,
                Ordering::Less => false,
            })
        })
    }

    /// Whether all its numbers are whole.
    pub(super) fn is_whole(&self) -> bool {
        let is_one = |low: &Bound<'_>| {
            is_whole(low.at) && self.high.iter().any(|high| compare(low.at, high.at).is_eq())
        };
        self.is_integer
            || self.multiple_of.iter().any(|factor| factor.fract() == 0.0)
            || self.low.iter().any(is_one)
    }

    /// Whether all its numbers are certainly multiples of `factor`.
    pub(super) fn is_multiple_of(&self, factor: f64) -> bool {
        let is_multiple = |own: &f64| {
            let whole = own.fract() == 0.0 && factor.fract() == 0.0;
            own.total_cmp(&factor) == Ordering::Equal || (whole && own % factor == 0.0)
        };
        (self.is_integer && factor.total_cmp(&1.0) == Ordering::Equal)
            || self.multiple_of.iter().any(is_multiple)
    }
}

/// The range that the name of a numeric format stands for.
pub(super) fn of_format(format: &str) -> Option<(i128, i128)> {
    Some(match format {
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        // No number of people's is between the ends of the two.
        "int64" => (i64::MIN.into(), u64::MAX.into()),
        "uint8" => (0, u8::MAX.into()),
        "uint16" => (0, u16::MAX.into()),
        "uint32" => (0, u32::MAX.into()),
        "uint64" => (0, u64::MAX.into()),
        _ => return None,
    })
}

pub(super) fn is_whole(number: &Number) -> bool {
    number.as_i128().is_some() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

/// Numbers are the same by value, whatever their notation.
pub(super) fn compare(one: &Number, other: &Number) -> Ordering {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => {
            let float = |number: &Number| number.as_f64().unwrap_or_default();
            let (one, other) = (float(one), float(other));
            one.partial_cmp(&other).unwrap_or(Ordering::Equal)
        }
    }
}

/// A whole number, also where it is written with a fraction.
#[allow(clippy::cast_possible_truncation, reason = "a float beyond the range saturates")]
fn integer(number: &Number) -> Option<i128> {
    let float = || number.as_f64().filter(|float| float.fract() == 0.0).map(|float| float as i128);
    number.as_i128().or_else(float)
}
