//! Exact decimal numbers, for money.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};
use core::str::FromStr;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

type Inner = rust_decimal::Decimal;

/// An exact decimal number of up to 28 digits: `0.1 + 0.2` is `0.3`, and `10.00` stays `10.00`.
///
/// In JSON it is a number. It is read from a number or from a string with a number in it, digit
/// by digit. Arithmetic that leaves the range of 28 digits panics, which makes the event a dead
/// letter; what divides may round.
///
/// Because it needs every digit as it was written, it cannot be part of an enum that is
/// `#[serde(untagged)]` or internally tagged, or of a struct that is `#[serde(flatten)]`ed.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// #[data]
/// struct Item {
///     price: Decimal,
///     quantity: u32,
/// }
///
/// let items: Vec<Item> =
///     serde_json::from_str(r#"[{"price":0.10,"quantity":3},{"price":"9.70","quantity":1}]"#).unwrap();
/// let total: Decimal = items.iter().map(|item| item.price * item.quantity).sum();
/// assert_eq!(serde_json::to_string(&total).unwrap(), "10.00");
/// assert_eq!((total / Decimal::from(3)).round(2).to_string(), "3.33");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(Inner);

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self(Inner::ZERO);

    /// `units` hundredths, thousandths …: `Decimal::new(1999, 2)` is 19.99.
    #[must_use]
    pub fn new(units: i64, places: u32) -> Self {
        Self(Inner::new(units, places))
    }

    /// With so many places; a half goes to the even neighbour.
    #[must_use]
    pub fn round(self, places: u32) -> Self {
        Self(self.0.round_dp(places))
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.0.is_sign_negative() && !self.0.is_zero()
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a text is no decimal number of up to 28 digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecimalError(String);

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no decimal number of up to 28 digits", self.0)
    }
}

impl core::error::Error for DecimalError {}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let read = match text.contains(['e', 'E']) {
            // Where the exponent makes more digits than fit, that is an error as well.
            true => Inner::from_scientific(text),
            false => Inner::from_str_exact(text),
        };
        read.map(Self).map_err(|_| DecimalError(text.chars().take(50).collect()))
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.to_string()).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let read = match text.starts_with('"') {
            true => serde_json::from_str::<String>(text).map_err(D::Error::custom)?.parse(),
            false => text.parse::<Self>(),
        };
        read.map_err(D::Error::custom)
    }
}

macro_rules! from_integers {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Decimal {
            fn from(number: $integer) -> Self {
                Self(number.into())
            }
        }

        impl Mul<$integer> for Decimal {
            type Output = Self;

            fn mul(self, number: $integer) -> Self {
                self * Self::from(number)
            }
        }
    )*};
}

from_integers!(i32 u32 i64 u64);

macro_rules! operators {
    ($($name:ident $method:ident)*) => {$(
        impl $name for Decimal {
            type Output = Self;

            fn $method(self, other: Self) -> Self {
                Self(self.0.$method(other.0))
            }
        }
    )*};
}

operators!(Add add Sub sub Mul mul Div div);

impl AddAssign for Decimal {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Decimal {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Sum for Decimal {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, Add::add)
    }
}

impl<'d> Sum<&'d Self> for Decimal {
    fn sum<I: Iterator<Item = &'d Self>>(numbers: I) -> Self {
        numbers.copied().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_digit_by_digit() {
        for text in
            ["10.00", "0.1", "-0.30", "79228162514264337593543950335", "12345678901234567890.10"]
        {
            let read: Decimal = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
            let of_string: Decimal = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(of_string, read);
        }
        let read: Decimal = serde_json::from_str("1.5e3").unwrap();
        assert_eq!(read, Decimal::from(1_500));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for text in [
            "79228162514264337593543950336",
            "\"ten\"",
            "true",
            "1e40",
            "0.12345678901234567890123456789",
        ] {
            let error = serde_json::from_str::<Decimal>(text).unwrap_err().to_string();
            assert!(error.contains("no decimal number"), "{text}: {error}");
        }
    }

    #[test]
    fn it_passes_through_a_value() {
        let value = serde_json::to_value(Decimal::new(1050, 2)).unwrap();
        assert_eq!(serde_json::from_value::<Decimal>(value).unwrap(), Decimal::new(105, 1));
    }
}
