//! Bounds of what one answer puts into the context of a language model.

use serde_json::Value;

/// Some 8,000 tokens.
const TEXT_BYTES_MAX: usize = 32 << 10;

/// An answer that fits.
#[derive(Debug)]
pub(super) struct Fitted {
    pub text: String,
    /// None if the JSON has what a value cannot hold, such as `1e400`.
    pub value: Option<Value>,
    pub is_shortened: bool,
}

/// How much of each part stays.
#[derive(Clone, Copy)]
struct Measure {
    characters: usize,
    items: usize,
    depth: usize,
}

/// Tried one after another until the answer fits.
const MEASURES: [Measure; 4] = [
    Measure { characters: 2_000, items: 200, depth: 12 },
    Measure { characters: 500, items: 50, depth: 8 },
    Measure { characters: 200, items: 10, depth: 6 },
    Measure { characters: 80, items: 3, depth: 4 },
];

/// The answer, shortened if it is too large.
///
/// # Errors
/// If it cannot be made to fit; says what to ask instead.
pub(super) fn fit(json: &str) -> Result<Fitted, String> {
    let value: Option<Value> = serde_json::from_str(json).ok();
    if json.len() <= TEXT_BYTES_MAX {
        return Ok(Fitted { text: json.to_owned(), value, is_shortened: false });
    }
    let too_large = || {
        format!(
            "the answer has {} bytes, and at most {TEXT_BYTES_MAX} are returned: ask for fewer rows, or \
             for one instance or dead letter",
            json.len()
        )
    };
    let value = value.ok_or_else(too_large)?;
    let shortened = MEASURES.iter().find_map(|measure| {
        let value = shortened(&value, *measure, measure.depth);
        let text = value.to_string();
        let fits = text.len() <= TEXT_BYTES_MAX;
        fits.then_some(Fitted { text, value: Some(value), is_shortened: true })
    });
    shortened.ok_or_else(too_large)
}

fn shortened(value: &Value, measure: Measure, depth: usize) -> Value {
    match value {
        Value::String(text) => match text.char_indices().nth(measure.characters) {
            Some((end, _)) => {
                Value::String(format!("{}… ({} bytes in all)", &text[..end], text.len()))
            }
            None => value.clone(),
        },
        Value::Array(_) | Value::Object(_) if depth == 0 => {
            Value::String(format!("… ({} bytes left out)", value.to_string().len()))
        }
        Value::Array(items) => {
            let items = items.iter().take(measure.items);
            Value::Array(items.map(|item| shortened(item, measure, depth - 1)).collect())
        }
        Value::Object(members) => {
            let members = members.iter().take(measure.items.max(MEMBERS_MIN));
            let shorten = |(name, value): (&String, &Value)| {
                (name.clone(), shortened(value, measure, depth - 1))
            };
            Value::Object(members.map(shorten).collect())
        }
        other => other.clone(),
    }
}

/// The shapes of the API have fewer members; a payload may have any number.
const MEMBERS_MIN: usize = 50;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_stays_as_it_is() {
        let json = r#"{"a":1.50,"b":"x"}"#;
        let fitted = fit(json).unwrap();
        assert_eq!((fitted.text.as_str(), fitted.is_shortened), (json, false));
        assert_eq!(fitted.value, Some(json!({"a": 1.5, "b": "x"})));
    }

    #[test]
    fn a_large_answer_keeps_its_shape_and_its_beginning() {
        let rows: Vec<Value> =
            (0..1_000).map(|n| json!({"key": n, "state": "ä".repeat(900)})).collect();
        let json = json!({"instances": rows, "next": "more"}).to_string();
        let fitted = fit(&json).unwrap();
        assert!(fitted.is_shortened && fitted.text.len() <= TEXT_BYTES_MAX);
        let value = fitted.value.unwrap();
        assert_eq!(value["next"], "more");
        assert_eq!(value["instances"][0]["key"], 0);
        let state = value["instances"][0]["state"].as_str().unwrap();
        assert!(state.ends_with("… (1800 bytes in all)"), "{state}");
    }

    #[test]
    fn deep_and_wide_data_fits_or_is_refused_with_advice() {
        let mut deep = json!("x".repeat(40_000));
        for _ in 0..100 {
            deep = json!({ "deeper": deep });
        }
        assert!(fit(&deep.to_string()).unwrap().is_shortened);
        let wide: serde_json::Map<String, Value> =
            (0..10_000).map(|n| (format!("{n}-{}", "y".repeat(2_000)), json!(n))).collect();
        let why = fit(&Value::Object(wide).to_string()).unwrap_err();
        assert!(why.contains("ask for fewer rows"), "{why}");
        let foreign = format!(r#"{{"n": 1e400, "text": "{}"}}"#, "z".repeat(TEXT_BYTES_MAX));
        assert!(fit(&foreign).is_err());
        assert_eq!(fit(r#"{"n": 1e400}"#).unwrap().value, None);
    }
}
