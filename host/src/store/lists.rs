//! Lists of the store, page by page, for people: instances and dead letters.
//!
//! A page is bounded in rows and in bytes: a dead letter can have megabytes.

use std::collections::BTreeSet;
use std::time::Instant;

use sagabox_engine::seams::store::ReadError;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteRow;

use super::admin::{Admin, failed};
use super::rows::{self, integer};

/// Of a page's rows together, but for the first: a few events of the largest size.
pub(super) const PAGE_BYTES: u64 = 4 << 20;

/// Some rows, and where the following page begins, if there is one.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<R, N> {
    pub rows: Vec<R>,
    pub next: Option<N>,
}

#[derive(Debug, Serialize)]
pub struct InstanceRow {
    pub key: String,
    pub status: String,
    /// Decisions so far.
    pub version: u64,
    pub started_at: u64,
    pub updated_at: u64,
}

#[derive(Debug, Serialize)]
pub struct DeadLetterRow {
    pub id: u64,
    /// `event` or `message`.
    pub kind: &'static str,
    pub plugin: String,
    pub key: Option<String>,
    pub position: u64,
    pub sink: Option<String>,
    pub reason: String,
    pub attempts: u64,
    pub plugin_version: String,
    pub at: u64,
    pub status: String,
    pub resolved_by: Option<String>,
    pub resolved_reason: Option<String>,
    pub event: Box<RawValue>,
    /// What an operator put in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited: Option<Box<RawValue>>,
}

/// What is given must hold; a letter must come after `after`.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    pub ids: Option<Vec<u64>>,
    pub plugin: Option<String>,
    /// The version of the plugin that failed.
    pub plugin_version: Option<String>,
    pub status: Option<&'static str>,
    pub sink: Option<String>,
    pub key: Option<String>,
    pub event_type: Option<String>,
    pub reason_contains: Option<String>,
    pub after: u64,
    pub limit: u32,
}

impl<R, N> Page<R, N> {
    /// Of one row more than a page has, if there are so many.
    pub(super) fn of(mut rows: Vec<R>, limit: u32, place: impl Fn(&R) -> N) -> Self {
        let is_last = rows.len() <= limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| !is_last).map(place);
        Self { rows, next }
    }
}

