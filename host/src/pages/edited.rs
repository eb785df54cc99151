//! Pure: merges an edited text, as a browser sends it, with the original, so that unedited parts do
//! not change.
//!
//! A browser sends every line break of a text field as CR LF, whatever the text had. So the lines
//! before the first and behind the last change keep their own line breaks, and lines between them
//! end with LF.

/// The text that the reader means.
#[must_use]
pub(super) fn restored(original: &str, sent: &str) -> String {
    let (before, after): (Vec<Line>, Vec<Line>) = (lines(original), lines(sent));
    let is_same = |(one, other): &(&Line, &Line)| one.is_like(other);
    let begin = before.iter().zip(&after).take_while(is_same).count();
    let (rest, changed) = (&before[begin..], &after[begin..]);
    let end = rest.iter().rev().zip(changed.iter().rev()).take_while(is_same).count();
    let mut text: String = before[..begin].iter().map(Line::whole).collect();
    for line in &changed[..changed.len() - end] {
        text.push_str(line.text);
        if !line.end.is_empty() {
            text.push('\n');
        }
    }
    text.extend(rest[rest.len() - end..].iter().map(Line::whole));
    // A return that was kept, and a line break behind it, look like one.
    match plain(&text) == plain(sent) {
        true => text,
        false => plain(sent),
    }
}

/// The text with LF for each line break.
fn plain(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// A line and its line break.
struct Line<'t> {
    text: &'t str,
    /// Empty at the end of the text.
    end: &'t str,
    both: &'t str,
}

impl<'t> Line<'t> {
    /// Whether they differ at most in the kind of line break.
    fn is_like(&self, other: &Self) -> bool {
        self.text == other.text && self.end.is_empty() == other.end.is_empty()
    }

    fn whole(&self) -> &'t str {
        self.both
    }
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut rest = text;
    loop {
        let at = rest.find(['\r', '\n']).unwrap_or(rest.len());
        let length = match &rest.as_bytes()[at..] {
            [] => 0,
            [b'\r', b'\n', ..] => 2,
            _ => 1,
        };
        let (both, after) = rest.split_at(at + length);
        let (text, end) = both.split_at(at);
        lines.push(Line { text, end, both });
        if end.is_empty() {
            return lines;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The form in which a browser sends it.
    fn sent(text: &str) -> String {
        plain(text).replace('\n', "\r\n")
    }

    #[track_caller]
    fn check(original: &str, edited: &str, expected: &str) {
        assert_eq!(restored(original, &sent(edited)), expected);
    }

    #[test]
    fn lines_that_were_not_edited_keep_their_line_breaks() {
        check(
            "{\r\"a\":1,\r\n\"b\":2,\n\"c\":3}",
            "{\n\"a\":1,\n\"b\":7,\n\"c\":3}",
            "{\r\"a\":1,\r\n\"b\":7,\n\"c\":3}",
        );
        check("a\rb\rc", "a\nx\ny\nc", "a\rx\ny\nc");
        check("a\rb\rc", "a\nc", "a\rc");
        check("a\rb", "a\nb\n", "a\rb\n");
        check("a", "", "");
        check("\r", "\n\n", "\n\n");
        check("", "a\nb", "a\nb");
    }

    proptest! {
        #[test]
        fn a_text_that_was_not_edited_is_as_it_was(text in "[ab\r\n]{0,12}") {
            prop_assert_eq!(restored(&text, &sent(&text)), text);
        }

        /// Except for line breaks, the result is what the reader wrote.
        #[test]
        fn what_was_edited_is_what_the_reader_means(
            text in "[ab\r\n]{0,12}",
            edited in "[ab\n]{0,12}",
        ) {
            prop_assert_eq!(sent(&restored(&text, &sent(&edited))), sent(&edited));
        }
    }
}
