//! Pure: what must be so in every run, of what each instance got, sent and became.

use std::collections::BTreeMap;
use std::fmt;

use sagabox_engine::model::{Event, Key, MessageKind};

use super::history::{End, History, Who, json_of};
use super::term::{Op, Term};
use crate::decisions::json::{Json, Number, Object};

/// One thing that must be so of each group.
#[derive(Clone, Debug, PartialEq)]
pub struct Invariant {
    pub name: String,
    /// Groups are made by the value at this pointer into the data, not by instance.
    per: Option<String>,
    /// Only of groups that have one of these.
    condition: Vec<Selector>,
    claim: Claim,
}

#[derive(Clone, Debug, PartialEq)]
enum Claim {
    Count {
        least: usize,
        most: usize,
        of: Vec<Selector>,
    },
    NeverBoth(Vec<Selector>),
    /// Each of the second needs one of the first before it.
    OnlyAfter(Vec<Selector>, Vec<Selector>),
    /// Each of the first needs one of the second after it.
    FollowedBy(Vec<Selector>, Vec<Selector>),
    Ends,
    Compare(Term, Op, Term),
}

/// Events and messages of a type, and with these values at these pointers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selector {
    pub event_type: String,
    pub values: Vec<(String, Json)>,
}

/// What happened to an instance, or with a value; events that came, and what was sent.
#[derive(Debug)]
pub(crate) struct Group {
    pub name: String,
    /// The first that took part.
    pub who: Who,
    pub items: Vec<Item>,
    /// Of an instance, if its plugin has instances.
    pub end: Option<End>,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub event_type: String,
    pub data: Json,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub invariant: String,
    /// For whom, and why.
    pub why: String,
    /// Whose history shows it; none if it is about no instance in particular.
    pub who: Option<Who>,
}

impl Invariant {
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(value: &Json) -> Result<Self, String> {
        let members =
            value.as_object().ok_or("is not an object such as {at_most_one: ShipOrder}")?;
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{name}: is not a string")),
        };
        let beside = ["says", "per", "if"];
        let claims: Vec<&String> =
            members.keys().filter(|name| !beside.contains(&name.as_str())).collect();
        let [claim] = claims[..] else {
            return Err(format!("needs exactly one of {}", KINDS.join(", ")));
        };
        let parsed = parse_claim(claim, &members[claim.as_str()]);
        let parsed = parsed.map_err(|why| format!("{claim}: {why}"))?;
        let per = text("per")?;
        if let Some(per) = &per {
            if !per.starts_with('/') {
                return Err(format!("per: `{per}` is not a JSON Pointer such as /orderId"));
            }
            let of_instances = match &parsed {
                Claim::Ends => true,
                Claim::Compare(left, _, right) => left.is_of_instance() || right.is_of_instance(),
                _ => false,
            };
            if of_instances {
                return Err("per: an instance ends and has a state, a value does not".to_owned());
            }
        }
        let condition = members.get("if").map_or(Ok(Vec::new()), selectors);
        let name = text("says")?.unwrap_or_else(|| parsed.to_string());
        let condition = condition.map_err(|why| format!("if: {why}"))?;
        Ok(Self { name, per, condition, claim: parsed })
    }

    /// The types of events and messages that it names.
    #[must_use]
    pub fn types(&self) -> Vec<&str> {
        let of_claim: Vec<&Selector> = match &self.claim {
            Claim::Count { of, .. } | Claim::NeverBoth(of) => of.iter().collect(),
            Claim::OnlyAfter(first, then) | Claim::FollowedBy(first, then) => {
                first.iter().chain(then).collect()
            }
            Claim::Ends => Vec::new(),
            Claim::Compare(left, _, right) => {
                left.selectors().iter().chain(right.selectors()).collect()
            }
        };
        let all = self.condition.iter().chain(of_claim);
        all.map(|selector| selector.event_type.as_str()).collect()
    }

    /// The first group of which it does not hold.
    #[must_use]
    pub fn check(&self, history: &History) -> Option<Broken> {
        let groups = match &self.per {
            None => by_instance(history),
            Some(pointer) => by_value(history, pointer),
        };
        groups.iter().find_map(|group| {
            let applies = self.condition.is_empty() || group.any(&self.condition);
            let why = if applies { self.claim.check(group) } else { None };
            why.map(|why| Broken {
                invariant: self.name.clone(),
                why: format!("{}: {why}", group.name),
                who: Some(group.who.clone()),
            })
        })
    }
}

const KINDS: [&str; 9] = [
    "at_most_one",
    "at_least_one",
    "exactly_one",
    "at_most",
    "never_both",
    "only_after",
    "followed_by",
    "ends",
    "compare",
];

