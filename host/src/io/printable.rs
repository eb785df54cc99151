//! Escapes text from outside for a terminal or a log.
//!
//! Keys, names, reasons and answers of sinks can be any text. On a terminal, control characters
//! move the cursor, set the title or hide what was printed; a line break forges a line; marks
//! that turn the direction of writing show a text as another one. Text for people is therefore
//! escaped where it is printed, and only here.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text on one line. Characters that are not printable become `\n`, `\t` or `\u{1b}`.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    replace(text, is_unprintable, |out, character| match character {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        other => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(other));
        }
    })
}

/// The same, but the text keeps its lines.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|character| character != '\n' && is_unprintable(character)) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    Cow::Owned(lines.join("\n"))
}

/// The same for JSON. The value stays the same, because unprintable characters can only be
/// inside of strings, where they can be escaped.
pub(crate) fn printable_json(json: &str) -> Cow<'_, str> {
    let is_inside = |character| character != '\n' && is_unprintable(character);
    replace(json, is_inside, push_units)
}

/// Any text for a page: it keeps its lines and tabs. The escapes are those of JSON, so that JSON in it
/// means the same.
pub(crate) fn printable_text(text: &str) -> Cow<'_, str> {
    let is_hidden =
        |character| !matches!(character, '\n' | '\r' | '\t') && is_unprintable(character);
    replace(text, is_hidden, push_units)
}

fn push_units(out: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

fn replace(
    text: &str,
    is_replaced: impl Fn(char) -> bool,
    escape: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    let Some(first) = text.find(&is_replaced) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for character in text[first..].chars() {
        match is_replaced(character) {
            true => escape(&mut out, character),
            false => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// Source: the Unicode character database: general category Cc; of Cf, the characters that turn
/// the direction of writing or are invisible, except the joiners that scripts and emoji need; Zl
/// and Zp; and the noncharacters.
fn is_unprintable(character: char) -> bool {
    // Nearly all printed characters are these.
    if matches!(character, ' '..='~') {
        return false;
    }
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{fdd0}'..='\u{fdef}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
        || u32::from(character) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(printable(text), expected);
    }

    #[test]
    fn what_moves_hides_or_forges_is_escaped() {
        check("\u{1b}]0;pwned\u{7}\u{1b}[2Jkey", "\\u{1b}]0;pwned\\u{7}\\u{1b}[2Jkey");
        check("a\r\nfake: 0\tdead\0", "a\\r\\nfake: 0\\tdead\\u{0}");
        check("\u{7f}\u{9b}31m\u{85}", "\\u{7f}\\u{9b}31m\\u{85}");
        check("\u{202e}gnp.exe\u{2069}\u{200f}", "\\u{202e}gnp.exe\\u{2069}\\u{200f}");
        check("a\u{2028}b\u{feff}\u{200b}\u{e0041}", "a\\u{2028}b\\u{feff}\\u{200b}\\u{e0041}");
        check("\u{fdd0}\u{ffff}\u{10fffe}", "\\u{fdd0}\\u{ffff}\\u{10fffe}");
    }

    #[test]
    fn what_people_write_stays() {
        for text in ["", "order-1", "größer / 订单 / заказ / طلب", "👩‍👩‍👧", "می‌خواهم", "C:\\temp"]
        {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text}");
        }
        assert_eq!(printable_lines("a\nb\r\n\u{1b}"), "a\nb\\r\n\\u{1b}");
        assert_eq!(printable_text("a\n\tb\r\n\u{1b}"), "a\n\tb\r\n\\u001b");
    }

    proptest! {
        #[test]
        fn nothing_unprintable_is_left_of_any_text(text in any::<String>()) {
            prop_assert!(!printable(&text).chars().any(is_unprintable));
            let lines = printable_lines(&text);
            prop_assert_eq!(lines.split('\n').count(), text.split('\n').count());
            prop_assert!(!lines.replace('\n', "").chars().any(is_unprintable));
        }

        #[test]
        fn json_stays_what_it_is(text in any::<String>()) {
            let json = serde_json::to_string_pretty(&[&text]).unwrap();
            let printed = printable_json(&json);
            prop_assert!(!printed.replace('\n', "").chars().any(is_unprintable));
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&printed).unwrap(), [text]);
        }
    }
}
