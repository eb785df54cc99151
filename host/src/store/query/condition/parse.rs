//! Reads a condition. `not` binds more than `and`, and `and` more than `or`.

use std::fmt;

use sagabox_engine::model::json::Scanner;
use thiserror::Error;

use super::super::value::Value;
use super::{Comparison, Condition, Operand, WORDS};

/// Conditions come with the query of a request.
const BYTES_MAX: usize = 4_096;
/// Parentheses and `not` in one another: each is a call on the stack.
const DEPTH_MAX: usize = 64;

/// What is wrong with a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConditionError {
    /// In characters, counting from 1.
    pub column: usize,
    pub reason: String,
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.column, self.reason)
    }
}

pub(super) fn parse(text: &str) -> Result<Condition, ConditionError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    if text.len() > BYTES_MAX {
        return Err(
            parser.error(format!("has {} bytes; at most {BYTES_MAX} are accepted", text.len()))
        );
    }
    let condition = parser.any()?;
    match parser.peek() {
        None => Ok(condition),
        Some(')') => Err(parser.error("a `)` without its `(`")),
        Some(_) => Err(parser.error("expected `and`, `or` or the end")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn any(&mut self) -> Result<Condition, ConditionError> {
        let mut condition = self.all()?;
        while self.word("or") {
            condition = Condition::Or(Box::new(condition), Box::new(self.all()?));
        }
        Ok(condition)
    }

    fn all(&mut self) -> Result<Condition, ConditionError> {
        let mut condition = self.one()?;
        while self.word("and") {
            condition = Condition::And(Box::new(condition), Box::new(self.one()?));
        }
        Ok(condition)
    }

    fn one(&mut self) -> Result<Condition, ConditionError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("more than {DEPTH_MAX} `not` and `(` in one another")));
        }
        let condition = if self.word("not") {
            Condition::Not(Box::new(self.one()?))
        } else if self.peek() == Some('(') {
            self.at += 1;
            let inner = self.any()?;
            if self.peek() != Some(')') {
                return Err(self.error("expected `)`, `and` or `or`"));
            }
            self.at += 1;
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn comparison(&mut self) -> Result<Condition, ConditionError> {
        let left = self.operand()?;
        self.peek();
        let rest = &self.text[self.at..];
        let found = Comparison::ALL.into_iter().find(|own| rest.starts_with(own.as_str()));
        let Some(comparison) = found else {
            return Err(self.error(format!(
                "expected =, !=, <, <=, > or >= after `{left}`; a boolean is compared as well: `{left} = true`"
            )));
        };
        self.at += comparison.as_str().len();
        if self.text[self.at..].starts_with('=') {
            return Err(self.error("two values are equal with a single `=`"));
        }
        Ok(Condition::Compare(left, comparison, self.operand()?))
    }

    fn operand(&mut self) -> Result<Operand, ConditionError> {
        match self.peek() {
            Some('"') => self.literal("a string has its closing quote, and escapes as in JSON"),
            Some('-' | '0'..='9') => self.literal("a number is written as in JSON"),
            Some('`') => {
                let rest = &self.text[self.at + 1..];
                let name = rest.split_once('`').map(|(name, _)| name);
                let name = name
                    .filter(|name| is_name(name))
                    .ok_or_else(|| self.error("expected the name of a field and its closing `"))?;
                self.at += name.len() + 2;
                Ok(Operand::Field(name.to_owned()))
            }
            Some('\'') => Err(self.error("strings have double quotes, as in JSON")),
            Some(c) if is_first(c) => {
                let name = self.next_word();
                let literal = match name {
                    "true" | "false" => Some(Value::Boolean(name == "true")),
                    "null" => None,
                    _ if WORDS.contains(&name) => {
                        return Err(self.error(format!(
                            "expected a field or a value, found `{name}`; a field of that name is \
                             written with backticks"
                        )));
                    }
                    _ => {
                        self.at += name.len();
                        return Ok(Operand::Field(name.to_owned()));
                    }
                };
                self.at += name.len();
                Ok(Operand::Literal(literal))
            }
            Some(other) => Err(self.error(format!("expected a field or a value, found `{other}`"))),
            None => Err(self.error("expected a field or a value, and it ends here")),
        }
    }

    fn literal(&mut self, rule: &str) -> Result<Operand, ConditionError> {
        let rest = &self.text[self.at..];
        let text = Scanner::new(rest).value().map_err(|_| self.error(rule))?;
        let is_whole = text.starts_with('"') || !rest[text.len()..].starts_with(is_inner);
        let value = Value::parse(text).filter(|_| is_whole).ok_or_else(|| self.error(rule))?;
        self.at += text.len();
        Ok(Operand::Literal(Some(value)))
    }

    /// Passes over a word of the language, if it comes next.
    fn word(&mut self, word: &str) -> bool {
        self.peek();
        let is_next = self.next_word() == word;
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    fn next_word(&self) -> &'t str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !is_inner(c)).unwrap_or(rest.len());
        if rest.starts_with(is_first) { &rest[..end] } else { "" }
    }

    /// Passes over blanks, and returns what comes next.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        let rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.at = self.text.len() - rest.len();
        rest.chars().next()
    }

    fn error(&self, reason: impl Into<String>) -> ConditionError {
        let column = self.text[..self.at].chars().count() + 1;
        ConditionError { column, reason: reason.into() }
    }
}

fn is_first(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_inner(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_name(name: &str) -> bool {
    name.starts_with(is_first) && name.chars().all(is_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        refused("", "at character 1: expected a field or a value, and it ends here");
        refused("paid <", "at character 7: expected a field or a value, and it ends here");
        refused(
            "paid",
            "at character 5: expected =, !=, <, <=, > or >= after `paid`; a boolean is compared as \
             well: `paid = true`",
        );
        refused("paid == 1", "at character 7: two values are equal with a single `=`");
        refused("ä = 1", "at character 1: expected a field or a value, found `ä`");
        refused("a = 'x'", "at character 5: strings have double quotes, as in JSON");
        refused(
            "a = \"x",
            "at character 5: a string has its closing quote, and escapes as in JSON",
        );
        for number in ["01", "1.", "1e", "-", "1x", "1e9999999999999999999999999999999"] {
            refused(&format!("a = {number}"), "at character 5: a number is written as in JSON");
        }
        refused("a = 1 b = 2", "at character 7: expected `and`, `or` or the end");
        refused("(a = 1", "at character 7: expected `)`, `and` or `or`");
        refused("a = 1)", "at character 6: a `)` without its `(`");
        refused(
            "a = 1 and and = 2",
            "at character 11: expected a field or a value, found `and`; a field of that name is \
             written with backticks",
        );
        refused("`a = 1", "at character 1: expected the name of a field and its closing `");
        refused(&"(".repeat(100), "at character 65: more than 64 `not` and `(` in one another");
        refused(&" ".repeat(5_000), "at character 1: has 5000 bytes; at most 4096 are accepted");
    }

    #[test]
    fn many_are_read_one_after_another() {
        let text = vec!["a=1"; 500].join(" or ");
        let condition = parse(&text).unwrap();
        assert!(!condition.holds(&|_: &str| None));
        let nested = format!("{}a=1{}", "not(".repeat(31), ")".repeat(31));
        assert!(parse(&nested).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_does_more_than_be_refused(text in "[()=<>!a\"'`0-9. -]{0,30}|\\PC{0,20}|(not |and |or |\\(|a=1 ){0,12}") {
            if let Ok(condition) = parse(&text) {
                prop_assert_eq!(parse(&condition.to_string()), Ok(condition));
            }
        }
    }
}
