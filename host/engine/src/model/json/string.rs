//! Decodes JSON strings and writes them.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::scan::plain;

/// The characters of a JSON string, given with its quotes. None if an escape names half of a
/// surrogate pair, which is not a character.
#[must_use]
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let Some(first) = inner.find('\\') else { return Some(Cow::Borrowed(inner)) };
    let mut decoded = String::with_capacity(inner.len());
    let mut rest = inner;
    let mut next = Some(first);
    while let Some(place) = next {
        decoded.push_str(&rest[..place]);
        let (character, length) = escaped(&rest[place..])?;
        decoded.push(character);
        rest = &rest[place + length..];
        next = rest.find('\\');
    }
    decoded.push_str(rest);
    Some(Cow::Owned(decoded))
}

/// The character that an escape stands for, and the length of the escape in bytes.
fn escaped(text: &str) -> Option<(char, usize)> {
    let plain = match text.as_bytes().get(1)? {
        b'u' => return unicode(text),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        other => char::from(*other),
    };
    Some((plain, 2))
}

fn unicode(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| u16::from_str_radix(text.get(at..at + 4)?, 16).ok();
    let first = unit(2)?;
    if let Some(character) = char::from_u32(u32::from(first)) {
        return Some((character, 6));
    }
    let second = (text.get(6..8) == Some("\\u")).then(|| unit(8)).flatten()?;
    let pair = char::decode_utf16([first, second]).next()?.ok()?;
    Some((pair, 12))
}

/// Appends a text as a JSON string with quotes. It escapes only the characters that must be
/// escaped.
pub fn write(json: &mut String, text: &str) {
    json.push('"');
    let mut rest = text;
    loop {
        let (before, after) = rest.split_at(plain(rest.as_bytes()));
        json.push_str(before);
        let Some(character) = after.chars().next() else { break };
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            other => {
                let _ = write!(json, "\\u{:04x}", u32::from(other));
            }
        }
        rest = &after[1..];
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_decoded_and_lone_surrogates_are_not() {
        let cases = [
            (r#""plain ä""#, Some("plain ä")),
            (r#""\u00e4\/\\\"\n""#, Some("ä/\\\"\n")),
            (r#""a\ud83d\ude00b""#, Some("a\u{1F600}b")),
            (r#""\ud83d""#, None),
            (r#""\ude00\ud83d""#, None),
            (r#""\ud83d\u0041""#, None),
            (r#""\ud83dx\ude00""#, None),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in "\\PC*|[\u{0}-\u{ff}\u{2028}\u{ffff}]*") {
            let mut json = String::new();
            write(&mut json, &text);
            prop_assert_eq!(decode(&json).unwrap(), &*text);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
