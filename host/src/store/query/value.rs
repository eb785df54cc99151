//! Pure: the value of a field. Numbers are compared by their exact value at any size, strings by
//! Unicode code points.

use std::cmp::Ordering;

use sagabox_engine::model::json::{self, Decimal};

/// What a field can have: a string, a number or a boolean. A field without one is `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Boolean(bool),
    Number(Decimal),
    Text(String),
}

impl Value {
    /// The value of a JSON text. None if it is no single value, and for those that have no place
    /// among others: a number with an exponent of more than 30 digits, and a string with half of a
    /// surrogate pair.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.as_bytes().first()? {
            b't' | b'f' => Some(Self::Boolean(text == "true")),
            b'"' => json::decode(text).map(|text| Self::Text(text.into())),
            b'{' | b'[' | b'n' => None,
            _ => {
                Decimal::parse(text).filter(|number| number.order_key().is_some()).map(Self::Number)
            }
        }
    }

    /// Compares two values of one kind. None for two of different kinds.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Boolean(left), Self::Boolean(right)) => Some(left.cmp(right)),
            (Self::Number(left), Self::Number(right)) => left.compare(right),
            // The order of the bytes of UTF-8 is that of the code points.
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }

    /// Bytes in the order of the values: booleans, then numbers, then strings.
    ///
    /// # Panics
    /// If a number has no key, which [`Self::parse`] does not let through.
    #[must_use]
    pub fn order_key(&self) -> Vec<u8> {
        let (kind, key) = match self {
            Self::Boolean(is) => (1, vec![u8::from(*is)]),
            Self::Number(number) => {
                (2, number.order_key().expect("`parse` takes no number without a key"))
            }
            Self::Text(text) => (3, text.clone().into_bytes()),
        };
        [vec![kind], key].concat()
    }

    /// As JSON has it.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Boolean(is) => is.to_string(),
            Self::Number(number) => number.to_json(),
            Self::Text(text) => {
                let mut written = String::new();
                json::write(&mut written, text);
                written
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few different ones, so that many are equal.
    pub(in crate::store::query) fn values() -> impl Strategy<Value = Value> {
        let numbers = "-?[0-2](\\.[05])?(e[01])?|12345678901234567890123\\.[0-2]|1e-?40";
        prop_oneof![
            any::<bool>().prop_map(Value::Boolean),
            numbers.prop_map(|text| Value::Number(Decimal::parse(&text).unwrap())),
            "[ab\"\\\\ \n\u{0}äß\u{ffff}\u{10000}]{0,2}".prop_map(Value::Text),
        ]
    }

    proptest! {
        #[test]
        fn keys_have_the_order_of_the_values(left in values(), right in values()) {
            let keys = left.order_key().cmp(&right.order_key());
            match left.compare(&right) {
                Some(order) => prop_assert_eq!(keys, order),
                None => prop_assert_ne!(keys, Ordering::Equal),
            }
            prop_assert_eq!(keys == Ordering::Equal, left == right);
        }

        #[test]
        fn a_value_is_read_back_from_its_text(value in values()) {
            prop_assert_eq!(Value::parse(&value.to_json()), Some(value));
        }
    }

    #[test]
    fn what_is_no_single_value_is_none() {
        for text in ["null", "[]", "{}", r#""\ud800""#, "1e9999999999999999999999999999999", ""] {
            assert_eq!(Value::parse(text), None, "{text}");
        }
        assert_eq!(Value::parse(r#""a\u00e4""#), Some(Value::Text("aä".to_owned())));
    }
}