fn parse_claim(kind: &str, value: &Json) -> Result<Claim, String> {
    let counted = |least: usize, most: usize| {
        Ok::<_, String>(Claim::Count { least, most, of: selectors(value)? })
    };
    match kind {
        "at_most_one" => counted(0, 1),
        "at_least_one" => counted(1, usize::MAX),
        "exactly_one" => counted(1, 1),
        "at_most" => {
            let count = value.get("count").and_then(Json::as_u64);
            let of = value.get("of").map(selectors).transpose()?;
            match (count.and_then(|count| usize::try_from(count).ok()), of) {
                (Some(most), Some(of)) => Ok(Claim::Count { least: 0, most, of }),
                _ => Err("is not an object such as {count: 3, of: RemindCustomer}".to_owned()),
            }
        }
        "never_both" => {
            let all = selectors(value)?;
            match all.len() {
                0 | 1 => Err("needs two or more".to_owned()),
                _ => Ok(Claim::NeverBoth(all)),
            }
        }
        "only_after" => {
            let (then, first) = pair(
                value,
                "{RefundCard: ChargeCard}, which is: no RefundCard before a ChargeCard",
            )?;
            Ok(Claim::OnlyAfter(first, then))
        }
        "followed_by" => {
            let (first, then) = pair(value, "{ChargeCard: [ShipOrder, RefundCard]}")?;
            Ok(Claim::FollowedBy(first, then))
        }
        "ends" => match value.as_bool() {
            Some(true) => Ok(Claim::Ends),
            _ => Err("is `true`, or is left out".to_owned()),
        },
        "compare" => match value.as_array().map(Vec::as_slice) {
            Some([left, op, right]) => {
                Ok(Claim::Compare(Term::parse(left)?, Op::parse(op)?, Term::parse(right)?))
            }
            _ => Err("is not a list of three such as [{count: A}, \"<=\", {count: B}]".to_owned()),
        },
        _ => Err(format!("is not known; known are {}", KINDS.join(", "))),
    }
}

fn pair(value: &Json, example: &str) -> Result<(Vec<Selector>, Vec<Selector>), String> {
    let members = value.as_object().filter(|members| members.len() == 1);
    let (name, value) = members
        .and_then(|members| members.iter().next())
        .ok_or_else(|| format!("is not an object such as {example}"))?;
    Ok((selectors(&Json::from(name.as_str()))?, selectors(value)?))
}

/// One, or a list of them.
pub(crate) fn selectors(value: &Json) -> Result<Vec<Selector>, String> {
    match value {
        Json::Array(list) if !list.is_empty() => list.iter().map(selector).collect(),
        other => Ok(vec![selector(other)?]),
    }
}

fn selector(value: &Json) -> Result<Selector, String> {
    let wrong = || format!("{value} is neither a type nor {{type: …, where: {{/pointer: value}}}}");
    if let Some(event_type) = value.as_str() {
        return Ok(Selector { event_type: event_type.to_owned(), values: Vec::new() });
    }
    let members = value.as_object().ok_or_else(wrong)?;
    if members.keys().any(|name| name != "type" && name != "where") {
        return Err(wrong());
    }
    let event_type = members.get("type").and_then(Json::as_str).ok_or_else(wrong)?;
    let empty = Object::default();
    let values = match members.get("where") {
        None => &empty,
        Some(values) => values.as_object().ok_or_else(wrong)?,
    };
    if values.keys().any(|pointer| !pointer.starts_with('/')) {
        return Err(wrong());
    }
    let values = values.iter().map(|(pointer, value)| (pointer.clone(), value.clone()));
    Ok(Selector { event_type: event_type.to_owned(), values: values.collect() })
}

