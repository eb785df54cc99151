//! Makes characters visible that a reader would not see, or that turn the direction of writing: a key
//! that shows them could look like another one. Keys, reasons and data of events can have them.
//!
//! Only text is changed. What a form sends back stays as it is: values of attributes, of text areas
//! and of options. The markup is that of the templates, which escape every value, so a `<` begins an
//! element.

use std::borrow::Cow;

use crate::io::printable::printable_text;

/// Elements whose text is a value.
const VALUES: [&str; 2] = ["textarea", "option"];

/// The page with such characters as `\u202e`.
pub(super) fn visible(html: String) -> String {
    if let Cow::Borrowed(_) = printable_text(&html) {
        return html;
    }
    let mut out = String::with_capacity(html.len() + 64);
    let mut rest = html.as_str();
    while let Some(begin) = rest.find('<') {
        out.push_str(&printable_text(&rest[..begin]));
        rest = &rest[begin..];
        let end = end_of_markup(rest);
        out.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    out.push_str(&printable_text(rest));
    out
}

/// Where the tag ends with which the text begins; if it begins a value, the value.
fn end_of_markup(text: &str) -> usize {
    let end_of_tag = |from: usize| text[from..].find('>').map_or(text.len(), |at| from + at + 1);
    let is_value = |name: &&str| {
        let after = text[1..].strip_prefix(name);
        after.is_some_and(|after| after.starts_with([' ', '>', '\n']))
    };
    let Some(name) = VALUES.into_iter().find(|name| is_value(name)) else { return end_of_tag(0) };
    let end = text.find(&format!("</{name}"));
    end.map_or(text.len(), end_of_tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(html: &str, expected: &str) {
        assert_eq!(visible(html.to_owned()), expected);
    }

    #[test]
    fn what_hides_or_turns_text_is_shown() {
        check("<td>a\u{202e}b</td>\n<p>\u{200b}</p>", "<td>a\\u202eb</td>\n<p>\\u200b</p>");
        check("\u{1b}[31m<b>x\u{2066}</b>\u{feff}", "\\u001b[31m<b>x\\u2066</b>\\ufeff");
        check("<pre>one\n\ttwo\u{85}</pre>", "<pre>one\n\ttwo\\u0085</pre>");
    }

    #[test]
    fn what_a_form_sends_back_stays() {
        let value = "<input value=\"a\u{202e}b\">";
        let area = "<textarea id=\"e\">&#60;\u{202e}\n</textarea>";
        let option = "<option>\u{200b}</option><option selected>\u{200b}</option>";
        for same in [value, area, option] {
            check(same, same);
            check(&format!("\u{202e}{same}\u{202e}"), &format!("\\u202e{same}\\u202e"));
        }
        check("<textarea>\u{202e}", "<textarea>\u{202e}");
    }

    #[test]
    fn what_people_write_stays() {
        for text in ["<p>größer / 订单 / طلب</p>", "👩‍👩‍👧", "<p", "", "<options>a</options>"]
        {
            check(text, text);
        }
    }
}
