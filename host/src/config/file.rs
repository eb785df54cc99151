//! `sagabox.toml` as it is written. What it means together, the parent module resolves.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    pub store: Option<String>,
    pub listen: Option<String>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub retry: Retry,
    #[serde(default)]
    pub sink: BTreeMap<String, Spanned<SinkSection>>,
    #[serde(default)]
    pub routes: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub lookup: BTreeMap<String, Spanned<LookupSection>>,
    /// Arbitrary: each plugin's own business.
    #[serde(default)]
    pub plugin: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub body_bytes: Option<NonZeroUsize>,
    pub batch_events: Option<NonZeroUsize>,
    pub shards: Option<NonZeroUsize>,
    pub lookup_timeout_ms: Option<u64>,
    pub drain_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    pub attempts: Option<NonZeroU32>,
    pub delay_ms_min: Option<Spanned<u64>>,
    pub delay_ms_max: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkSection {
    pub url: Option<String>,
    pub file: Option<PathBuf>,
    pub stdout: Option<bool>,
    pub timeout_ms: Option<u64>,
    pub concurrency: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupSection {
    pub url: Option<String>,
    pub table: Option<PathBuf>,
    pub timeout_ms: Option<u64>,
    #[serde(default)]
    pub plugins: BTreeSet<String>,
}

/// A mistake in the file, and where.
#[derive(Debug)]
pub struct Fault {
    pub span: Option<Range<usize>>,
    pub reason: String,
}

impl Fault {
    pub fn at(span: Range<usize>, reason: String) -> Self {
        Self { span: Some(span), reason }
    }

    /// `file:line: reason`.
    pub fn describe(&self, file: &str, text: &str) -> String {
        match &self.span {
            Some(span) => format!("{file}:{}: {}", line_of(text, span.start), self.reason),
            None => format!("{file}: {}", self.reason),
        }
    }
}

impl ConfigFile {
    pub fn parse(text: &str) -> Result<Self, Fault> {
        toml::from_str(text).map_err(|error| {
            let span = error.span();
            let key = span.as_ref().and_then(|span| key_at(text, span.start));
            // The parser's message may have several lines; the first says what it is.
            let message = error.message().lines().next().unwrap_or_default();
            let reason = match key {
                Some(key) => format!("`{key}`: {message}"),
                None => message.to_owned(),
            };
            Fault { span, reason }
        })
    }
}

fn line_of(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|&byte| byte == b'\n').count() + 1
}

/// The key whose line this is, with the table that it stands in.
fn key_at(text: &str, place: usize) -> Option<String> {
    let lines: Vec<_> = text.lines().take(line_of(text, place)).map(str::trim).collect();
    let (last, before) = lines.split_last()?;
    let header = |line: &&str| line.starts_with('[') && line.ends_with(']');
    if header(last) {
        return Some(last.trim_matches(['[', ']']).to_owned());
    }
    let (key, _) = last.split_once('=')?;
    let table = before.iter().rev().find(|line| header(line));
    let prefix =
        table.map(|line| format!("{}.", line.trim_matches(['[', ']']))).unwrap_or_default();
    Some(format!("{prefix}{}", key.trim()))
}
