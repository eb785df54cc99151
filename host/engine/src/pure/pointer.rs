//! Pure: finds the value at a JSON Pointer (RFC 6901) in a JSON text, without building values.
//! The dispatcher uses it for every event, so it allocates as little as possible.

use std::borrow::Cow;

use crate::model::json::{Scanner, SyntaxError, check, decode};

/// The text of the value at a pointer; none if there is no value, or if `pointer` is not a JSON
/// Pointer. Of members with the same name the last counts.
///
/// # Errors
/// If any part of the bytes is not JSON.
pub fn find<'t>(json: &'t [u8], pointer: &str) -> Result<Option<&'t str>, SyntaxError> {
    let Some(mut path) = tokens(pointer) else { return check(json).map(|_| None) };
    let Some(first) = path.next() else {
        let text = check(json)?;
        return Scanner::new(text).value().map(Some);
    };
    // The first step passes over the whole text, and so checks it. Later steps read only the
    // part that was found.
    let text = whole(json)?;
    let mut scanner = Scanner::new(text);
    let mut found = step(&mut scanner, &first)?;
    scanner.end()?;
    for token in path {
        let Some(part) = found else { return Ok(None) };
        found = step(&mut Scanner::new(part), &token)?;
    }
    Ok(found)
}

/// Pointers that are looked up together, in one pass over a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointers(Vec<Pointer>);

/// The pointer as it was given, and its tokens; without tokens, it is no JSON Pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pointer(String, Option<Vec<String>>);

impl Pointers {
    /// Parses them. One that is no JSON Pointer never finds a value.
    pub fn new<'p>(pointers: impl IntoIterator<Item = &'p str>) -> Self {
        let parse = |pointer: &str| {
            let tokens = tokens(pointer).map(|tokens| tokens.map(Cow::into_owned).collect());
            Pointer(pointer.to_owned(), tokens)
        };
        Self(pointers.into_iter().map(parse).collect())
    }

    /// What [`find`] finds for each of them, in their order.
    ///
    /// # Errors
    /// If any part of the bytes is not JSON.
    pub fn find<'t>(&self, json: &'t [u8]) -> Result<Vec<Option<&'t str>>, SyntaxError> {
        let text = whole(json)?;
        let mut scanner = Scanner::new(text);
        if !scanner.enter_object() {
            return self.0.iter().map(|Pointer(pointer, _)| find(json, pointer)).collect();
        }
        let mut found = vec![None; self.0.len()];
        while let Some(name) = scanner.member()? {
            let value = scanner.value()?;
            for (found, Pointer(_, tokens)) in found.iter_mut().zip(&self.0) {
                let first = tokens.as_ref().and_then(|tokens| tokens.first());
                if first.is_some_and(|first| is_named(name, first)) {
                    *found = Some(value);
                }
            }
        }
        scanner.end()?;
        for (found, Pointer(_, tokens)) in found.iter_mut().zip(&self.0) {
            match tokens.as_deref() {
                Some([]) => *found = Some(Scanner::new(text).value()?),
                Some([_, rest @ ..]) => {
                    for token in rest {
                        let Some(part) = *found else { break };
                        *found = step(&mut Scanner::new(part), token)?;
                    }
                }
                None => {}
            }
        }
        Ok(found)
    }
}

fn whole(json: &[u8]) -> Result<&str, SyntaxError> {
    // `check` names the first byte that is not UTF-8.
    match std::str::from_utf8(json) {
        Ok(text) => Ok(text),
        Err(_) => check(json),
    }
}

/// Whether a text is a pointer: empty, or `/` before each token, with whole escapes.
#[must_use]
pub fn is_valid(pointer: &str) -> bool {
    let escapes = pointer.split('~').skip(1);
    let are_whole = |rest: &str| rest.starts_with('0') || rest.starts_with('1');
    (pointer.is_empty() || pointer.starts_with('/')) && escapes.into_iter().all(are_whole)
}

