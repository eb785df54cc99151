//! Reads a JSON text value by value, without building anything from it.

use std::fmt;

use thiserror::Error;

/// Why and where a text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub struct SyntaxError {
    /// Counts from 1.
    pub line: usize,
    /// In bytes of the line, counting from 1.
    pub column: usize,
    /// What is wrong there, for people.
    pub reason: &'static str,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.reason)
    }
}

impl SyntaxError {
    // Counted once for each text that is no JSON.
    #[allow(clippy::naive_bytecount)]
    fn at(text: &[u8], offset: usize, reason: &'static str) -> Self {
        let before = &text[..offset.min(text.len())];
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        Self { line, column: before.len() - start + 1, reason }
    }
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, SyntaxError> {
    std::str::from_utf8(bytes)
        .map_err(|error| SyntaxError::at(bytes, error.valid_up_to(), "not UTF-8"))
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// A place in a text. Each call checks what it passes over. A caller that reaches the end of the
/// text by these calls has checked that all of it is JSON.
#[derive(Clone, Debug)]
pub struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    /// Begins at the start of the text.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Passes over blanks, and returns the byte that comes next. It shows the kind of the value
    /// that begins there. None at the end of the text.
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at)
            && is_blank(*byte)
        {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Passes over one value of any kind, and returns its text.
    ///
    /// # Errors
    /// If what comes next is not a complete value.
    pub fn value(&mut self) -> Result<&'t str, SyntaxError> {
        self.peek();
        let start = self.at;
        let mut open = Nesting::default();
        loop {
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    if self.peek() != Some(b'}') {
                        open.push(true);
                        self.name()?;
                        continue;
                    }
                    self.at += 1;
                }
                Some(b'[') => {
                    self.at += 1;
                    if self.peek() != Some(b']') {
                        open.push(false);
                        continue;
                    }
                    self.at += 1;
                }
                _ => self.scalar()?,
            }
            // A value is complete, and with it all those that it is the last of.
            loop {
                let Some(is_object) = open.last() else { return Ok(&self.text[start..self.at]) };
                match (self.peek(), is_object) {
                    (Some(b','), _) => {
                        self.at += 1;
                        if is_object {
                            self.name()?;
                        }
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        open.pop();
                    }
                    (_, true) => return Err(self.error("expected `,` or `}`")),
                    (_, false) => return Err(self.error("expected `,` or `]`")),
                }
            }
        }
    }

    /// Enters the object that comes next. False if something else comes next; then nothing
    /// changes.
    pub fn enter_object(&mut self) -> bool {
        self.enter(b'{')
    }

    /// Enters the array that comes next. False if something else comes next; then nothing
    /// changes.
    pub fn enter_array(&mut self) -> bool {
        self.enter(b'[')
    }

    fn enter(&mut self, bracket: u8) -> bool {
        let is_next = self.peek() == Some(bracket);
        self.at += usize::from(is_next);
        is_next
    }

    /// Within an object: the text of the next member's name, with its quotes; its value
    /// comes next. None where the object ends.
    ///
    /// # Errors
    /// If neither is there.
    pub fn member(&mut self) -> Result<Option<&'t str>, SyntaxError> {
        if !self.more(b'{', b'}', "expected `,` or `}`")? {
            return Ok(None);
        }
        self.name().map(Some)
    }

    /// Within an array: whether an element comes next. False where the array ends.
    ///
    /// # Errors
    /// If neither is there.
    pub fn element(&mut self) -> Result<bool, SyntaxError> {
        self.more(b'[', b']', "expected `,` or `]`")
    }

    /// The byte before this place says whether a comma must come next: an opening bracket there
    /// belongs to this object or array, because all within it has been passed over.
    fn more(&mut self, open: u8, close: u8, reason: &'static str) -> Result<bool, SyntaxError> {
        let bytes = self.text.as_bytes();
        let before = bytes[..self.at].iter().rposition(|byte| !is_blank(*byte));
        let is_first = before.is_some_and(|place| bytes[place] == open);
        match self.peek() {
            Some(next) if next == close => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !is_first => {
                self.at += 1;
                Ok(true)
            }
            _ if is_first => Ok(true),
            _ => Err(self.error(reason)),
        }
    }

    /// # Errors
    /// If anything but blanks follows.
    pub fn end(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("expected the end of the text")),
        }
    }

    /// An error that names this place.
    #[must_use]
    pub fn error(&self, reason: &'static str) -> SyntaxError {
        SyntaxError::at(self.text.as_bytes(), self.at, reason)
    }

    /// A member's name and the colon behind it.
    fn name(&mut self) -> Result<&'t str, SyntaxError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a member's name"));
        }
        let start = self.at;
        self.string()?;
        let name = &self.text[start..self.at];
        match self.peek() {
            Some(b':') => {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.error("expected `:`")),
        }
    }

    fn scalar(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => Err(self.error("expected a value")),
        }
    }

    fn literal(&mut self, literal: &str) -> Result<(), SyntaxError> {
        if !self.text[self.at..].starts_with(literal) {
            return Err(self.error("expected a value"));
        }
        self.at += literal.len();
        Ok(())
    }

    fn string(&mut self) -> Result<(), SyntaxError> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            self.at += plain(&bytes[self.at..]);
            match bytes.get(self.at) {
                None => return Err(self.error("the string has no end")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.error("a control character in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        let bytes = self.text.as_bytes();
        let length = match bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => 6,
            _ => return Err(self.error("an unknown escape in a string")),
        };
        let digits = bytes.get(self.at + 2..self.at + length);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(self.error("an unknown escape in a string"));
        }
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Result<(), SyntaxError> {
        let bytes = self.text.as_bytes();
        let digits = |at: usize| bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let next = |at: usize| bytes.get(at).copied();
        let mut at = self.at + usize::from(next(self.at) == Some(b'-'));
        // No digit may follow a leading zero.
        let whole = if next(at) == Some(b'0') { 1 } else { digits(at) };
        at += whole;
        let mut complete = whole > 0;
        if next(at) == Some(b'.') {
            let fraction = digits(at + 1);
            complete &= fraction > 0;
            at += 1 + fraction;
        }
        if matches!(next(at), Some(b'e' | b'E')) {
            at += 1 + usize::from(matches!(next(at + 1), Some(b'+' | b'-')));
            let exponent = digits(at);
            complete &= exponent > 0;
            at += exponent;
        }
        if !complete || next(at).is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.error("a number is incomplete or has leading zeros"));
        }
        self.at = at;
        Ok(())
    }
}

