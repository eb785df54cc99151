//! Pure: what satisfies two schemas at once.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::keywords::anything;
use super::shape::{Alternative, Kind, List, Members, Rest, Schema, Text, holds, opaque};

/// More alternatives than this are not distinguished. Enumerations have one for each value, so it is
/// well above what people write, and low enough for the square of it.
const ALTERNATIVES_MAX: usize = 1_000;

/// What satisfies one of each.
pub(super) fn both<'s>(
    ones: &[Alternative<'s>],
    others: &[Alternative<'s>],
) -> Vec<Alternative<'s>> {
    let mut all = Vec::new();
    for one in ones {
        for other in others {
            if let Some((kind, is_certain)) = meet(&one.kind, &other.kind) {
                all.push(Alternative {
                    kind,
                    is_opaque: one.is_opaque || other.is_opaque || !is_certain,
                    is_untyped: one.is_untyped && other.is_untyped,
                });
            }
            if all.len() > ALTERNATIVES_MAX {
                return opaque(anything());
            }
        }
    }
    all
}

/// None if nothing satisfies both. The second value is false if they demand more than what is
/// returned.
fn meet<'s>(one: &Kind<'s>, other: &Kind<'s>) -> Option<(Kind<'s>, bool)> {
    Some(match (one, other) {
        (Kind::Literal(value), kind) | (kind, Kind::Literal(value)) => match holds(kind, value) {
            Some(true) => (Kind::Literal(value), true),
            Some(false) => return None,
            None => (Kind::Literal(value), is_unconstrained(kind)),
        },
        (Kind::Null, Kind::Null) => (Kind::Null, true),
        (Kind::Bool, Kind::Bool) => (Kind::Bool, true),
        (Kind::Number(one), Kind::Number(other)) => {
            let mut range = one.clone();
            range.is_integer |= other.is_integer;
            range.low.extend(&other.low);
            range.high.extend(&other.high);
            range.multiple_of.extend(&other.multiple_of);
            range.format = one.format.or(other.format);
            (Kind::Number(range), true)
        }
        (Kind::Text(one), Kind::Text(other)) => {
            let text = Text {
                min: one.min.max(other.min),
                max: least(one.max, other.max),
                patterns: &one.patterns | &other.patterns,
                formats: &one.formats | &other.formats,
            };
            (Kind::Text(text), true)
        }
        (Kind::List(one), Kind::List(other)) => (Kind::List(meet_lists(one, other)), true),
        (Kind::Members(one), Kind::Members(other)) => {
            (Kind::Members(meet_members(one, other)), true)
        }
        _ => return None,
    })
}

/// Whether every array or object is of this kind.
fn is_unconstrained(kind: &Kind<'_>) -> bool {
    match kind {
        Kind::List(list) => {
            list.first.is_empty()
                && matches!(list.rest, Rest::Unsaid)
                && (list.min, list.max, list.is_unique) == (0, None, false)
        }
        Kind::Members(members) => {
            members.declared.is_empty()
                && members.required.is_empty()
                && matches!(members.rest, Rest::Unsaid)
                && (members.min, members.max) == (0, None)
        }
        _ => false,
    }
}

fn meet_lists<'s>(one: &List<'s>, other: &List<'s>) -> List<'s> {
    let length = one.first.len().max(other.first.len());
    let first = (0..length).map(|index| and(&one.at(index), &other.at(index)).into_schema());
    List {
        first: first.collect(),
        rest: and(&one.rest, &other.rest),
        min: one.min.max(other.min),
        max: least(one.max, other.max),
        is_unique: one.is_unique || other.is_unique,
    }
}

fn meet_members<'s>(one: &Members<'s>, other: &Members<'s>) -> Members<'s> {
    let names: BTreeSet<&str> = one.declared.keys().chain(other.declared.keys()).copied().collect();
    let declared =
        names.into_iter().map(|name| (name, and(&one.at(name), &other.at(name)).into_schema()));
    Members {
        declared: declared.collect(),
        required: &one.required | &other.required,
        rest: and(&one.rest, &other.rest),
        min: one.min.max(other.min),
        max: least(one.max, other.max),
    }
}

fn and<'s>(one: &Rest<'s>, other: &Rest<'s>) -> Rest<'s> {
    match (one, other) {
        (Rest::None, _) | (_, Rest::None) => Rest::None,
        (Rest::Unknown, _) | (_, Rest::Unknown) => Rest::Unknown,
        (Rest::Unsaid, other) | (other, Rest::Unsaid) => other.clone(),
        (Rest::Each(one), Rest::Each(other)) => Rest::Each(join(one, other)),
    }
}

fn join<'s>(one: &Schema<'s>, other: &Schema<'s>) -> Schema<'s> {
    match (one, other) {
        (Schema::All(one), Schema::All(other)) => Schema::All([&one[..], &other[..]].concat()),
        (Schema::Narrowed(own), other) | (other, Schema::Narrowed(own)) => match other {
            Schema::Narrowed(other) => Schema::Narrowed(both(own, other).into()),
            Schema::All(parts) if parts.is_empty() => Schema::Narrowed(Rc::clone(own)),
            // Narrowed schemas of one document are empty until something splits them, and nothing
            // is joined after that.
            Schema::All(_) => Schema::Narrowed(opaque(own.to_vec()).into()),
        },
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    [one, other].into_iter().flatten().min()
}
