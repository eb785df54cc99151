//! Pure: whether every value that one schema allows is allowed by another.

use std::collections::HashSet;

use serde_json::Value;

use super::apart::{Sent, disjoint, have_same_tag, is_finite, is_sent, is_void};
use super::comparison::Comparison;
use super::place::{escaped, near};
use super::same::Same;
use super::scalars::{differing, numbers, texts};
use super::shape::{
    Alternative, Kind, List, Members, Rest, Root, Schema, holds, is_same, structure,
};
use super::words;

/// Comparisons of one pair of schemas. Large ones need some thousand; more come from schemas that
/// refer to each other in many ways, and are given up.
const STEPS_MAX: usize = 20_000;
/// Objects in objects that are compared. A recursive type ends where it comes back to itself.
const DEPTH_MAX: usize = 64;
/// An alternative of the sender is taken apart into at most this many, to compare each by itself.
const PARTS_MAX: usize = 64;

static TRUE: Value = Value::Bool(true);
static FALSE: Value = Value::Bool(false);

/// Compares what a sender's schema allows with what a receiver's schema takes.
#[must_use]
pub fn fit(sent: &Value, taken: &Value) -> Comparison {
    let mut fitting = Fitting {
        sent: Root(sent),
        taken: Root(taken),
        under_way: HashSet::new(),
        depth: 0,
        steps: 0,
    };
    let mut comparison = fitting.schemas(&Schema::All(vec![sent]), &Schema::All(vec![taken]), "");
    comparison.faults.sort();
    comparison.faults.dedup();
    comparison
}

type Addresses = Vec<usize>;

struct Fitting<'s> {
    sent: Root<'s>,
    taken: Root<'s>,
    /// Pairs whose comparison has begun: a recursive type fits if nothing else speaks against it.
    under_way: HashSet<(Addresses, Addresses)>,
    depth: usize,
    steps: usize,
}

impl<'s> Fitting<'s> {
    fn schemas(&mut self, sent: &Schema<'s>, taken: &Schema<'s>, at: &str) -> Comparison {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.depth > DEPTH_MAX {
            return Comparison::unknown(at);
        }
        let (sent, taken) = (&self.sent.follow(sent), &self.taken.follow(taken));
        let (Schema::All(one), Schema::All(other)) = (sent, taken) else {
            return self.alternatives(sent, taken, at);
        };
        let all_same = one.len() == other.len()
            && one
                .iter()
                .zip(other)
                .all(|(one, other)| Same::new(self.sent, self.taken).schemas(one, other));
        if all_same {
            return Comparison::default();
        }
        let addresses = |parts: &[&Value]| -> Addresses {
            parts.iter().map(|part| std::ptr::from_ref(*part) as usize).collect()
        };
        let pair = (addresses(one), addresses(other));
        if !self.under_way.insert(pair.clone()) {
            return Comparison::default();
        }
        self.depth += 1;
        let comparison = self.alternatives(sent, taken, at);
        self.depth -= 1;
        self.under_way.remove(&pair);
        comparison
    }

    fn alternatives(&mut self, sent: &Schema<'s>, taken: &Schema<'s>, at: &str) -> Comparison {
        let (root, taken) = (self.sent, self.taken.alternatives(taken));
        let sent = root.alternatives(sent);
        let sent: Vec<&Alternative<'_>> =
            sent.iter().filter(|one| !is_void(root, one, 0)).collect();
        let mut comparison = Comparison::default();
        let mut refused = Vec::new();
        for one in &sent {
            let others: Vec<&Alternative<'_>> = taken.iter().collect();
            match self.one(one, &others, at, 0) {
                Outcome::Compared(compared) => comparison.add(compared),
                Outcome::Refused => refused.push(*one),
            }
        }
        if !refused.is_empty() {
            let verb = if refused.len() == sent.len() { "sends" } else { "may send" };
            let all: Vec<&Alternative<'_>> = taken.iter().collect();
            let takes = match all.is_empty() {
                true => "does not take it".to_owned(),
                false => format!("takes {}", words::all(&all)),
            };
            comparison.fault(at, format!("{verb} {}", words::all(&refused)), takes);
        }
        comparison
    }

