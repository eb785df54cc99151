//! Pure: the two sides of a comparison, and how they are compared.

use std::fmt;

use sagabox_engine::model::json::Decimal;

use super::invariant::{Group, Selector, named, selectors};
use crate::decisions::json::{Json, Number};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term {
    Is(Json),
    Count(Vec<Selector>),
    /// Of the numbers at a pointer.
    Sum(Vec<Selector>, String),
    /// The value at a pointer into the state at the end.
    State(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Equal,
    Other,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// One of a list.
    In,
}

impl Term {
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(value: &Json) -> Result<Self, String> {
        let Some(members) = value.as_object() else { return Ok(Self::Is(value.clone())) };
        let names: Vec<&str> = members.keys().map(String::as_str).collect();
        let pointer = |name: &str| match members[name].as_str() {
            Some(text) if text.is_empty() || text.starts_with('/') => Ok(text.to_owned()),
            _ => Err(format!("{name}: {} is not a JSON Pointer such as /amount", members[name])),
        };
        match names[..] {
            ["count"] => Ok(Self::Count(selectors(&members["count"])?)),
            ["sum", "of"] | ["of", "sum"] => {
                Ok(Self::Sum(selectors(&members["sum"])?, pointer("of")?))
            }
            ["state"] => Ok(Self::State(pointer("state")?)),
            ["value"] => Ok(Self::Is(members["value"].clone())),
            _ => Err(format!(
                "{value} is not one of {{count: TYPE}}, {{sum: TYPE, of: /pointer}}, \
                 {{state: /pointer}} and {{value: …}}"
            )),
        }
    }

    #[must_use]
    pub(crate) fn is_of_instance(&self) -> bool {
        matches!(self, Self::State(_))
    }

    #[must_use]
    pub(crate) fn selectors(&self) -> &[Selector] {
        match self {
            Self::Count(of) | Self::Sum(of, _) => of,
            Self::Is(_) | Self::State(_) => &[],
        }
    }

    /// What it is for a group; none if the group has no state.
    #[must_use]
    pub(crate) fn value(&self, group: &Group) -> Option<Json> {
        match self {
            Self::Is(value) => Some(value.clone()),
            Self::Count(of) => Some(group.of(of).count().into()),
            Self::Sum(of, pointer) => {
                let values = group.of(of).filter_map(|item| item.data.pointer(pointer));
                Some(sum(values.filter_map(Json::as_number)))
            }
            Self::State(pointer) => {
                let end = group.end.as_ref()?;
                Some(end.state.pointer(pointer).cloned().unwrap_or(Json::Null))
            }
        }
    }
}

/// The exact sum. Null, which is in no order with any number, if some are so large and
/// others too small to be read.
fn sum<'v>(mut numbers: impl Iterator<Item = &'v Number>) -> Json {
    let sum = numbers.try_fold(Decimal::zero(), |sum, number| sum.plus(&number.value()));
    sum.map_or(Json::Null, |sum| Number::from(sum).into())
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(value) => write!(f, "{value}"),
            Self::Count(of) => write!(f, "the number of {}", named(of)),
            Self::Sum(of, pointer) => write!(f, "the sum of {pointer} of {}", named(of)),
            Self::State(pointer) => write!(f, "the state's {pointer}"),
        }
    }
}

impl Op {
    /// # Errors
    /// Names the known ones.
    pub(crate) fn parse(value: &Json) -> Result<Self, String> {
        match value.as_str() {
            Some("=" | "==") => Ok(Self::Equal),
            Some("!=") => Ok(Self::Other),
            Some("<") => Ok(Self::Less),
            Some("<=") => Ok(Self::LessOrEqual),
            Some(">") => Ok(Self::Greater),
            Some(">=") => Ok(Self::GreaterOrEqual),
            Some("in") => Ok(Self::In),
            _ => Err(format!("{value} is not one of =, !=, <, <=, >, >= and in")),
        }
    }

    /// Numbers are compared by what they mean, texts as texts; nothing else has an order.
    #[must_use]
    pub(crate) fn holds(self, left: &Json, right: &Json) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        if self == Self::In {
            let list = right.as_array().map(Vec::as_slice).unwrap_or_default();
            return list.iter().any(|value| Self::Equal.holds(left, value));
        }
        let order = match (left, right) {
            (Json::Number(left), Json::Number(right)) => left.compare(right),
            (Json::String(left), Json::String(right)) => Some(left.cmp(right)),
            _ => (left == right).then_some(Equal),
        };
        match self {
            Self::Equal => order == Some(Equal),
            Self::Other => order != Some(Equal),
            Self::Less => order == Some(Less),
            Self::LessOrEqual => matches!(order, Some(Less | Equal)),
            Self::Greater => order == Some(Greater),
            Self::GreaterOrEqual => matches!(order, Some(Greater | Equal)),
            Self::In => false,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::Other => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
        })
    }
}
