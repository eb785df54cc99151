//! JSON Schemas as types: whether what one plugin sends can be read by another, and which places
//! a schema has.
//!
//! Pure. A schema becomes a list of alternatives of one JSON type each (`shape`), and two such
//! lists are compared (`fit`). Three rules keep the answers useful:
//!
//! - A fault is certain: some value that the sender's schema allows is refused by the receiver's.
//!   A construct that is not understood makes an answer unknown, never a fault.
//! - "Fits" is certain too, for every value with the members that the sender's schema names. The
//!   members that an open object might have besides them are not assumed to be sent.
//! - A sender's schema that leaves a type open says nothing, so nothing follows from it.

mod apart;
mod comparison;
mod fit;
#[cfg(test)]
mod fit_tests;
mod keywords;
mod meet;
mod number;
mod place;
#[cfg(test)]
mod properties;
mod rebase;
mod same;
mod scalars;
mod shape;
mod words;

use serde_json::Value;

pub use comparison::{Comparison, Fault};
pub use fit::fit;
pub use place::{Place, find, nearest, pointers};
pub use rebase::rebased;

/// Whether two schemas say the same, but for descriptions and other texts for people.
#[must_use]
pub fn is_same(one: &Value, other: &Value) -> bool {
    is_same_in((one, one), (other, other))
}

/// The same for two parts, each of the document that comes first.
#[must_use]
pub fn is_same_in(one: (&Value, &Value), other: (&Value, &Value)) -> bool {
    same::Same::new(shape::Root(one.0), shape::Root(other.0)).schemas(one.1, other.1)
}
