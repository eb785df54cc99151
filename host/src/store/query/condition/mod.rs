//! Pure: by what instances are selected, as in `paid < total and due < "2026-01-01"`.
//!
//! A comparison is true or false, never unknown. `=` holds if both sides are one value, or both are
//! `null`: a field that an instance does not have. `<`, `<=`, `>` and `>=` hold for two numbers, two
//! strings or two booleans that are in that order, and not for `null` or two kinds.

mod parse;
mod range;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

pub use parse::ConditionError;

use super::value::Value;

/// Names that a condition has words of its own for.
const WORDS: [&str; 6] = ["and", "or", "not", "true", "false", "null"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Compare(Operand, Comparison, Operand),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    Field(String),
    /// None is `null`.
    Literal(Option<Value>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    const ALL: [Self; 6] = [
        Self::Equal,
        Self::NotEqual,
        Self::LessOrEqual,
        Self::Less,
        Self::GreaterOrEqual,
        Self::Greater,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    fn holds(self, left: Option<&Value>, right: Option<&Value>) -> bool {
        let order = || left.zip(right).and_then(|(left, right)| left.compare(right));
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => order() == Some(Ordering::Less),
            Self::LessOrEqual => order().is_some_and(Ordering::is_le),
            Self::Greater => order() == Some(Ordering::Greater),
            Self::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
        }
    }
}

impl Condition {
    /// Reads it.
    ///
    /// # Errors
    /// Says what is wrong, where, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        parse::parse(text)
    }

    /// Whether it holds for an instance, of which `value` knows the fields.
    pub fn holds<'v>(&'v self, value: &impl Fn(&str) -> Option<&'v Value>) -> bool {
        match self {
            Self::Compare(left, comparison, right) => {
                comparison.holds(left.value(value), right.value(value))
            }
            Self::Not(inner) => !inner.holds(value),
            Self::And(left, right) => left.holds(value) && right.holds(value),
            Self::Or(left, right) => left.holds(value) || right.holds(value),
        }
    }

    /// The fields that it names.
    #[must_use]
    pub fn fields(&self) -> BTreeSet<&str> {
        match self {
            Self::Compare(left, _, right) => [left, right]
                .into_iter()
                .filter_map(|operand| match operand {
                    Operand::Field(name) => Some(name.as_str()),
                    Operand::Literal(_) => None,
                })
                .collect(),
            Self::Not(inner) => inner.fields(),
            Self::And(left, right) | Self::Or(left, right) => {
                left.fields().union(&right.fields()).copied().collect()
            }
        }
    }
}

impl Operand {
    fn value<'v>(&'v self, of: &impl Fn(&str) -> Option<&'v Value>) -> Option<&'v Value> {
        match self {
            Self::Field(name) => of(name),
            Self::Literal(value) => value.as_ref(),
        }
    }
}