    /// Compares one alternative of the sender with all of the receiver.
    fn one(
        &mut self,
        sent: &Alternative<'s>,
        taken: &[&Alternative<'s>],
        at: &str,
        split: usize,
    ) -> Outcome {
        let outcome = self.certain(sent, taken, at, split);
        if !(sent.is_opaque || sent.is_untyped) {
            return outcome;
        }
        Outcome::Compared(match outcome {
            Outcome::Compared(comparison) => comparison.weakened(),
            Outcome::Refused => Comparison::unknown(at),
        })
    }

    /// As if the sender's schema demanded no more than the alternative says.
    fn certain(
        &mut self,
        sent: &Alternative<'s>,
        taken: &[&Alternative<'s>],
        at: &str,
        split: usize,
    ) -> Outcome {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Outcome::Compared(Comparison::unknown(at));
        }
        let (own, other) = (self.sent, self.taken);
        let possible: Vec<&Alternative<'_>> = taken
            .iter()
            .filter(|taken| !disjoint((own, sent), (other, taken), Sent::Never, 0))
            .copied()
            .collect();
        if possible.is_empty() {
            return self.refused(sent, taken, at);
        }
        let comparisons: Vec<Comparison> =
            possible.iter().map(|taken| self.pair(sent, taken, at)).collect();
        if comparisons.iter().any(Comparison::fits) {
            return Outcome::Compared(Comparison::default());
        }
        if split < PARTS_MAX
            && let Some(parts) = self.split(sent, &possible)
        {
            let mut comparison = Comparison::default();
            let mut refused = 0;
            for part in &parts {
                match self.one(part, &possible, at, split + parts.len()) {
                    Outcome::Compared(compared) => comparison.add(compared),
                    Outcome::Refused => refused += 1,
                }
            }
            return match refused {
                0 => Outcome::Compared(comparison),
                _ => Outcome::Refused,
            };
        }
        let finite = |taken: &&&Alternative<'_>| {
            matches!(taken.kind, Kind::Literal(_)) && !is_finite(&sent.kind)
        };
        // A few values are not all strings.
        let infinite = possible.iter().zip(&comparisons).filter(|(taken, _)| !finite(taken));
        let infinite: Vec<&Comparison> = infinite.map(|(_, comparison)| comparison).collect();
        match infinite[..] {
            [] => Outcome::Refused,
            [one] => Outcome::Compared(one.clone()),
            // Together they may take everything.
            _ => Outcome::Compared(Comparison::unknown(at)),
        }
    }

