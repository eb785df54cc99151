//! Pure: where a page of a list of instances ends, as text that a client gives back.

use std::fmt::{self, Write as _};

use super::rows::FieldOrder;

/// The place behind a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the order of keys.
    Key(String),
    /// Among the instances that have a value of the field: the value's place in the order.
    Value(Vec<u8>, String),
    /// Among those that have none, which come last, in the order of their keys.
    Without(String),
}

impl Place {
    /// Before the first row.
    #[must_use]
    pub fn first(order: Option<&FieldOrder>) -> Self {
        match order {
            None => Self::Key(String::new()),
            Some(FieldOrder { is_descending: false, .. }) => Self::Value(Vec::new(), String::new()),
            // No value begins with this byte.
            Some(FieldOrder { is_descending: true, .. }) => Self::Value(vec![0xff], String::new()),
        }
    }

    /// None if the text is no place in a list of this order.
    #[must_use]
    pub fn parse(text: &str, order: Option<&FieldOrder>) -> Option<Self> {
        if order.is_none() {
            return Some(Self::Key(text.to_owned()));
        }
        match text.split_once(':')? {
            ("", key) => Some(Self::Without(key.to_owned())),
            (value, key) => Some(Self::Value(bytes(value)?, key.to_owned())),
        }
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).ok();
    (0..hex.len()).step_by(2).map(byte).collect()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Without(key) => write!(f, ":{key}"),
            Self::Value(value, key) => {
                value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_char(':')?;
                f.write_str(key)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_field() -> FieldOrder {
        FieldOrder { field: "due".to_owned(), is_descending: false }
    }

    proptest! {
        #[test]
        fn a_place_is_read_back(value in prop::collection::vec(any::<u8>(), 1..5), key in "\\PC{0,5}") {
            for place in [Place::Value(value, key.clone()), Place::Without(key.clone())] {
                prop_assert_eq!(Place::parse(&place.to_string(), Some(&by_field())), Some(place));
            }
            let place = Place::Key(key);
            prop_assert_eq!(Place::parse(&place.to_string(), None), Some(place));
        }
    }

    #[test]
    fn what_is_no_place_is_none() {
        for text in ["", "key", "0:a", "0g:a", "+1:a", "ää:a"] {
            assert_eq!(Place::parse(text, Some(&by_field())), None, "{text}");
        }
    }
}