/// As it is written, with no more parentheses than it needs.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |f: &mut fmt::Formatter<'_>, inner: &Self, needs: bool| match needs {
            true => write!(f, "({inner})"),
            false => write!(f, "{inner}"),
        };
        match self {
            Self::Compare(left, comparison, right) => {
                write!(f, "{left} {} {right}", comparison.as_str())
            }
            Self::Not(negated) => {
                f.write_str("not ")?;
                inner(f, negated, matches!(**negated, Self::And(..) | Self::Or(..)))
            }
            Self::And(left, right) => {
                inner(f, left, matches!(**left, Self::Or(..)))?;
                f.write_str(" and ")?;
                inner(f, right, matches!(**right, Self::Or(..) | Self::And(..)))
            }
            Self::Or(left, right) => {
                write!(f, "{left} or ")?;
                inner(f, right, matches!(**right, Self::Or(..)))
            }
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) if WORDS.contains(&name.as_str()) => write!(f, "`{name}`"),
            Self::Field(name) => f.write_str(name),
            Self::Literal(None) => f.write_str("null"),
            Self::Literal(Some(value)) => f.write_str(&value.to_json()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::value::tests::values;
    use super::*;

    fn operands() -> impl Strategy<Value = Operand> {
        let names = prop::sample::select(vec!["a", "b_1", "_c", "and", "null", "absent"]);
        prop_oneof![
            names.prop_map(|name| Operand::Field(name.to_owned())),
            prop::option::of(values()).prop_map(Operand::Literal),
        ]
    }

    fn conditions() -> impl Strategy<Value = Condition> {
        let comparisons = prop::sample::select(Comparison::ALL.to_vec());
        let leaf = (operands(), comparisons, operands())
            .prop_map(|(left, comparison, right)| Condition::Compare(left, comparison, right));
        leaf.prop_recursive(5, 32, 2, |inner| {
            let pair = (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
            prop_oneof![
                inner.prop_map(Box::new).prop_map(Condition::Not),
                pair.clone().prop_map(|(left, right)| Condition::And(left, right)),
                pair.prop_map(|(left, right)| Condition::Or(left, right)),
            ]
        })
    }

    /// Another way to the same: each node becomes a set of the rows for which it holds, and the
    /// order of two values is that of their index keys.
    fn rows(condition: &Condition, table: &[BTreeMap<String, Value>]) -> BTreeSet<usize> {
        let all: BTreeSet<usize> = (0..table.len()).collect();
        match condition {
            Condition::Not(inner) => &all - &rows(inner, table),
            Condition::And(left, right) => &rows(left, table) & &rows(right, table),
            Condition::Or(left, right) => &rows(left, table) | &rows(right, table),
            Condition::Compare(left, comparison, right) => {
                let key = |operand: &Operand, row: usize| match operand {
                    Operand::Field(name) => table[row].get(name).map(Value::order_key),
                    Operand::Literal(value) => value.as_ref().map(Value::order_key),
                };
                let holds = |row: &usize| {
                    let (left, right) = (key(left, *row), key(right, *row));
                    let kind = |key: &Option<Vec<u8>>| key.as_ref().map(|key| key[0]);
                    let ordered = kind(&left) == kind(&right) && left.is_some();
                    match comparison {
                        Comparison::Equal => left == right,
                        Comparison::NotEqual => left != right,
                        Comparison::Less => ordered && left < right,
                        Comparison::LessOrEqual => ordered && left <= right,
                        Comparison::Greater => ordered && left > right,
                        Comparison::GreaterOrEqual => ordered && left >= right,
                    }
                };
                all.into_iter().filter(holds).collect()
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(condition in conditions()) {
            let printed = condition.to_string();
            prop_assert_eq!(Condition::parse(&printed).map_err(|error| error.to_string()), Ok(condition));
        }

        #[test]
        fn it_holds_only_where_its_bounds_say(
            condition in conditions(),
            row in prop::collection::btree_map("a|b_1|_c|and|null", values(), 0..5)
        ) {
            prop_assume!(condition.holds(&|name: &str| row.get(name)));
            if let Some((name, value)) = condition.equal() {
                prop_assert_eq!(row.get(name), Some(value));
            }
            for name in ["a", "b_1", "_c", "and", "null"] {
                if let Some((low, high)) = condition.range(name) {
                    let key = row.get(name).map(Value::order_key);
                    prop_assert!(key.is_some_and(|key| low <= key && key <= high), "{}", name);
                }
            }
        }

        #[test]
        fn it_holds_for_the_rows_that_sets_say(
            condition in conditions(),
            table in prop::collection::vec(
                prop::collection::btree_map("a|b_1|_c|and|null", values(), 0..5), 0..8)
        ) {
            let found: BTreeSet<usize> = (0..table.len())
                .filter(|row| condition.holds(&|name: &str| table[*row].get(name)))
                .collect();
            prop_assert_eq!(found, rows(&condition, &table));
        }
    }

    #[track_caller]
    fn holds(text: &str, expected: bool) {
        let fields =
            [("paid", "10.0"), ("total", "20"), ("due", "\"2026-01-01\""), ("open", "true")];
        let fields: BTreeMap<&str, Value> =
            fields.map(|(name, text)| (name, Value::parse(text).unwrap())).into();
        let condition = Condition::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(condition.holds(&|name: &str| fields.get(name)), expected, "{text}");
    }

    #[test]
    fn examples_mean_what_they_say() {
        for text in [
            "paid < total",
            "paid=10 and total = 2e1",
            "due < \"2026-01-02\"",
            "not paid > total",
            "not (paid > total or open = false)",
            "gone = null and paid != null",
            "paid > total or open = true and total >= 20",
            "paid <= 10 and paid >= 10 and not paid != 10.00",
            "9007199254740993 > 9007199254740992.0",
            "open > false",
            "due != 20",
        ] {
            holds(text, true);
        }
        for text in ["gone < 1", "gone >= null", "due < 20", "paid = \"10\"", "not gone = null"] {
            holds(text, false);
        }
    }

    #[test]
    fn the_fields_that_it_names_are_known() {
        let condition = Condition::parse("a < b or not (c = \"d\" and 1 = a)").unwrap();
        assert_eq!(condition.fields().into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
