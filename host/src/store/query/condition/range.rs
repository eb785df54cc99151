//! Where instances for which a condition holds are in the order of a field: bounds that an index
//! is searched by. They are necessary, not sufficient.

use super::{Comparison, Condition, Operand};
use crate::store::query::value::Value;

impl Condition {
    /// The lowest and the highest key, both included, that the values of a field can have if the
    /// condition holds. None if it holds for instances without this field, or says nothing of it.
    #[must_use]
    pub fn range(&self, field: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        match self {
            Self::And(left, right) => match (left.range(field), right.range(field)) {
                (Some(left), Some(right)) => Some((left.0.max(right.0), left.1.min(right.1))),
                (left, right) => left.or(right),
            },
            Self::Compare(left, comparison, right) => {
                let (name, comparison, value) = with_literal(left, *comparison, right)?;
                (name == field).then(|| bounds(comparison, value)).flatten()
            }
            Self::Not(_) | Self::Or(..) => None,
        }
    }

    /// A field and the only value of it for which the condition can hold.
    #[must_use]
    pub fn equal(&self) -> Option<(&str, &Value)> {
        match self {
            Self::And(left, right) => left.equal().or_else(|| right.equal()),
            Self::Compare(left, Comparison::Equal, right) => {
                with_literal(left, Comparison::Equal, right).map(|(name, _, value)| (name, value))
            }
            Self::Compare(..) | Self::Not(_) | Self::Or(..) => None,
        }
    }
}

/// A comparison of a field with a value, in this order.
fn with_literal<'c>(
    left: &'c Operand,
    comparison: Comparison,
    right: &'c Operand,
) -> Option<(&'c str, Comparison, &'c Value)> {
    match (left, right) {
        (Operand::Field(name), Operand::Literal(Some(value))) => Some((name, comparison, value)),
        (Operand::Literal(Some(value)), Operand::Field(name)) => {
            let turned = match comparison {
                Comparison::Less => Comparison::Greater,
                Comparison::LessOrEqual => Comparison::GreaterOrEqual,
                Comparison::Greater => Comparison::Less,
                Comparison::GreaterOrEqual => Comparison::LessOrEqual,
                Comparison::Equal | Comparison::NotEqual => comparison,
            };
            Some((name, turned, value))
        }
        _ => None,
    }
}

/// Values of one kind have the same first byte.
fn bounds(comparison: Comparison, value: &Value) -> Option<(Vec<u8>, Vec<u8>)> {
    let key = value.order_key();
    let kind = key[0];
    match comparison {
        Comparison::Equal => Some((key.clone(), key)),
        Comparison::Less | Comparison::LessOrEqual => Some((vec![kind], key)),
        Comparison::Greater | Comparison::GreaterOrEqual => Some((key, vec![kind + 1])),
        Comparison::NotEqual => None,
    }
}
