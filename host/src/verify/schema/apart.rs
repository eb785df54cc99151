//! Pure: whether alternatives have values in common, or values at all.

use std::collections::BTreeSet;

use super::shape::{Alternative, Kind, Members, Rest, Root, Schema, holds, is_same, json_type};

/// Objects in objects that are looked into to distinguish alternatives. A tag is near the top.
const APART_DEPTH_MAX: usize = 4;
/// Members of members that are looked into for a schema that no value matches.
const VOID_DEPTH_MAX: usize = 3;

/// Whether no value is in two of these.
pub(super) fn are_apart(root: Root<'_>, branches: &[Vec<Alternative<'_>>]) -> bool {
    branches.iter().enumerate().all(|(index, one)| {
        branches[..index].iter().all(|other| {
            one.iter().all(|one| {
                other.iter().all(|other| disjoint((root, one), (root, other), Sent::Maybe, 0))
            })
        })
    })
}

/// Whether the sender's schema has values at all.
pub(super) fn is_sent(root: Root<'_>, schema: &Schema<'_>) -> bool {
    root.alternatives(schema).iter().any(|one| !is_void(root, one, 0))
}

/// Whether it certainly has a bounded number of values, or may have.
pub(super) fn is_finite(kind: &Kind<'_>) -> bool {
    match kind {
        Kind::Null | Kind::Bool | Kind::Literal(_) | Kind::List(_) | Kind::Members(_) => true,
        Kind::Number(range) => !range.low.is_empty() && !range.high.is_empty(),
        Kind::Text(text) => text.max.is_some() || !text.patterns.is_empty(),
    }
}

/// Whether certainly no value matches the alternative.
pub(super) fn is_void(root: Root<'_>, alternative: &Alternative<'_>, depth: usize) -> bool {
    let nothing = |schema: &Schema<'_>| {
        let all = root.alternatives(schema);
        all.iter().all(|one| depth < VOID_DEPTH_MAX && is_void(root, one, depth + 1))
    };
    match &alternative.kind {
        Kind::Null | Kind::Bool | Kind::Literal(_) => false,
        Kind::Number(range) => range.is_void(),
        Kind::Text(text) => text.max.is_some_and(|max| max < text.min),
        Kind::List(list) => {
            list.max.is_some_and(|max| max < list.min)
                || (0..list.min).take(list.first.len() + 1).any(|index| {
                    match list.at(usize::try_from(index).unwrap_or(usize::MAX)) {
                        Rest::None => true,
                        Rest::Each(schema) => nothing(&schema),
                        Rest::Unsaid | Rest::Unknown => false,
                    }
                })
        }
        Kind::Members(members) => {
            members.max.is_some_and(|max| max < members.min.max(members.required.len() as u64))
                || members.required.iter().any(|name| match members.at(name) {
                    Rest::None => true,
                    Rest::Each(schema) => nothing(&schema),
                    Rest::Unsaid | Rest::Unknown => false,
                })
        }
    }
}

/// Whether the first side has members that its schema does not name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Maybe,
    Never,
}

/// Whether certainly no value is in both.
pub(super) fn disjoint(
    one: (Root<'_>, &Alternative<'_>),
    other: (Root<'_>, &Alternative<'_>),
    others: Sent,
    depth: usize,
) -> bool {
    match (&one.1.kind, &other.1.kind) {
        (Kind::Literal(literal), kind) | (kind, Kind::Literal(literal)) => {
            holds(kind, literal) == Some(false) || kind.json_type() != json_type(literal)
        }
        (Kind::Members(sent), Kind::Members(taken)) => {
            depth < APART_DEPTH_MAX
                && members_apart((one.0, sent), (other.0, taken), others, depth + 1)
        }
        (one, other) => one.json_type() != other.json_type(),
    }
}

fn members_apart(
    one: (Root<'_>, &Members<'_>),
    other: (Root<'_>, &Members<'_>),
    others: Sent,
    depth: usize,
) -> bool {
    let lacks = |required: &BTreeSet<&str>, members: (Root<'_>, &Members<'_>)| {
        required.iter().any(|name| match members.1.at(name) {
            Rest::None => true,
            Rest::Each(schema) => members.0.alternatives(&schema).is_empty(),
            Rest::Unsaid | Rest::Unknown => false,
        })
    };
    let never_sent = |name: &&str| {
        others == Sent::Never
            && matches!(one.1.at(name), Rest::Unsaid)
            && !one.1.required.contains(*name)
    };
    if lacks(&one.1.required, other)
        || lacks(&other.1.required, one)
        || other.1.required.iter().any(never_sent)
    {
        return true;
    }
    one.1.required.intersection(&other.1.required).any(|name| {
        let (Rest::Each(mine), Rest::Each(yours)) = (one.1.at(name), other.1.at(name)) else {
            return false;
        };
        let (mine, yours) = (one.0.alternatives(&mine), other.0.alternatives(&yours));
        mine.iter().all(|mine| {
            yours.iter().all(|yours| disjoint((one.0, mine), (other.0, yours), others, depth))
        })
    })
}

/// Whether two objects have a member of the same single value.
pub(super) fn have_same_tag(
    one: (Root<'_>, &Alternative<'_>),
    other: (Root<'_>, &Alternative<'_>),
) -> bool {
    let (Some(sent), Some(taken)) = (one.1.members(), other.1.members()) else { return false };
    sent.required.intersection(&taken.required).any(|name| {
        let (Some(mine), Some(yours)) = (sent.declared.get(name), taken.declared.get(name)) else {
            return false;
        };
        let (mine, yours) = (one.0.alternatives(mine), other.0.alternatives(yours));
        match (&*mine, &*yours) {
            ([mine], [yours]) => match (&mine.kind, &yours.kind) {
                (Kind::Literal(mine), Kind::Literal(yours)) => is_same(mine, yours),
                _ => false,
            },
            _ => false,
        }
    })
}
