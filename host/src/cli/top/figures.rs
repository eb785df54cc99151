//! What a host says of itself at one moment, as `sagabox top` shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::api::client::{Client, ClientError};
use crate::cli::output::Row;

/// More dead letters than anyone scrolls through.
const DEAD_LETTERS: &str = "200";
const NOT_FOUND: u16 = 404;

/// The answers of one moment.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Since the command began.
    pub at: Duration,
    pub accounts: Row,
    pub plugins: Row,
    pub queues: Row,
    pub sinks: Row,
    pub lookups: Row,
    pub dead_letters: Row,
    /// Empty for a host without pauses.
    pub pauses: Row,
    /// Why the host accepts no events, if it does not.
    pub refuses: Option<String>,
}

impl Figures {
    /// # Errors
    /// If the host does not answer, or the token may not read it.
    pub(super) async fn read(client: &Client, at: Duration) -> Result<Self, ClientError> {
        let refuses = match client.ready().await {
            Err(error @ ClientError::Unreachable { .. }) => return Err(error),
            Err(error) => Some(error.to_string()),
            Ok(()) => None,
        };
        Ok(Self {
            at,
            accounts: client.get("/accounts", &[]).await?,
            plugins: client.get("/plugins", &[]).await?,
            queues: client.get("/queues", &[]).await?,
            sinks: client.get("/sinks", &[]).await?,
            lookups: client.get("/lookups", &[]).await?,
            dead_letters: client.get("/dead-letters", &[("limit", DEAD_LETTERS)]).await?,
            pauses: match client.get("/pauses", &[]).await {
                // A host of an earlier version.
                Err(ClientError::Refused { problem, .. }) if problem.status == NOT_FOUND => {
                    Row::default()
                }
                pauses => pauses?,
            },
            refuses,
        })
    }

    /// The sinks that do not answer, each with since when and why.
    pub(super) fn sinks_down(&self) -> impl Iterator<Item = (Row, Row)> {
        let sinks = self.sinks.rows("sinks").into_iter();
        sinks.filter_map(|row| row.object("down").map(|down| (row, down)))
    }

    /// The sum of a figure over all plugins or sinks.
    pub(super) fn sum(&self, list: &str, figures: &[&str]) -> u64 {
        let rows = self.accounts.rows(list);
        rows.iter().flat_map(|row| figures.iter().map(|name| number(row, name))).sum()
    }

    /// The rows of a list of the accounts, by the name of plugin or sink.
    pub(super) fn accounts_by(&self, list: &str, name: &str) -> BTreeMap<String, Row> {
        let rows = self.accounts.rows(list).into_iter();
        rows.map(|row| (text(&row, name), row)).collect()
    }
}

/// A count; 0 if there is none.
pub(super) fn number(row: &Row, name: &str) -> u64 {
    row.get(name).and_then(|value| value.get().parse().ok()).unwrap_or_default()
}

/// A name as the host has it, for comparing.
pub(super) fn text(row: &Row, name: &str) -> String {
    let json = row.get(name).map(RawValue::get).unwrap_or_default();
    serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())
}

/// How much a figure has grown in a second since an earlier moment.
#[expect(clippy::cast_precision_loss, reason = "shown to one digit")]
pub(super) fn per_second(now: u64, before: Option<u64>, between: Duration) -> Option<f64> {
    // It falls when the host was replaced by one with another store.
    let grown = now.checked_sub(before?)?;
    (!between.is_zero()).then(|| grown as f64 / between.as_secs_f64())
}
