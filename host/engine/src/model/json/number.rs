//! JSON numbers by their exact value, at any size and in any notation.

use std::borrow::Cow;
use std::cmp::Ordering;

/// An exponent with more digits than this is compared by its text.
const EXPONENT_DIGITS_MAX: usize = 30;
/// Two numbers are added only if their digits together span no more places than this: each place
/// is a byte.
const SUM_PLACES_MAX: i128 = 100_000;

/// The exact value of a number: `0.digits` times ten to the power of `exponent`.
///
/// Two numbers are equal if and only if their values are: `1`, `1.0` and `10e-1` are one number,
/// and so are `0` and `-0`. The one exception: with exponents of more than 30 digits, two
/// notations of one value are unequal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    is_negative: bool,
    /// The digits neither begin nor end with a zero; they are empty for zero.
    digits: String,
    exponent: Exponent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Exponent {
    Known(i128),
    /// The exponent is too large for arithmetic. It is compared by the text of the number.
    Huge(String),
}

impl Decimal {
    /// The value of a number in JSON. None if the text is not exactly one number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut scanner = super::Scanner::new(text);
        let starts_well = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if !starts_well || scanner.value().ok()?.len() != text.len() {
            return None;
        }
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (number, power) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let all = format!("{whole}{fraction}");
        let leading = all.len() - all.trim_start_matches('0').len();
        let digits = all.trim_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self::zero());
        }
        let power_digits = power.trim_start_matches(['+', '-']).trim_start_matches('0');
        let exponent = if power_digits.len() > EXPONENT_DIGITS_MAX {
            Exponent::Huge(text.to_owned())
        } else {
            let power: i128 = power.parse().ok()?;
            let places = i128::try_from(whole.len()).ok()? - i128::try_from(leading).ok()?;
            Exponent::Known(power + places)
        };
        Some(Self { is_negative, digits, exponent })
    }

    /// The number 0.
    #[must_use]
    pub fn zero() -> Self {
        Self { is_negative: false, digits: String::new(), exponent: Exponent::Known(0) }
    }

    /// The exact sum. None if the digits of the two span more than 100,000 places, or if an
    /// exponent has more than 30 digits.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Option<Self> {
        if self.digits.is_empty() || other.digits.is_empty() {
            return Some(if self.digits.is_empty() { other.clone() } else { self.clone() });
        }
        let (&Exponent::Known(a), &Exponent::Known(b)) = (&self.exponent, &other.exponent) else {
            return None;
        };
        // The power of ten of the last place that one of the two has.
        let last = |number: &Self, exponent: i128| exponent - number.digits.len() as i128;
        let lowest = last(self, a).min(last(other, b));
        if a.max(b) - lowest > SUM_PLACES_MAX {
            return None;
        }
        let width = usize::try_from(a.max(b) - lowest).ok()? + 1;
        let places = |number: &Self, exponent: i128| {
            let mut places = vec![0_u8; width];
            let first = width - usize::try_from(exponent - lowest).ok()?;
            for (place, digit) in places[first..].iter_mut().zip(number.digits.bytes()) {
                *place = digit - b'0';
            }
            Some(places)
        };
        let (left, right) = (places(self, a)?, places(other, b)?);
        let (is_negative, sum) = match (self.is_negative == other.is_negative, left.cmp(&right)) {
            (true, _) => (self.is_negative, add(&left, &right)),
            (false, Ordering::Less) => (other.is_negative, subtract(&right, &left)),
            (false, _) => (self.is_negative, subtract(&left, &right)),
        };
        let leading = sum.iter().take_while(|digit| **digit == 0).count();
        let digits: String = sum[leading..].iter().map(|digit| char::from(b'0' + digit)).collect();
        let digits = digits.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self::zero());
        }
        let exponent = Exponent::Known(lowest + i128::try_from(width - leading).ok()?);
        Some(Self { is_negative, digits, exponent })
    }

    /// Compares the values. None if an exponent of more than 30 digits decides.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        if self == other {
            return Some(Ordering::Equal);
        }
        let sign = |number: &Self| match (number.digits.is_empty(), number.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        if sign(self) != sign(other) {
            return Some(sign(self).cmp(&sign(other)));
        }
        let (Exponent::Known(a), Exponent::Known(b)) = (&self.exponent, &other.exponent) else {
            return None;
        };
        // Neither begins with a zero, so digits are compared as texts.
        let larger = a.cmp(b).then_with(|| self.digits.cmp(&other.digits));
        Some(if self.is_negative { larger.reverse() } else { larger })
    }

    /// Bytes that are in the order of the values: [`Self::compare`] of two numbers is the comparison
    /// of their keys, byte by byte, and equal values have one key. None if the exponent has more
    /// than 30 digits.
    #[must_use]
    pub fn order_key(&self) -> Option<Vec<u8>> {
        // The sign, then exponent and digits, all complemented for a negative number. Exponents of
        // two bytes are in the middle of what two bytes can be; a larger one has its own behind.
        const NEAR: i128 = 1 << 14;
        const FIRST: i128 = -NEAR;
        let &Exponent::Known(exponent) = &self.exponent else { return None };
        if self.digits.is_empty() {
            return Some(vec![1]);
        }
        let mut key = vec![2];
        let far = match exponent {
            ..FIRST => Some([0x00; 2]),
            NEAR.. => Some([0xff; 2]),
            _ => None,
        };
        match far {
            None => key.extend(u16::try_from(exponent + 2 * NEAR).ok()?.to_be_bytes()),
            Some(mark) => {
                key.extend(mark);
                key.extend((exponent.cast_unsigned() ^ (1 << 127)).to_be_bytes());
            }
        }
        key.extend(self.digits.bytes());
        if self.is_negative {
            // Of two with the same beginning, the longer one is the smaller.
            key[1..].iter_mut().for_each(|byte| *byte = !*byte);
            key[0] = 0;
            key.push(0xff);
        }
        Some(key)
    }

    /// The number in JSON, without an exponent where that is short.
    #[must_use]
    pub fn to_json(&self) -> String {
        const PLAIN_MAX: i128 = 40;
        let sign = if self.is_negative { "-" } else { "" };
        let digits = &self.digits;
        let exponent = match &self.exponent {
            Exponent::Huge(text) => return text.clone(),
            Exponent::Known(exponent) => *exponent,
        };
        let length = digits.len() as i128;
        if digits.is_empty() {
            return "0".to_owned();
        }
        if exponent > PLAIN_MAX.max(length) || exponent < -PLAIN_MAX {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            return format!("{sign}{first}{point}{rest}e{}", exponent - 1);
        }
        let zeros = |count: i128| "0".repeat(usize::try_from(count).unwrap_or(0));
        if exponent <= 0 {
            return format!("{sign}0.{}{digits}", zeros(-exponent));
        }
        if exponent >= length {
            return format!("{sign}{digits}{}", zeros(exponent - length));
        }
        let (whole, fraction) = digits.split_at(usize::try_from(exponent).unwrap_or(0));
        format!("{sign}{whole}.{fraction}")
    }
}

