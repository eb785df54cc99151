//! Payloads that YAML data cannot state: their bytes as a text or in base64, and large ones by
//! repetition.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use crate::decisions::json::Json;

/// Members that state a payload's bytes.
pub(super) const TEXT: &str = "data_text";
pub(super) const BASE64_TEXT: &str = "data_base64";

/// More than a host accepts of one event or decision, and little enough to keep in memory often.
const BYTES_MAX: usize = 16 << 20;
/// How much of a payload a difference shows.
const SHOWN_CHARACTERS: usize = 60;

/// The bytes that `data_text` or `data_base64` states; none if neither is there.
///
/// # Errors
/// Says how they are written.
pub(super) fn stated(text: Option<&Json>, base64: Option<&Json>) -> Result<Option<Bytes>, String> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => written(TEXT, text).map(|text| Some(text.into())),
        (None, Some(base64)) => {
            let text = written(BASE64_TEXT, base64)?;
            let decoded = BASE64.decode(&text);
            let decoded = decoded.map_err(|error| format!("{BASE64_TEXT}: {error}"))?;
            Ok(Some(decoded.into()))
        }
        (Some(_), Some(_)) => Err(format!("use only one of `{TEXT}` and `{BASE64_TEXT}`")),
    }
}

/// A text, or a list of parts: texts, and `{repeat: text, times: number}`.
fn written(name: &str, value: &Json) -> Result<String, String> {
    let wrong = || {
        format!(
            "{name}: `{}` is not a text, nor a list of texts and {{repeat: text, times: number}}",
            shown(value.to_string().as_bytes())
        )
    };
    let parts = match value {
        Json::String(text) => return Ok(text.clone()),
        Json::Array(parts) => parts,
        _ => return Err(wrong()),
    };
    let mut all = String::new();
    for part in parts {
        let (text, times) = match part {
            Json::String(text) => (text.as_str(), 1),
            Json::Object(members)
                if members.keys().all(|name| ["repeat", "times"].contains(&name.as_str())) =>
            {
                let text = members.get("repeat").and_then(Json::as_str).ok_or_else(wrong)?;
                let times = members.get("times").and_then(Json::as_u64).ok_or_else(wrong)?;
                (text, usize::try_from(times).map_err(|_| wrong())?)
            }
            _ => return Err(wrong()),
        };
        let total = text.len().checked_mul(times).and_then(|more| more.checked_add(all.len()));
        if total.is_none_or(|total| total > BYTES_MAX) {
            return Err(format!("{name}: has more than {BYTES_MAX} bytes"));
        }
        all.push_str(&text.repeat(times));
    }
    Ok(all)
}

/// Where two payloads differ; none if they are the same bytes.
pub(super) fn difference(place: &str, expected: &[u8], found: &[u8]) -> Option<String> {
    if expected == found {
        return None;
    }
    let same = expected.iter().zip(found).take_while(|(one, other)| one == other).count();
    // Some of what is the same shows where in the payload it is.
    let from = same.saturating_sub(SHOWN_CHARACTERS / 3);
    Some(format!(
        "{place}: expected {} bytes, found {}; they differ at byte {same}: expected `{}`, found `{}`",
        expected.len(),
        found.len(),
        shown(&expected[from..]),
        shown(&found[from..]),
    ))
}

fn shown(bytes: &[u8]) -> String {
    let part = &bytes[..bytes.len().min(4 * SHOWN_CHARACTERS)];
    let text = String::from_utf8_lossy(part);
    let short: String = text.chars().take(SHOWN_CHARACTERS).collect();
    match short.len() < bytes.len() {
        true => format!("{short}…"),
        false => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::json::json;

    #[track_caller]
    fn check(text: &Json, expected: Result<&str, &str>) {
        let found = stated(Some(text), None).map(Option::unwrap);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected.as_bytes()),
            (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn a_payload_is_stated_as_text_as_parts_or_in_base64() {
        check(&json!("{ \"a\":1.0 }"), Ok("{ \"a\":1.0 }"));
        check(&json!([]), Ok(""));
        check(&json!(["<", {"repeat": "ab", "times": 3}, ">"]), Ok("<ababab>"));
        let binary = stated(None, Some(&json!([{"repeat": "AAH/", "times": 2}]))).unwrap();
        assert_eq!(binary.unwrap(), [0, 1, 255, 0, 1, 255].as_slice());
        assert_eq!(stated(None, None), Ok(None));
    }

    #[test]
    fn what_is_written_otherwise_is_an_error() {
        for wrong in
            [json!(7), json!([7]), json!([{"repeat": "a"}]), json!([{"repeat": "a", "times": -1}])]
        {
            check(&wrong, Err("is not a text, nor a list of texts"));
        }
        check(&json!([{"repeat": "a", "times": 1, "more": 1}]), Err("is not a text"));
        check(&json!([{"repeat": "abcd", "times": u64::MAX}]), Err("has more than"));
        assert!(stated(None, Some(&json!("A"))).unwrap_err().starts_with("data_base64: "));
        assert!(stated(Some(&json!("")), Some(&json!(""))).unwrap_err().contains("only one"));
    }

    #[test]
    fn a_difference_shows_its_place() {
        assert_eq!(difference("sends[0]", b"same", b"same"), None);
        assert_eq!(
            difference("sends[0]", br#"{"n":1.0}"#, br#"{"n":1}"#).unwrap(),
            "sends[0]: expected 9 bytes, found 7; they differ at byte 6: expected `{\"n\":1.0}`, found `{\"n\":1}`"
        );
        let long = difference("x", "a".repeat(1_000).as_bytes(), "a".repeat(999).as_bytes());
        assert!(long.unwrap().len() < 200);
    }
}
