//! JSON in lines, for people.

/// The members with events. They stay as the host wrote them, byte for byte, because operators
/// edit them and send them back.
const UNTOUCHED: [&str; 2] = ["\"event\"", "\"edited\""];

/// What is nested more deeply is not indented further: the depth of JSON has no limit, and indentation
/// by it would grow with its square.
const LEVELS_MAX: usize = 32;

/// The JSON with each member and item on its own line. Texts, numbers and events stay as they
/// are written.
pub(crate) fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let (mut is_text, mut is_escaped) = (false, false);
    let break_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth.min(LEVELS_MAX)));
    };
    let mut all = json.chars();
    while let Some(character) = all.next() {
        if is_text {
            out.push(character);
            is_text = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
            continue;
        }
        match character {
            '"' => {
                is_text = true;
                out.push('"');
            }
            '{' | '[' => {
                out.push(character);
                let end = if character == '{' { '}' } else { ']' };
                match all.as_str().trim_start().strip_prefix(end) {
                    Some(rest) => {
                        out.push(end);
                        all = rest.chars();
                    }
                    None => {
                        depth += 1;
                        break_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                break_line(&mut out, depth);
            }
            ':' => {
                let is_untouched = UNTOUCHED.iter().any(|name| out.ends_with(name));
                out.push_str(": ");
                if is_untouched {
                    let (value, rest) = first_value(all.as_str());
                    out.push_str(value);
                    all = rest.chars();
                }
            }
            space if space.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

/// Splits the value at the start of a text from what follows it.
fn first_value(json: &str) -> (&str, &str) {
    let json = json.trim_start();
    let mut depth: usize = 0;
    let (mut is_text, mut is_escaped) = (false, false);
    for (index, character) in json.char_indices() {
        match character {
            _ if is_text => {
                is_text = is_escaped || character != '"';
                is_escaped = !is_escaped && character == '\\';
            }
            '"' => is_text = true,
            '{' | '[' => depth += 1,
            '}' | ']' | ',' if depth == 0 => return (json[..index].trim_end(), &json[index..]),
            '}' | ']' => depth -= 1,
            _ => {}
        }
    }
    (json.trim_end(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_json_takes_no_more_than_its_size_many_times() {
        const DEPTH: usize = 20_000;
        let json = format!("{}1{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
        let lines = indented(&json);
        assert!(lines.len() < json.len() * (2 * LEVELS_MAX + 2), "{}", lines.len());
        let compact: String = lines.split_whitespace().collect();
        assert_eq!(compact, json);
    }
}