/// How many bytes come before the next quote, backslash or control character. Eight bytes are
/// checked together, because most of a payload is plain text.
pub(super) fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let mut count = 0;
    while let Some(chunk) = bytes[count..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        // Of the bytes that meet a condition, the lowest has its high bit set for certain.
        let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let found = (below(word, b' ') | is(b'"') | is(b'\\')) & HIGH;
        if found != 0 {
            return count + found.trailing_zeros() as usize / 8;
        }
        count += 8;
    }
    let special = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
    count + bytes[count..].iter().position(special).unwrap_or(bytes.len() - count)
}

/// The open brackets, with a bit for each: an object (1) or an array (0).
#[derive(Default)]
struct Nesting {
    /// The innermost 64 or fewer.
    bits: u64,
    used: u32,
    outer: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, is_object: bool) {
        if self.used == u64::BITS {
            self.outer.push(self.bits);
            self.used = 0;
        }
        self.bits = (self.bits << 1) | u64::from(is_object);
        self.used += 1;
    }

    fn pop(&mut self) {
        self.bits >>= 1;
        self.used -= 1;
        if self.used == 0
            && let Some(bits) = self.outer.pop()
        {
            self.bits = bits;
            self.used = u64::BITS;
        }
    }

    fn last(&self) -> Option<bool> {
        (self.used > 0).then_some(self.bits & 1 == 1)
    }
}
