//! Pure: the order in which a list of instances is walked, and where a page of it ends, as text that
//! a client gives back.

use std::fmt::{self, Write as _};

use sagabox_engine::model::InstanceStatus;

use super::rows::{FieldOrder, InstanceFilter};

/// After every value: no value begins with this byte.
const LAST: u8 = 0xff;

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'f> {
    /// By key.
    Key,
    /// By a field: instances that have a value, then those that have none, by key.
    Field(&'f FieldOrder),
    /// By age: the running instances, the one that was started first, first; then the others, the
    /// one that was changed first, first.
    Age,
}

/// The place behind a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the order of keys.
    Key(String),
    /// Among the instances that have a value of the field: the value's place in the order.
    Value(Vec<u8>, String),
    /// Among those that have none, which come last, in the order of their keys.
    Without(String),
    /// Among the running instances: when one was started.
    Running(u64, String),
    /// Among the others: when one was last changed.
    Finished(u64, String),
}

impl Place {
    /// Before the first row that a list can have.
    #[must_use]
    pub fn first(filter: &InstanceFilter) -> Self {
        let none = String::new();
        match filter.order() {
            Order::Key => Self::Key(none),
            Order::Field(FieldOrder { field, is_descending }) => {
                let range = filter.condition.as_ref().and_then(|own| own.range(field));
                match (range, is_descending) {
                    (None, false) => Self::Value(Vec::new(), none),
                    (None, true) => Self::Value(vec![LAST], none),
                    (Some((low, _)), false) => Self::Value(low, none),
                    (Some((_, high)), true) => Self::Value([high, vec![LAST]].concat(), none),
                }
            }
            Order::Age if filter.has_running() => {
                Self::Running(filter.age.started_after.map_or(0, |time| time.0), none)
            }
            Order::Age => Self::first_finished(filter),
        }
    }

    /// Before the first row that no longer runs.
    pub(in crate::store) fn first_finished(filter: &InstanceFilter) -> Self {
        Self::Finished(filter.age.updated_after.map_or(0, |time| time.0), String::new())
    }

    /// None if the text is no place in this list.
    #[must_use]
    pub fn parse(text: &str, filter: &InstanceFilter) -> Option<Self> {
        match filter.order() {
            Order::Key => Some(Self::Key(text.to_owned())),
            Order::Field(_) => match text.split_once(':')? {
                ("", key) => Some(Self::Without(key.to_owned())),
                (value, key) => Some(Self::Value(bytes(value)?, key.to_owned())),
            },
            Order::Age => {
                let (part, rest) = text.split_once(':')?;
                let (time, key) = rest.split_once(':')?;
                let is_digits = time.bytes().all(|byte| byte.is_ascii_digit());
                let time = is_digits.then(|| time.parse().ok())??;
                match part {
                    "running" if filter.has_running() => Some(Self::Running(time, key.to_owned())),
                    "finished" if filter.has_finished() => {
                        Some(Self::Finished(time, key.to_owned()))
                    }
                    _ => None,
                }
            }
        }
    }
}

impl InstanceFilter {
    /// Where the page begins. None if `after` is no place in this order.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match &self.after {
            None => Some(Place::first(self)),
            Some(after) => Place::parse(after, self),
        }
    }

    /// The order of the list. One that selects by status or age comes in the order of age, so that
    /// an index finds it among many others; unless a condition says what one field is.
    #[must_use]
    pub fn order(&self) -> Order<'_> {
        let is_equal = || self.condition.as_ref().is_some_and(|own| own.equal().is_some());
        match &self.field_order {
            _ if self.is_by_key => Order::Key,
            Some(order) => Order::Field(order),
            None if is_equal() => Order::Key,
            None if self.status.is_some() || self.age.is_given() => Order::Age,
            None => Order::Key,
        }
    }

    pub(in crate::store) fn has_running(&self) -> bool {
        self.status.is_none_or(InstanceStatus::is_running)
    }

    pub(in crate::store) fn has_finished(&self) -> bool {
        self.status.is_none_or(|status| !status.is_running())
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
            Self::Running(time, key) => write!(f, "running:{time}:{key}"),
            Self::Finished(time, key) => write!(f, "finished:{time}:{key}"),
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

    fn by_field() -> InstanceFilter {
        let order = FieldOrder { field: "due".to_owned(), is_descending: false };
        InstanceFilter { field_order: Some(order), ..InstanceFilter::default() }
    }

    fn by_age(status: InstanceStatus) -> InstanceFilter {
        InstanceFilter { status: Some(status), ..InstanceFilter::default() }
    }

    proptest! {
        #[test]
        fn a_place_is_read_back(
            value in prop::collection::vec(any::<u8>(), 1..5),
            key in "\\PC{0,5}",
            time in any::<u64>(),
        ) {
            let read = |place: &Place, filter: &InstanceFilter| {
                Place::parse(&place.to_string(), filter)
            };
            for place in [Place::Value(value, key.clone()), Place::Without(key.clone())] {
                prop_assert_eq!(read(&place, &by_field()), Some(place));
            }
            let place = Place::Key(key.clone());
            prop_assert_eq!(read(&place, &InstanceFilter::default()), Some(place));
            let (running, ended) =
                (by_age(InstanceStatus::Running), by_age(InstanceStatus::Ended));
            let place = Place::Running(time, key.clone());
            prop_assert_eq!(read(&place, &ended), None);
            prop_assert_eq!(read(&place, &running), Some(place));
            let place = Place::Finished(time, key);
            prop_assert_eq!(read(&place, &running), None);
            prop_assert_eq!(read(&place, &ended), Some(place));
        }
    }

    #[test]
    fn what_is_no_place_is_none() {
        for text in ["", "key", "0:a", "0g:a", "+1:a", "ää:a"] {
            assert_eq!(Place::parse(text, &by_field()), None, "{text}");
        }
        for text in ["", "key", "running:", "running:1", "running:+1:a", "running::a", "other:1:a"]
        {
            assert_eq!(Place::parse(text, &by_age(InstanceStatus::Running)), None, "{text}");
        }
    }
}
