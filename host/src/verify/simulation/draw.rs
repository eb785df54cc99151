//! Values that chance draws, and texts with places for them.

use sagabox_engine::model::Timestamp;

use super::choices::Choices;
use crate::decisions::json::{Json, Object};

/// How a value is drawn. The plainest is the first that it can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Draw {
    /// Not drawn at all, but it may have places.
    Is(Json),
    OneOf(Vec<Json>),
    /// From the first number to the last.
    Number(i64, i64),
    /// Some of these, in their order; at least and at most so many.
    SomeOf(Vec<Json>, u64, u64),
    /// A list of values made of `$index`; at least and at most so many.
    ListOf(Json, u64, u64),
}

impl Draw {
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(value: &Json) -> Result<Self, String> {
        let Some(members) = value.as_object() else { return Ok(Self::Is(value.clone())) };
        let known = |names: &[&str]| match members.keys().find(|name| !names.contains(&&***name)) {
            Some(other) => Err(format!("`{other}` is not known beside {}", names[0])),
            None => Ok(()),
        };
        let count = |name: &str, otherwise: u64| match members.get(name) {
            None => Ok(otherwise),
            Some(count) => count.as_u64().ok_or_else(|| format!("{name}: is not a count")),
        };
        let bounded = |(least, most): (u64, u64)| match least <= most {
            true => Ok((least, most)),
            false => Err(format!("at least {least} and at most {most}: nothing is both")),
        };
        let list = |name: &str| match members.get(name).and_then(Json::as_array) {
            Some(list) if !list.is_empty() => Ok(list.clone()),
            _ => Err(format!("{name}: is not a list, or is empty")),
        };
        if members.contains_key("one_of") {
            known(&["one_of"])?;
            Ok(Self::OneOf(list("one_of")?))
        } else if members.contains_key("some_of") {
            known(&["some_of", "least", "most"])?;
            let list = list("some_of")?;
            let (least, most) = bounded((count("least", 1)?, count("most", list.len() as u64)?))?;
            if most > list.len() as u64 {
                return Err(format!("at most {most} of {} cannot be taken", list.len()));
            }
            Ok(Self::SomeOf(list, least, most))
        } else if let Some(item) = members.get("list_of") {
            known(&["list_of", "least", "most"])?;
            let (least, most) = bounded((count("least", 1)?, count("most", 3)?))?;
            Ok(Self::ListOf(item.clone(), least, most))
        } else if members.contains_key("from") {
            known(&["from", "to"])?;
            let number = |name: &str| members.get(name).and_then(Json::as_i64);
            match (number("from"), number("to")) {
                (Some(from), Some(to)) if from <= to => Ok(Self::Number(from, to)),
                _ => Err("from, to: are not two integers, the smaller one first".to_owned()),
            }
        } else {
            Ok(Self::Is(value.clone()))
        }
    }

    /// The names in its places.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        match self {
            Self::Is(value) | Self::ListOf(value, ..) => places(value),
            Self::OneOf(values) | Self::SomeOf(values, ..) => {
                values.iter().flat_map(places).collect()
            }
            Self::Number(..) => Vec::new(),
        }
    }

    /// # Errors
    /// If a place cannot be filled.
    pub fn draw(
        &self,
        choices: &Choices,
        name: &str,
        at: Timestamp,
        known: &dyn Fn(&str) -> Option<Json>,
    ) -> Result<Json, String> {
        let quiet = |_: u64| String::new();
        match self {
            Self::Is(value) => fill(value, known),
            Self::OneOf(values) => {
                let picked = choices.pick(name, values.len() as u64, at, quiet);
                fill(&values[usize::try_from(picked).unwrap_or(0)], known)
            }
            Self::Number(from, to) => {
                let more = choices.pick(name, from.abs_diff(*to).saturating_add(1), at, quiet);
                Ok(from.saturating_add_unsigned(more).into())
            }
            Self::SomeOf(values, least, most) => {
                let count = least + choices.pick(name, most - least + 1, at, quiet);
                let mut left: Vec<usize> = (0..values.len()).collect();
                while left.len() as u64 > count {
                    // Which go: the last ones, in the plainest run.
                    let place = format!("{name} without {}", left.len());
                    let back = choices.pick(&place, left.len() as u64, at, quiet);
                    let back = usize::try_from(back).unwrap_or(0);
                    left.remove(left.len() - 1 - back);
                }
                left.into_iter().map(|index| fill(&values[index], known)).collect()
            }
            Self::ListOf(item, least, most) => {
                let count = least + choices.pick(name, most - least + 1, at, quiet);
                let items = (1..=count).map(|index| {
                    fill(item, &|name| match name {
                        "index" => Some(index.into()),
                        _ => known(name),
                    })
                });
                items.collect()
            }
        }
    }
}

/// The same with every place filled: `$name` alone by the value itself, within a longer
/// text by its text; `$$` is a dollar.
///
/// # Errors
/// Names the place that nothing is known for.
pub(crate) fn fill(value: &Json, known: &dyn Fn(&str) -> Option<Json>) -> Result<Json, String> {
    match value {
        Json::String(text) => fill_text(text, known),
        Json::Array(items) => items.iter().map(|item| fill(item, known)).collect(),
        Json::Object(members) => {
            let filled =
                members.iter().map(|(name, value)| Ok((name.clone(), fill(value, known)?)));
            filled.collect::<Result<Object, String>>().map(Json::Object)
        }
        other => Ok(other.clone()),
    }
}