impl Claim {
    /// Why it does not hold.
    fn check(&self, group: &Group) -> Option<String> {
        match self {
            Self::Count { least, most, of } => {
                let count = group.of(of).count();
                let is_so = (*least..=*most).contains(&count);
                (!is_so).then(|| format!("there are {count} of {}", named(of)))
            }
            Self::NeverBoth(all) => {
                let found =
                    all.iter().filter(|selector| group.items.iter().any(|i| selector.fits(i)));
                let found: Vec<String> = found.map(ToString::to_string).collect();
                (found.len() > 1).then(|| format!("there are both {}", found.join(" and ")))
            }
            Self::OnlyAfter(first, then) => {
                let begins = group.items.iter().position(|item| fits_any(first, item));
                let early = group.items.iter().position(|item| fits_any(then, item))?;
                let is_so = begins.is_some_and(|begins| begins < early);
                let what = &group.items[early].event_type;
                (!is_so).then(|| format!("{what} with no {} before it", named(first)))
            }
            Self::FollowedBy(first, then) => {
                let last = group.items.iter().rposition(|item| fits_any(first, item))?;
                let follows = group.items[last + 1..].iter().any(|item| fits_any(then, item));
                let what = &group.items[last].event_type;
                (!follows).then(|| format!("{what} with no {} after it", named(then)))
            }
            Self::Ends => {
                let end = group.end.as_ref()?;
                (!end.completed).then(|| format!("it has not ended; its state is {}", end.state))
            }
            Self::Compare(left, op, right) => {
                let (found, wanted) = (left.value(group)?, right.value(group)?);
                let is_so = op.holds(&found, &wanted);
                (!is_so).then(|| format!("{left} is {found}, and {right} is {wanted}"))
            }
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { least: 0, most, of } => write!(f, "at most {most} of {}", named(of)),
            Self::Count { least, most: usize::MAX, of } => {
                write!(f, "at least {least} of {}", named(of))
            }
            Self::Count { most, of, .. } => write!(f, "exactly {most} of {}", named(of)),
            Self::NeverBoth(all) => {
                let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                write!(f, "never both {}", all.join(" and "))
            }
            Self::OnlyAfter(first, then) => {
                write!(f, "{} only after {}", named(then), named(first))
            }
            Self::FollowedBy(first, then) => {
                write!(f, "{} is followed by {}", named(first), named(then))
            }
            Self::Ends => f.write_str("each instance ends"),
            Self::Compare(left, op, right) => write!(f, "{left} {op} {right}"),
        }
    }
}

pub(crate) fn named(selectors: &[Selector]) -> String {
    let names: Vec<String> = selectors.iter().map(ToString::to_string).collect();
    names.join(" or ")
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.event_type)?;
        let values = self.values.iter().map(|(pointer, value)| format!("{pointer} {value}"));
        let values: Vec<String> = values.collect();
        match values.is_empty() {
            true => Ok(()),
            false => write!(f, " with {}", values.join(", ")),
        }
    }
}

impl Selector {
    fn fits(&self, item: &Item) -> bool {
        let has = |(pointer, value): &(String, Json)| item.data.pointer(pointer) == Some(value);
        item.event_type == self.event_type && self.values.iter().all(has)
    }
}

fn fits_any(selectors: &[Selector], item: &Item) -> bool {
    selectors.iter().any(|selector| selector.fits(item))
}

impl Group {
    pub(crate) fn of<'g>(&'g self, selectors: &'g [Selector]) -> impl Iterator<Item = &'g Item> {
        self.items.iter().filter(move |item| fits_any(selectors, item))
    }

    fn any(&self, selectors: &[Selector]) -> bool {
        self.of(selectors).next().is_some()
    }
}

/// What each instance got and sent. An event that it sent to itself counts once.
fn by_instance(history: &History) -> Vec<Group> {
    let mut groups: BTreeMap<&Who, (Vec<Item>, Vec<&str>)> = BTreeMap::new();
    for deed in &history.deeds {
        let (items, known) = groups.entry(&deed.who).or_default();
        for event in deed_events(&deed.event, &deed.messages) {
            if !known.contains(&event.id.as_str()) {
                known.push(&event.id);
                items.push(item(event));
            }
        }
    }
    let groups = groups.into_iter().map(|(who, (items, _))| Group {
        name: format!("{} of {}", shown_key(&who.key), who.plugin),
        who: who.clone(),
        items,
        end: history.ends.get(who).cloned(),
    });
    groups.collect()
}

/// What has the same value at a pointer, whichever instance got or sent it.
fn by_value(history: &History, pointer: &str) -> Vec<Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut known: Vec<&str> = Vec::new();
    for deed in &history.deeds {
        for event in deed_events(&deed.event, &deed.messages) {
            let item = item(event);
            let Some(value) = item.data.pointer(pointer) else { continue };
            if known.contains(&event.id.as_str()) {
                continue;
            }
            known.push(&event.id);
            // A number is one, however it is written.
            let value = match value {
                Json::Number(number) => Number::from(number.value()).into(),
                other => other.clone(),
            };
            let name = format!("{pointer} {value}");
            let group = groups.entry(name.clone()).or_insert_with(|| Group {
                name,
                who: deed.who.clone(),
                items: Vec::new(),
                end: None,
            });
            group.items.push(item);
        }
    }
    groups.into_values().collect()
}

fn deed_events<'d>(
    event: &'d std::sync::Arc<Event>,
    messages: &'d [(MessageKind, std::sync::Arc<Event>)],
) -> impl Iterator<Item = &'d Event> {
    std::iter::once(&**event).chain(messages.iter().map(|(_, event)| &**event))
}

fn item(event: &Event) -> Item {
    Item { event_type: event.event_type.clone(), data: json_of(&event.data) }
}

fn shown_key(key: &Key) -> String {
    format!("`{key}`")
}

#[cfg(test)]
#[path = "invariant_tests.rs"]
mod tests;