impl Admin {
    /// Instances in the order of their keys.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn instances(
        &self,
        plugin: &str,
        status: Option<&'static str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<InstanceRow, String>, ReadError> {
        let (started, mut rows) = (Instant::now(), Vec::new());
        let mut after = after.unwrap_or_default().to_owned();
        loop {
            let end = match status {
                Some(_) => self.scan_instances(plugin, &after).await?,
                None => None,
            };
            let sql = "SELECT key, status, version, started_at, updated_at FROM instances \
                       WHERE plugin = ?1 AND key > ?2 AND (?5 IS NULL OR key <= ?5) \
                       AND (?3 IS NULL OR status = ?3) ORDER BY key LIMIT ?4";
            let query = sqlx::query(sql)
                .bind(plugin.to_owned())
                .bind(after)
                .bind(status)
                .bind(limit + 1)
                .bind(end.clone());
            let found = query.fetch_all(&self.pool).await.map_err(failed)?;
            let found: Result<Vec<_>, ReadError> = found.iter().map(instance_row).collect();
            rows.extend(found?);
            let Some(end) = end.filter(|_| rows.len() <= limit as usize) else {
                return Ok(Page::of(rows, limit, |row: &InstanceRow| row.key.clone()));
            };
            if started.elapsed() >= self.scan.time {
                return Ok(Page { rows, next: Some(end) });
            }
            after = end;
        }
    }

    /// The key up to which to look next; none: to the end.
    async fn scan_instances(&self, plugin: &str, after: &str) -> Result<Option<String>, ReadError> {
        let sql = "SELECT key FROM instances WHERE plugin = ? AND key > ? ORDER BY key \
                   LIMIT 1 OFFSET ?";
        let query = sqlx::query(sql).bind(plugin.to_owned()).bind(after.to_owned());
        let row = query.bind(self.scan.rows - 1).fetch_optional(&self.pool).await;
        row.map_err(failed)?.map(|row| rows::text(&row, "key")).transpose()
    }

    /// The dead letter up to which to look next; none: to the end.
    async fn scan_letters(&self, after: u64) -> Result<Option<u64>, ReadError> {
        let sql = "SELECT id FROM dead_letters WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?";
        let query = sqlx::query(sql).bind(integer(after)).bind(self.scan.rows - 1);
        let row = query.fetch_optional(&self.pool).await;
        row.map_err(failed)?.map(|row| rows::number(&row, "id")).transpose()
    }

    /// Dead letters in the order in which they came.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Page<DeadLetterRow, u64>, ReadError> {
        let Page { rows: mut sizes, mut next } = self.letter_sizes(filter).await?;
        let mut bytes = 0;
        let mut fits = |(_, size): &(u64, u64)| {
            bytes += size;
            bytes <= PAGE_BYTES
        };
        let count = sizes.iter().take_while(|row| fits(row)).count().max(1);
        if count < sizes.len() {
            sizes.truncate(count);
            next = sizes.last().map(|(id, _)| *id);
        }
        let ids: Vec<u64> = sizes.iter().map(|(id, _)| *id).collect();
        let sql = "SELECT * FROM dead_letters WHERE id IN (SELECT value FROM json_each(?)) \
                   ORDER BY id";
        let query = sqlx::query(sql).bind(rows::json(&ids));
        let found = query.fetch_all(&self.pool).await.map_err(failed)?;
        let rows: Result<Vec<_>, ReadError> = found.iter().map(letter_row).collect();
        Ok(Page { rows: rows?, next })
    }

    /// The ids of dead letters, in the order in which they came.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn dead_letter_ids(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Page<u64, u64>, ReadError> {
        let Page { rows, next } = self.letter_sizes(filter).await?;
        Ok(Page { rows: rows.into_iter().map(|(id, _)| id).collect(), next })
    }

    /// Id and bytes of each.
    async fn letter_sizes(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Page<(u64, u64), u64>, ReadError> {
        let (started, mut after, mut rows) = (Instant::now(), filter.after, Vec::new());
        loop {
            let end = match filter.ids {
                Some(_) => None,
                None => self.scan_letters(after).await?,
            };
            rows.extend(self.letter_sizes_between(filter, after, end).await?);
            let Some(end) = end.filter(|_| rows.len() <= filter.limit as usize) else {
                return Ok(Page::of(rows, filter.limit, |(id, _): &(u64, u64)| *id));
            };
            if started.elapsed() >= self.scan.time {
                return Ok(Page { rows, next: Some(end) });
            }
            after = end;
        }
    }

    async fn letter_sizes_between(
        &self,
        filter: &DeadLetterFilter,
        after: u64,
        end: Option<u64>,
    ) -> Result<Vec<(u64, u64)>, ReadError> {
        // With an `OR` for the ids, too, SQLite would look at all letters for one of them.
        let among = match &filter.ids {
            Some(_) => "id IN (SELECT value FROM json_each(?1)) AND",
            None => "?1 IS NULL AND",
        };
        let sql = format!(
            "SELECT id, octet_length(event) + coalesce(octet_length(edited), 0) \
             + octet_length(reason) AS bytes FROM dead_letters WHERE {among} id > ?2 \
             AND (?11 IS NULL OR id <= ?11) \
             AND (?3 IS NULL OR plugin = ?3) AND (?4 IS NULL OR plugin_version = ?4) \
             AND (?5 IS NULL OR status = ?5) AND (?6 IS NULL OR sink = ?6) \
             AND (?7 IS NULL OR key = ?7) AND (?8 IS NULL OR event_type = ?8) \
             AND (?9 IS NULL OR instr(reason, ?9) > 0) ORDER BY id LIMIT ?10"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(filter.ids.as_ref().map(rows::json))
            .bind(integer(after))
            .bind(filter.plugin.clone())
            .bind(filter.plugin_version.clone())
            .bind(filter.status)
            .bind(filter.sink.clone())
            .bind(filter.key.clone())
            .bind(filter.event_type.clone())
            .bind(filter.reason_contains.clone())
            .bind(filter.limit.saturating_add(1))
            .bind(end.map(integer));
        let found = query.fetch_all(&self.pool).await.map_err(failed)?;
        let row = |row| Ok((rows::number(row, "id")?, rows::number(row, "bytes")?));
        found.iter().map(row).collect()
    }

    /// The plugins that have served.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn plugins(&self) -> Result<BTreeSet<String>, ReadError> {
        self.names("SELECT plugin AS name FROM plugins").await
    }

    /// The sinks and queues that have had messages.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn sinks(&self) -> Result<BTreeSet<String>, ReadError> {
        self.names("SELECT sink AS name FROM outbox_totals UNION SELECT sink FROM sinks").await
    }

    async fn names(&self, sql: &'static str) -> Result<BTreeSet<String>, ReadError> {
        let found = sqlx::query(sql).fetch_all(&self.pool).await.map_err(failed)?;
        found.iter().map(|row| rows::text(row, "name")).collect()
    }
}