/// The reference tokens, unescaped. None if the text is not a JSON Pointer.
#[must_use]
pub fn tokens(pointer: &str) -> Option<impl Iterator<Item = Cow<'_, str>>> {
    let rest = match pointer {
        "" => None,
        other => Some(other.strip_prefix('/')?),
    };
    Some(rest.into_iter().flat_map(|rest| rest.split('/')).map(unescape))
}

fn unescape(token: &str) -> Cow<'_, str> {
    match token.contains('~') {
        true => Cow::Owned(token.replace("~1", "/").replace("~0", "~")),
        false => Cow::Borrowed(token),
    }
}

/// The member or element of the next value that a token names. Passes over the whole value.
fn step<'t>(scanner: &mut Scanner<'t>, token: &str) -> Result<Option<&'t str>, SyntaxError> {
    let mut found = None;
    if scanner.enter_object() {
        while let Some(name) = scanner.member()? {
            let value = scanner.value()?;
            if is_named(name, token) {
                found = Some(value);
            }
        }
    } else if scanner.enter_array() {
        // An array index has no leading zeros (RFC 6901, section 4).
        let is_index = token == "0" || !token.starts_with(['0', '+']);
        let wanted = token.parse::<usize>().ok().filter(|_| is_index);
        let mut index = 0;
        while scanner.element()? {
            let value = scanner.value()?;
            if wanted == Some(index) {
                found = Some(value);
            }
            index += 1;
        }
    } else {
        scanner.value()?;
    }
    Ok(found)
}

/// Whether a member's name, given as its text with the quotes, is this one.
fn is_named(name: &str, token: &str) -> bool {
    match name.contains('\\') {
        false => &name[1..name.len() - 1] == token,
        true => decode(name).is_some_and(|name| name == token),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c~/\"]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let names = "[a-c0~/\"]{0,2}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names, inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_tree_has(tree in tree(), pointer in "(/([a-c\"]|~0|~1|0|1|01|-)?){0,4}") {
            let text = serde_json::to_vec(&tree).unwrap();
            let found = find(&text, &pointer).unwrap();
            let found = found.map(|text| serde_json::from_str::<Value>(text).unwrap());
            prop_assert_eq!(found, tree.pointer(&pointer).cloned());
        }

        #[test]
        fn together_they_find_what_each_finds_alone(
            tree in tree(), cut in 0_usize..40,
            pointers in prop::collection::vec("(/([a-c\"]|~0|~1|0|1|~)?){0,3}|a", 0..5)
        ) {
            let mut text = serde_json::to_vec(&tree).unwrap();
            if cut < 5 {
                text.truncate(text.len().saturating_sub(cut));
            }
            let together = Pointers::new(pointers.iter().map(String::as_str)).find(&text);
            let alone: Result<Vec<_>, _> = pointers.iter().map(|own| find(&text, own)).collect();
            // Without a pointer, nothing looks at a text that is no object.
            if !pointers.is_empty() {
                prop_assert_eq!(together, alone);
            }
        }
    }

    #[test]
    fn the_last_of_the_same_name_counts_and_the_rest_must_be_json() {
        assert_eq!(find(br#"{"a":1,"a":2}"#, "/a").unwrap(), Some("2"));
        assert_eq!(find(br#"{"a":{"b":1},"a":{}}"#, "/a/b").unwrap(), None);
        assert!(find(br#"{"a":1,"b":}"#, "/a").is_err());
        assert!(find(br#"{"a":1} x"#, "/a").is_err());
        assert!(find(br#"{"a":1} x"#, "").is_err());
        assert!(find(b"{\"a\":\"\xff\"}", "/a").is_err());
    }

    #[test]
    fn what_other_parsers_refuse_hides_nothing() {
        let deep = format!(r#"{{"n":{}{},"id":7}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for text in
            [r#"{"x":1e400,"id":7}"#, r#"{"x":"\ud83d","id":7}"#, r#"{"\udead":1,"id":7}"#, &deep]
        {
            assert_eq!(find(text.as_bytes(), "/id").unwrap(), Some("7"));
        }
    }
}
