//! A number as it is written.

use std::cmp::Ordering;
use std::fmt;

use sagabox_engine::model::json::{Decimal, integer};

/// Equal to another one if the values are, whatever the sizes and however both are written.
#[derive(Clone, Debug)]
pub struct Number(Box<str>);

impl Number {
    /// None if the text is no number of JSON.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Decimal::parse(text).map(|_| Self(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn value(&self) -> Decimal {
        // It was a number when it was made.
        Decimal::parse(&self.0).unwrap_or_else(Decimal::zero)
    }

    /// None unless it is written as an integer of this range.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        integer(&self.0)?.parse().ok()
    }

    /// As [`Number::as_u64`].
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        integer(&self.0)?.parse().ok()
    }

    /// The nearest one, for what needs no more: odds, and figures for people.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.0.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// None if an exponent is too large to compare.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        self.value().compare(&other.value())
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.value() == other.value()
    }
}

impl Eq for Number {}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Decimal> for Number {
    fn from(value: Decimal) -> Self {
        Self(value.to_json().into())
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl From<$type> for Number {
            fn from(number: $type) -> Self {
                Self(number.to_string().into())
            }
        }
    )*};
}
integers!(u32, u64, usize, i32, i64);