fn instance_row(row: &SqliteRow) -> Result<InstanceRow, ReadError> {
    Ok(InstanceRow {
        key: rows::text(row, "key")?,
        status: rows::text(row, "status")?,
        version: rows::number(row, "version")?,
        started_at: rows::number(row, "started_at")?,
        updated_at: rows::number(row, "updated_at")?,
    })
}

fn letter_row(row: &SqliteRow) -> Result<DeadLetterRow, ReadError> {
    let sink = rows::optional(row, "sink")?;
    Ok(DeadLetterRow {
        id: rows::number(row, "id")?,
        kind: if sink.is_some() { "message" } else { "event" },
        plugin: rows::text(row, "plugin")?,
        key: rows::optional(row, "key")?,
        position: rows::number(row, "position")?,
        sink,
        reason: rows::text(row, "reason")?,
        attempts: rows::number(row, "attempts")?,
        plugin_version: rows::text(row, "plugin_version")?,
        at: rows::number(row, "at")?,
        status: rows::text(row, "status")?,
        resolved_by: rows::optional(row, "resolved_by")?,
        resolved_reason: rows::optional(row, "resolved_reason")?,
        event: RawValue::from_string(rows::text(row, "event")?).map_err(rows::damaged)?,
        edited: rows::optional(row, "edited")?
            .map(|text| RawValue::from_string(text).map_err(rows::damaged))
            .transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use sagabox_engine::model::{
        DeadLetter, DeadLetterId, DeadLetterStatus, DeadLetterSubject, Event, Instance,
        InstanceStatus, Position, Timestamp,
    };
    use sagabox_engine::seams::store::{Batch, Store as _};

    use super::*;
    use crate::store::SqliteStore;
    use crate::store::admin::Scan;

    /// A letter whose event is as large as the largest of a request.
    fn letter(id: u64, bytes: usize) -> Arc<DeadLetter> {
        let event = Event::from_json(br#"{"specversion":"1.0","id":"e","source":"s","type":"t"}"#);
        // No parser makes a number of this.
        let data = format!(r#"[1e400, "{}"]"#, "x".repeat(bytes));
        let event = Event { data: data.into(), ..event.unwrap() };
        Arc::new(DeadLetter {
            id: DeadLetterId(id),
            subject: DeadLetterSubject::Event,
            plugin: "p".into(),
            key: Some(format!("k-{id}").as_str().into()),
            position: Position(id),
            reason: "a test".to_owned(),
            attempts: 1,
            plugin_version: "1".into(),
            at: Timestamp(0),
            status: DeadLetterStatus::Open,
            resolved_by: None,
            resolved_reason: None,
            event: Arc::new(event),
            hops: sagabox_engine::model::Hops::OUTSIDE,
            edited: None,
        })
    }

    async fn pages(sizes: &[usize], filter: DeadLetterFilter) -> Vec<Vec<u64>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let store = SqliteStore::open(path.to_str().unwrap()).await.unwrap();
        let letters = (1..).zip(sizes).map(|(id, bytes)| letter(id, *bytes)).collect();
        store.commit(&Batch { dead_letters: letters, ..Batch::default() }).await.unwrap();
        let admin = Admin::new(&store).await.unwrap();
        let (mut pages, mut after) = (Vec::new(), 0);
        loop {
            let filter = DeadLetterFilter { after, limit: 3, ..filter.clone() };
            let page = admin.dead_letters(&filter).await.unwrap();
            pages.push(page.rows.iter().map(|row| row.id).collect());
            serde_json::to_string(&page.rows).unwrap();
            match page.next {
                Some(next) => after = next,
                None => return pages,
            }
        }
    }

    /// However few rows one request looks at, all pages together have what matches.
    #[tokio::test]
    async fn a_list_that_looks_through_many_rows_says_how_far_it_came() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let store = SqliteStore::open(path.to_str().unwrap()).await.unwrap();
        let letters = (1..=20).map(|id| letter(id, 1));
        let instance = |number: u64| Instance {
            key: format!("k-{number:02}").as_str().into(),
            status: match number % 7 {
                0 => InstanceStatus::Ended,
                _ => InstanceStatus::Running,
            },
            started: Position(1),
            state: None,
            decided: Position(1),
            place: Position(1),
            version: 1,
            started_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        let batch = Batch {
            dead_letters: letters.collect(),
            instances: (1..=20).map(|n| ("p".into(), Arc::new(instance(n)))).collect(),
            ..Batch::default()
        };
        store.commit(&batch).await.unwrap();
        let mut admin = Admin::new(&store).await.unwrap();
        let whole = Scan { rows: 3, ..Scan::default() };
        let a_bit = Scan { time: Duration::ZERO, ..whole };
        for (scan, pages) in [(whole, 1), (a_bit, 7)] {
            admin.scan = scan;
            let (mut found, mut after, mut count) = (Vec::new(), 0, 0);
            loop {
                let key = Some("k-19".to_owned());
                let filter = DeadLetterFilter { key, after, limit: 10, ..Default::default() };
                let Page { rows, next } = admin.dead_letters(&filter).await.unwrap();
                found.extend(rows.iter().map(|row| row.id));
                count += 1;
                let Some(next) = next else { break };
                after = next;
            }
            assert_eq!((found, count), (vec![19], pages), "{scan:?}");

            let (mut found, mut after, mut count) = (Vec::new(), None, 0);
            loop {
                let page = admin.instances("p", Some("ended"), after.as_deref(), 10).await;
                let Page { rows, next } = page.unwrap();
                found.extend(rows.into_iter().map(|row| row.key));
                count += 1;
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!((found, count), (vec!["k-07".into(), "k-14".into()], pages), "{scan:?}");
        }
    }

    #[tokio::test]
    async fn a_page_is_bounded_in_rows_and_in_bytes_and_none_is_left_out() {
        let mib = 1 << 20;
        let sizes = [1, 2, 3 * mib, mib / 2, 3 * mib, 3 * mib, 9 * mib, 1, 1, 1, 1];
        let expected: [&[u64]; 6] = [&[1, 2, 3], &[4, 5], &[6], &[7], &[8, 9, 10], &[11]];
        assert_eq!(pages(&sizes, DeadLetterFilter::default()).await, expected);
        let some = DeadLetterFilter { ids: Some(vec![9, 5, 6]), ..DeadLetterFilter::default() };
        assert_eq!(pages(&sizes, some).await, [vec![5], vec![6, 9]]);
        let none = DeadLetterFilter { key: Some("k-12".to_owned()), ..DeadLetterFilter::default() };
        assert_eq!(pages(&sizes, none).await, [Vec::<u64>::new()]);
    }
}