/// The names in the places of a value.
#[must_use]
pub(crate) fn places(value: &Json) -> Vec<String> {
    match value {
        Json::String(text) => {
            let parts = parts(text).into_iter();
            parts.filter_map(|part| part.is_place.then_some(part.text)).collect()
        }
        Json::Array(items) => items.iter().flat_map(places).collect(),
        Json::Object(members) => members.values().flat_map(places).collect(),
        _ => Vec::new(),
    }
}

fn fill_text(text: &str, known: &dyn Fn(&str) -> Option<Json>) -> Result<Json, String> {
    let find = |name: &str| {
        known(name).ok_or_else(|| format!("nothing is known as `${name}` (in `{text}`)"))
    };
    let parts = parts(text);
    if let [only] = &parts[..]
        && only.is_place
    {
        return find(&only.text);
    }
    let mut filled = String::new();
    for part in parts {
        match part.is_place {
            false => filled.push_str(&part.text),
            true => match find(&part.text)? {
                Json::String(text) => filled.push_str(&text),
                other => filled.push_str(&other.to_string()),
            },
        }
    }
    Ok(filled.into())
}

struct Part {
    text: String,
    is_place: bool,
}

/// A text cut at its places. `$/…` is a JSON Pointer and goes to the end of the text.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = vec![Part { text: String::new(), is_place: false }];
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        parts.last_mut().expect("one is there").text.push_str(before);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = match after.starts_with('/') {
            true => after.len(),
            false => after.find(|c| !is_name(c)).unwrap_or(after.len()),
        };
        if end == 0 {
            parts.last_mut().expect("one is there").text.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
            continue;
        }
        parts.push(Part { text: after[..end].to_owned(), is_place: true });
        parts.push(Part { text: String::new(), is_place: false });
        rest = &after[end..];
    }
    parts.last_mut().expect("one is there").text.push_str(rest);
    parts.retain(|part| part.is_place || !part.text.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use crate::decisions::json::json;

    use super::*;

    fn known(name: &str) -> Option<Json> {
        match name {
            "order" => Some("o-1".into()),
            "total" => Some(7.into()),
            "/a/b" => Some(json!([1])),
            _ => None,
        }
    }

    #[test]
    fn places_are_filled_by_values_or_by_texts() {
        let filled = |value: Json| fill(&value, &known);
        assert_eq!(
            filled(json!({"id": "$order", "n": ["$total"]})),
            Ok(json!({"id": "o-1", "n": [7]}))
        );
        assert_eq!(filled(json!("item-$order-$total.")), Ok(json!("item-o-1-7.")));
        assert_eq!(filled(json!("$/a/b")), Ok(json!([1])));
        assert_eq!(filled(json!("5$ or $$total")), Ok(json!("5$ or $total")));
        assert_eq!(filled(json!("")), Ok(json!("")));
        let error = filled(json!({"a": "$none"})).unwrap_err();
        assert_eq!(error, "nothing is known as `$none` (in `$none`)");
        assert_eq!(places(&json!({"a": ["$x-$y", "$$z", 1]})), ["x", "y"]);
    }

    #[test]
    fn what_is_drawn_is_within_its_bounds_and_the_first_in_the_plainest_run() {
        let drawn = |draw: Json, choices: &Choices, name: &str| {
            Draw::parse(&draw).unwrap().draw(choices, name, Timestamp(0), &known).unwrap()
        };
        let plain = Choices::new(1, Some(std::collections::BTreeSet::new()));
        for (draw, plainest) in [
            (json!("x-$order"), json!("x-o-1")),
            (json!({"one_of": ["a", "b"]}), json!("a")),
            (json!({"from": -2, "to": 5}), json!(-2)),
            (json!({"some_of": [1, 2, 3], "least": 2}), json!([1, 2])),
            (json!({"list_of": "$order-$index", "least": 2, "most": 4}), json!(["o-1-1", "o-1-2"])),
            (json!({"other": 1}), json!({"other": 1})),
        ] {
            assert_eq!(drawn(draw, &plain, "a"), plainest);
        }
        let free = Choices::new(1, None);
        let mut lengths = std::collections::BTreeSet::new();
        for index in 0..100 {
            let number = drawn(json!({"from": 1, "to": 3}), &free, &format!("n{index}"));
            assert!((1..=3).contains(&number.as_i64().unwrap()));
            let some = drawn(json!({"some_of": [1, 2, 3]}), &free, &format!("s{index}"));
            let some: Vec<i64> = serde_json::from_str(&some.to_string()).unwrap();
            assert!(some.is_sorted() && !some.is_empty());
            lengths.insert(some.len());
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn what_cannot_be_drawn_is_said() {
        for (draw, why) in [
            (json!({"one_of": []}), "one_of: is not a list"),
            (json!({"one_of": [1], "most": 2}), "`most` is not known beside one_of"),
            (json!({"from": 5, "to": 1}), "from, to: are not two integers"),
            (json!({"from": 5}), "from, to: are not two integers"),
            (json!({"some_of": [1], "most": 2}), "at most 2 of 1 cannot be taken"),
            (json!({"list_of": "a", "least": 4}), "at least 4 and at most 3"),
            (json!({"list_of": "a", "least": "x"}), "least: is not a count"),
        ] {
            let error = Draw::parse(&draw).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
