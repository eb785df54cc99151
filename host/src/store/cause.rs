//! Pure: what the reasons of dead letters have in common, so that dead letters of one mistake are one
//! group, however many keys it has hit.
//!
//! A cause is a reason without what differs from dead letter to dead letter: the dead letter's own key, the id of
//! its event and its subject, words with digits in them, and what the plugin wrote in that call. A
//! status of HTTP stays: 404 and 503 are different mistakes.

use crate::decisions::kinds::reason_alone;

/// Stands for what was taken out.
const GAP: char = '…';
/// A group's name on a screen. Reasons that begin alike for so long have the same cause.
const CAUSE_CHARS_MAX: usize = 200;
/// Before the status of an HTTP answer.
const ANSWERED: [&str; 3] = ["answered", "status", "HTTP"];
/// A shorter name could be a part of any word.
const NAME_CHARS_MIN: usize = 2;

/// `names` are texts of the dead letter itself, which its reason may repeat.
#[must_use]
pub(super) fn cause<'n>(reason: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let mut text = one_line(reason_alone(reason));
    let mut names: Vec<&str> = names.into_iter().collect();
    // A longer one may contain a shorter one.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for name in names.into_iter().filter(|name| name.chars().count() >= NAME_CHARS_MIN) {
        text = without(&text, name);
    }
    let (mut cause, mut chars, mut before) = (String::new(), 0, "");
    for word in words(&text) {
        let is_status = ANSWERED.contains(&before) && is_status(word);
        let is_gap = word.contains(|c: char| c.is_ascii_digit()) && !is_status;
        if !word.trim().is_empty() {
            before = word;
        }
        if is_gap && cause.ends_with(GAP) {
            continue;
        }
        let piece = if is_gap { "…" } else { word };
        chars += piece.chars().count();
        if chars > CAUSE_CHARS_MAX {
            // Of one long word, as much as there is room for.
            let rest = if cause.is_empty() { piece } else { "" };
            cause.extend(rest.chars().take(CAUSE_CHARS_MAX));
            break;
        }
        cause.push_str(piece);
    }
    cause.trim_end().to_owned()
}

/// On one line, with one blank for several.
fn one_line(text: &str) -> String {
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    text.split(is_blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The text with a gap for each place where the name stands as a whole word.
fn without(text: &str, name: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (head, tail) = (&rest[..at], &rest[at + name.len()..]);
        let is_whole = !head.ends_with(is_of_word) && !tail.starts_with(is_of_word);
        output.push_str(head);
        match is_whole {
            true => output.push(GAP),
            false => output.push_str(name),
        }
        rest = tail;
    }
    output + rest
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '+' | '%')
}

/// Words, and what stands between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_word = rest.chars().next()?;
        let is_word = is_of_word(is_word);
        let end = rest.find(|c| is_of_word(c) != is_word).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

fn is_status(word: &str) -> bool {
    let number = word.trim_end_matches(['.', ':']);
    number.len() == 3 && number.parse().is_ok_and(|status: u16| (100..600).contains(&status))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(reason: &str, expected: &str) {
        assert_eq!(cause(reason, ["order-7", "alpha", "a"]), expected);
    }

    #[test]
    fn what_differs_from_dead_letter_to_dead_letter_is_taken_out() {
        check(
            "missing field `items` at line 1 column 20",
            "missing field `items` at line … column …",
        );
        check("order order-7 is unknown", "order … is unknown");
        check("no stock of alpha (alphabet)", "no stock of … (alphabet)");
        check("a key has a letter", "a key has a letter");
        check("took 1.5s of 2s on 10.0.0.1:8080", "took … of … on …");
        check("id 6f9619ff-8b86-d011-b42d-00c04fc964ff twice", "id … twice");
        check("at /items/3/price: 2026-01-31T12:00:00.000Z", "at /items/…/price: …");
    }

    #[test]
    fn a_status_stays() {
        let reason = "POST http://pay.example:80/o/17 answered 503 Service Unavailable: try 2";
        check(reason, "POST http://…/o/… answered 503 Service Unavailable: try …");
        check("HTTP 404: no 404", "HTTP 404: no …");
    }

    #[test]
    fn what_the_plugin_wrote_is_no_part_of_it() {
        let stopped = "the plugin was stopped: it trapped: wasm `unreachable` instruction executed";
        check(&format!("{stopped}; it wrote: panicked at src/lib.rs:7 | for alpha"), stopped);
    }

    #[test]
    fn it_is_one_short_line() {
        check("one\n two\t\u{0}three  ", "one two three");
        check("1 2 3", "… … …");
        check("", "");
        let long = cause(&"word ".repeat(100), []);
        assert_eq!(long.chars().count(), CAUSE_CHARS_MAX - 1, "without the blank at its end");
        assert_eq!(cause(&"ä".repeat(300), []), "ä".repeat(CAUSE_CHARS_MAX));
    }

    proptest! {
        /// Of a group it is the name: the cause of a cause is itself.
        #[test]
        fn it_is_stable_and_bounded(reason in "\\PC{0,300}", name in "[a-z0-9-]{0,8}") {
            let first = cause(&reason, [name.as_str()]);
            prop_assert!(first.chars().count() <= CAUSE_CHARS_MAX);
            prop_assert_eq!(cause(&first, []), first);
        }

        #[test]
        fn numbers_make_no_difference(one in 0u64.., other in 0u64..) {
            let of = |n: u64| cause(&format!("order {n} of {n} is lost"), []);
            prop_assert_eq!(of(one), of(other));
        }
    }
}