    /// None of the receiver's alternatives takes anything of this one. What is nearest says why.
    fn refused(&mut self, sent: &Alternative<'s>, taken: &[&Alternative<'s>], at: &str) -> Outcome {
        let of_type = |taken: &&&Alternative<'s>| {
            matches!(taken.kind, Kind::Members(_) | Kind::List(_))
                && taken.kind.json_type() == sent.kind.json_type()
        };
        let mut faults: Vec<(bool, Comparison)> = Vec::new();
        for taken in taken.iter().filter(of_type) {
            let comparison = self.pair(sent, taken, at);
            if !comparison.faults.is_empty() {
                faults.push((!have_same_tag((self.sent, sent), (self.taken, taken)), comparison));
            }
        }
        faults.sort_by_key(|(has_other_tag, comparison)| (*has_other_tag, comparison.faults.len()));
        match faults.into_iter().next() {
            Some((_, nearest)) => Outcome::Compared(nearest),
            None => Outcome::Refused,
        }
    }

    /// Splits an alternative where that shows which of the receiver's it goes to.
    fn split(
        &self,
        sent: &Alternative<'s>,
        taken: &[&Alternative<'s>],
    ) -> Option<Vec<Alternative<'s>>> {
        let parts: Vec<Alternative<'s>> = match &sent.kind {
            Kind::Bool => [&TRUE, &FALSE].map(|value| Alternative::of(Kind::Literal(value))).into(),
            Kind::Members(members) if taken.len() > 1 => self.split_members(members, taken)?,
            _ => return None,
        };
        Some(
            parts
                .into_iter()
                .map(|part| Alternative { is_opaque: sent.is_opaque, ..part })
                .collect(),
        )
    }

    fn split_members(
        &self,
        sent: &Members<'s>,
        taken: &[&Alternative<'s>],
    ) -> Option<Vec<Alternative<'s>>> {
        for name in &sent.required {
            let Some(schema) = sent.declared.get(name) else { continue };
            let own = self.sent.alternatives(schema);
            if !(2..=PARTS_MAX).contains(&own.len()) {
                continue;
            }
            let distinguishes = |one: &Alternative<'s>| {
                let is_out = |taken: &&&Alternative<'s>| {
                    let other = taken.members().and_then(|members| members.declared.get(name));
                    other.is_some_and(|other| {
                        let others = self.taken.alternatives(other);
                        others.iter().all(|other| {
                            disjoint((self.sent, one), (self.taken, other), Sent::Never, 0)
                        })
                    })
                };
                taken.iter().any(|taken| is_out(&taken))
            };
            if own.iter().all(distinguishes) {
                let part = |one: &Alternative<'s>| {
                    let mut members = sent.clone();
                    members.declared.insert(name, Schema::Narrowed([one.clone()].into()));
                    Alternative::of(Kind::Members(members))
                };
                return Some(own.iter().map(part).collect());
            }
        }
        None
    }

    /// Whether one alternative takes all of another.
    fn pair(&mut self, sent: &Alternative<'s>, taken: &Alternative<'s>, at: &str) -> Comparison {
        let mut comparison = match (&sent.kind, &taken.kind) {
            (Kind::Null, Kind::Null) | (Kind::Bool, Kind::Bool) => Comparison::default(),
            (Kind::Literal(one), Kind::Literal(other)) if is_same(one, other) => {
                Comparison::default()
            }
            (Kind::Literal(value), kind) => match (holds(kind, value), structure(value)) {
                (Some(true), _) => Comparison::default(),
                (None, Some(structure)) => self.pair(&Alternative::of(structure), taken, at),
                (None, None) => Comparison::unknown(at),
                (Some(false), _) => differing(sent, taken, at),
            },
            // Its only values may be among those that are taken.
            (kind, Kind::Literal(_))
                if is_finite(kind) && kind.json_type() == taken.kind.json_type() =>
            {
                Comparison::unknown(at)
            }
            (Kind::Number(one), Kind::Number(other)) => numbers(one, other, at),
            (Kind::Text(one), Kind::Text(other)) => texts(one, other, at),
            (Kind::List(one), Kind::List(other)) => self.lists(one, other, at),
            (Kind::Members(one), Kind::Members(other)) => self.members(one, other, at),
            _ => differing(sent, taken, at),
        };
        if taken.is_opaque && comparison.faults.is_empty() {
            comparison.unknown.insert(at.to_owned());
        }
        comparison
    }

    fn members(&mut self, sent: &Members<'s>, taken: &Members<'s>, at: &str) -> Comparison {
        let mut comparison = Comparison::default();
        for name in &taken.required {
            self.required(name, sent, taken, at, &mut comparison);
        }
        for (name, schema) in &sent.declared {
            let at = format!("{at}/{}", escaped(name));
            match taken.at(name) {
                Rest::Unsaid => {}
                Rest::Unknown => drop(comparison.unknown.insert(at)),
                Rest::None if !is_sent(self.sent, schema) => {}
                Rest::None => {
                    let verb =
                        if sent.required.contains(name) { "sends it" } else { "may send it" };
                    comparison.fault(&at, verb, "takes no member of this name");
                }
                Rest::Each(other) => comparison.add(self.schemas(schema, &other, &at)),
            }
        }
        for name in sent.required.iter().filter(|name| matches!(sent.at(name), Rest::Unsaid)) {
            if !matches!(taken.at(name), Rest::Unsaid) {
                comparison.unknown.insert(format!("{at}/{}", escaped(name)));
            }
        }
        self.other_members(sent, taken, at, &mut comparison);
        let count = sent.required.len() as u64;
        if taken.min > sent.min.max(count) {
            comparison.unknown.insert(at.to_owned());
        }
        let named =
            matches!(sent.rest, Rest::None | Rest::Unsaid).then_some(sent.declared.len() as u64);
        let most = [sent.max, named].into_iter().flatten().min();
        if taken.max.is_some_and(|max| most.is_none_or(|most| most > max)) {
            comparison.unknown.insert(at.to_owned());
        }
        comparison
    }

    /// A member without which the receiver refuses the object.
    fn required(
        &self,
        name: &'s str,
        sent: &Members<'s>,
        taken: &Members<'s>,
        at: &str,
        comparison: &mut Comparison,
    ) {
        let at = format!("{at}/{}", escaped(name));
        let is_sent = |schema: &Schema<'s>| is_sent(self.sent, schema);
        match sent.at(name) {
            Rest::Each(_) if sent.required.contains(name) => {}
            Rest::Unsaid if sent.required.contains(name) => {}
            Rest::Each(schema) if is_sent(&schema) => {
                comparison.fault(&at, "may leave it out", "requires it");
            }
            Rest::Unknown => drop(comparison.unknown.insert(at)),
            _ => {
                let others = sent.declared.iter().filter(|(name, schema)| {
                    !taken.declared.contains_key(*name) && is_sent(schema)
                });
                let others: Vec<&str> = others.map(|(name, _)| *name).collect();
                let near = near(name, others.iter().copied()).or(match others[..] {
                    // The only member that the receiver does not know may be the one it misses.
                    [only] => Some(only),
                    _ => None,
                });
                comparison.fault(&at, "never sends it", "requires it").near =
                    near.map(str::to_owned);
            }
        }
    }

    /// Members that the sender's schema does not name.
    fn other_members(
        &mut self,
        sent: &Members<'s>,
        taken: &Members<'s>,
        at: &str,
        comparison: &mut Comparison,
    ) {
        match &sent.rest {
            Rest::None | Rest::Unsaid => {}
            Rest::Unknown => drop(comparison.unknown.insert(at.to_owned())),
            Rest::Each(schema) if !is_sent(self.sent, schema) => {}
            Rest::Each(schema) => {
                let any = format!("{at}/*");
                match &taken.rest {
                    Rest::Unsaid => {}
                    Rest::Unknown => drop(comparison.unknown.insert(any)),
                    Rest::None => {
                        comparison.fault(
                            &any,
                            "may send a member of any name",
                            "takes no other members",
                        );
                    }
                    Rest::Each(other) => comparison.add(self.schemas(schema, other, &any)),
                }
                for (name, other) in &taken.declared {
                    if !sent.declared.contains_key(name) {
                        let at = format!("{at}/{}", escaped(name));
                        comparison.add(self.schemas(schema, other, &at));
                    }
                }
            }
        }
    }

    fn lists(&mut self, sent: &List<'s>, taken: &List<'s>, at: &str) -> Comparison {
        let mut comparison = Comparison::default();
        let listed = sent.first.len().max(taken.first.len());
        for index in 0..=listed {
            if sent.max.is_some_and(|max| max <= index as u64) {
                break;
            }
            let place = match index == listed {
                true => format!("{at}/*"),
                false => format!("{at}/{index}"),
            };
            let item = match sent.at(index) {
                Rest::None => break,
                Rest::Each(schema) => schema,
                Rest::Unsaid | Rest::Unknown => Schema::All(Vec::new()),
            };
            let is_open = matches!(sent.at(index), Rest::Unsaid | Rest::Unknown);
            match taken.at(index) {
                Rest::Unsaid => {}
                Rest::None if !is_sent(self.sent, &item) => break,
                Rest::None if !is_open => {
                    let verb = if sent.min > index as u64 { "sends" } else { "may send" };
                    comparison.fault(
                        at,
                        format!("{verb} more than {index} items"),
                        "takes no more",
                    );
                    break;
                }
                Rest::None | Rest::Unknown => drop(comparison.unknown.insert(place)),
                Rest::Each(other) => comparison.add(self.schemas(&item, &other, &place)),
            }
        }
        if taken.min > sent.min {
            let (sent, taken) = (sent.min, taken.min);
            comparison.range(
                at,
                format!("may send {sent} items"),
                format!("takes at least {taken}"),
            );
        }
        if let Some(max) = taken.max
            && self.longest(sent).is_none_or(|longest| longest > max)
        {
            match sent.rest {
                Rest::Unsaid if sent.max.is_none() && !sent.first.is_empty() => {
                    comparison.unknown.insert(at.to_owned());
                }
                _ => comparison.range(
                    at,
                    format!("may send more than {max} items"),
                    format!("takes at most {max}"),
                ),
            }
        }
        if taken.is_unique
            && !sent.is_unique
            && self.longest(sent).is_none_or(|longest| longest > 1)
        {
            match sent.first.is_empty() {
                true => comparison.range(at, "may send an item twice", "takes each once"),
                false => drop(comparison.unknown.insert(at.to_owned())),
            }
        }
        comparison
    }

    /// The most items that it may have.
    fn longest(&self, list: &List<'s>) -> Option<u64> {
        let closed = match &list.rest {
            Rest::None => true,
            Rest::Each(schema) => !is_sent(self.sent, schema),
            Rest::Unsaid | Rest::Unknown => false,
        };
        let named = closed.then_some(list.first.len() as u64);
        [list.max, named].into_iter().flatten().min()
    }
}

enum Outcome {
    Compared(Comparison),
    /// The receiver takes no such value: the caller says so for all of them at once.
    Refused,
}
