//! Pure: JSON as text. One definition of "is JSON" for the whole host, and functions that read
//! parts of a text and write texts without changing what they contain.
//!
//! The definition is the grammar of RFC 8259 and nothing more: a text is JSON at any depth of
//! its arrays, any size of its numbers and any pairing of its surrogates. The host must show,
//! edit and send what it accepted as it came. Parsers that build values accept less, so no
//! payload passes through one.

mod number;
mod scan;
mod string;

pub use number::{Decimal, integer};
pub use scan::{Scanner, SyntaxError};
pub use string::{decode, write};

/// The bytes as a JSON text. Blanks around the value are allowed.
///
/// # Errors
/// Names the first place where the bytes are not JSON.
pub fn check(bytes: &[u8]) -> Result<&str, SyntaxError> {
    let text = scan::utf8(bytes)?;
    let mut scanner = Scanner::new(text);
    scanner.value()?;
    scanner.end()?;
    Ok(text)
}

/// The bytes, if they are exactly one JSON value, without blanks around it. Such a text can be
/// part of another one, and a reader gets it back byte for byte.
#[must_use]
pub fn embeddable(bytes: &[u8]) -> Option<&str> {
    let ends = [bytes.first()?, bytes.last()?];
    match ends.iter().any(|byte| scan::is_blank(**byte)) {
        true => None,
        false => check(bytes).ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn the_grammar_alone_decides() {
        for good in [
            "null",
            " true ",
            "false",
            "-0",
            "0",
            "10.50",
            "1e400",
            "1E+5",
            "-1.5e-07",
            "\"\"",
            r#""\u00e4\"\\\/\b\f\n\r\t""#,
            r#""\ud83d""#,
            r#"{"\udead":[]}"#,
            "[]",
            "[ ]",
            "{ }",
            r#"{"a":1,"a":2}"#,
            "[1 , [2,{}] ]",
            "\t\r\n[]\n",
        ] {
            assert_eq!(check(good.as_bytes()), Ok(good));
        }
        for bad in [
            "",
            " ",
            "nul",
            "nulls",
            "True",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "1e+",
            "0x1",
            "\"",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12\"",
            "[",
            "[1",
            "[1,]",
            "[1 2]",
            "{",
            "{a:1}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1,2}",
            "[1}",
            "{\"a\":1]",
            "1 2",
            "[]]",
            "'a'",
            "\u{feff}1",
            "//\n1",
            "NaN",
            "Infinity",
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(check(b"\"\xff\"").is_err());
    }

    #[test]
    fn depth_has_no_limit_and_takes_no_stack() {
        for depth in [63, 64, 65, 127, 128, 129, 1_000_000] {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert!(check(text.as_bytes()).is_ok(), "{depth}");
            assert!(check(&text.as_bytes()[1..]).is_err(), "{depth}");
            let objects = format!("{}1{}", "{\"a\":[".repeat(depth), "]}".repeat(depth));
            assert!(check(objects.as_bytes()).is_ok(), "{depth}");
        }
    }

    #[test]
    fn a_mistake_is_found_by_line_and_column() {
        let error = check(b"{\n  \"a\": nope}").unwrap_err();
        assert_eq!(error.to_string(), "line 2, column 8: expected a value");
    }

    #[test]
    fn only_what_has_no_blanks_around_it_can_be_embedded() {
        assert_eq!(embeddable(b"{ }"), Some("{ }"));
        for text in ["", " 1", "1\n", "{", "\u{a0}1"] {
            assert_eq!(embeddable(text.as_bytes()), None);
        }
    }

    /// Texts that are JSON, or nearly.
    fn nearly() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec![
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            "\"a\"",
            "\"\\u12ab\"",
            "\"\\ud800\"",
            "\"\\q\"",
            "null",
            "true",
            "0",
            "-1",
            "1.5",
            "01",
            "1e9",
            "-",
            " ",
            "\n",
            "\u{1}",
            "ä",
            "\"ä\u{7f}\"",
            "\"",
        ]);
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        /// Skipping a value is the one thing for which that parser has the grammar alone.
        #[test]
        fn it_is_the_grammar_that_other_parsers_have(text in nearly()) {
            let other = serde_json::from_str::<&RawValue>(&text).is_ok();
            prop_assert_eq!(check(text.as_bytes()).is_ok(), other);
        }

        #[test]
        fn no_bytes_are_taken_for_other_than_they_are(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let other = serde_json::from_slice::<&RawValue>(&bytes).is_ok();
            prop_assert_eq!(check(&bytes).is_ok(), other);
        }
    }
}