/// Adds digits of the same width, the highest place first. The highest place of both is zero.
fn add(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut sum = vec![0; left.len()];
    let mut carry = 0;
    for place in (0..left.len()).rev() {
        let digit = left[place] + right[place] + carry;
        sum[place] = digit % 10;
        carry = digit / 10;
    }
    sum
}

/// Subtracts `right` from `left`, in the form of [`add`]. `left` is not smaller.
fn subtract(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut difference = vec![0; left.len()];
    let mut borrow = 0;
    for place in (0..left.len()).rev() {
        let taken = right[place] + borrow;
        borrow = u8::from(left[place] < taken);
        difference[place] = left[place] + 10 * borrow - taken;
    }
    difference
}

/// An integer in its canonical form: `-0` becomes `0`. None for a number with a fraction or an
/// exponent, and for a text that is not a number.
#[must_use]
pub fn integer(text: &str) -> Option<Cow<'_, str>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let is_one = digits == "0" || !digits.starts_with('0');
    is_one.then(|| if digits == "0" { Cow::Borrowed("0") } else { Cow::Borrowed(text) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn numbers_of_one_value_are_one() {
        let same = [
            ["1", "1.0"],
            ["1", "10e-1"],
            ["0", "-0.00e7"],
            ["1200", "1.2E+3"],
            ["0.0012", "12e-4"],
            ["1e400", "10e399"],
            ["-5e-0", "-5"],
            ["0e99999999999999999999999999999999", "0"],
            ["1e00000000000000000000000000000000000000002", "100"],
        ];
        for [left, right] in same {
            assert_eq!(number(left), number(right), "{left} {right}");
        }
        let different = [
            ["9007199254740993", "9007199254740992.0"],
            ["0.1", "0.1000000000000000055511151231257827"],
            ["1e400", "1e401"],
            ["1", "-1"],
            ["12345678901234567890123", "12345678901234567890124"],
            ["1e99999999999999999999999999999999", "1e99999999999999999999999999999998"],
        ];
        for [left, right] in different {
            assert_ne!(number(left), number(right), "{left} {right}");
        }
        for text in ["", "x", "01", "1 ", " 1", "\"1\"", "1.", "+1", "1,2"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn larger_and_smaller_are_distinguished_at_any_size() {
        let ascending = [
            "-1e400",
            "-2",
            "-1.5",
            "-1e-400",
            "0",
            "1e-400",
            "0.9",
            "1",
            "1.0000000000000000000001",
            "9",
            "10",
            "1e400",
        ];
        for (index, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                let order = number(left).compare(&number(right));
                assert_eq!(order, Some(index.cmp(&other)), "{left} {right}");
                let keys = [left, right].map(|text| number(text).order_key().unwrap());
                assert_eq!(keys[0].cmp(&keys[1]), index.cmp(&other), "{left} {right}");
            }
        }
    }

    #[test]
    fn a_number_without_a_place_among_the_others_has_no_key() {
        assert_eq!(number("1e99999999999999999999999999999999").order_key(), None);
        assert!(number("-1e999999999999999999999999999999").order_key().is_some());
    }

    #[test]
    fn sums_are_exact() {
        let sums = [
            ("0.1", "0.2", "0.3"),
            ("999", "1", "1000"),
            ("-1", "1", "0"),
            ("5", "-7.5", "-2.5"),
            ("1e20", "1e-20", "100000000000000000000.00000000000000000001"),
            ("9007199254740993", "9007199254740993", "18014398509481986"),
            ("-0.05", "0", "-0.05"),
        ];
        for (left, right, sum) in sums {
            let found = number(left).plus(&number(right)).unwrap();
            assert_eq!(found.to_json(), sum);
            assert_eq!(found, number(sum));
        }
        assert_eq!(number("1e400000").plus(&number("1")), None);
    }

    #[test]
    fn an_integer_has_one_form() {
        for (text, expected) in [
            ("0", Some("0")),
            ("-0", Some("0")),
            ("-9223372036854775809", Some("-9223372036854775809")),
            ("18446744073709551616", Some("18446744073709551616")),
            ("1.0", None),
            ("1e2", None),
            ("01", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(integer(text).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_machines_integers(a in any::<i64>(), b in any::<i64>()) {
            let (left, right) = (number(&a.to_string()), number(&b.to_string()));
            prop_assert_eq!(left.compare(&right), Some(a.cmp(&b)));
            let sum = i128::from(a) + i128::from(b);
            prop_assert_eq!(left.plus(&right).unwrap().to_json(), sum.to_string());
        }

        #[test]
        fn its_json_is_the_same_number(text in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?(e[+-]?[0-9]{1,3})?") {
            let value = number(&text);
            prop_assert_eq!(number(&value.to_json()), value);
        }

        #[test]
        fn keys_are_in_the_order_of_the_values(
            texts in prop::collection::vec("-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?(e[+-]?([0-9]|[0-9]{5}))?", 2)
        ) {
            let (left, right) = (number(&texts[0]), number(&texts[1]));
            let keys = (left.order_key().unwrap(), right.order_key().unwrap());
            prop_assert_eq!(Some(keys.0.cmp(&keys.1)), left.compare(&right));
        }
    }
}
