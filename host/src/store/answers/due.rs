//! What is due next: timers, and the next attempts at events and messages.
//!
//! Rows come in the order of an index, some at a time. Those of other plugins are passed over here,
//! so a list for one plugin looks for a bounded time.

use std::time::Instant;

use sagabox_engine::model::{Position, Timestamp};
use sagabox_engine::seams::store::ReadError;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::failed;
use crate::store::query::QueryLimits;
use crate::store::query::rows::{
    DueTimer, Page, TimerFilter, TimerPlace, WaitFilter, WaitPlace, WaitRow,
};
use crate::store::rows::{self, integer};

pub(in crate::store) const TIMERS: &str = "SELECT due, plugin, instance, name, set_by FROM timers \
     WHERE fired = 0 AND (due, plugin, instance, name) > (?, ?, ?, ?) \
     ORDER BY due, plugin, instance, name LIMIT ?";
pub(in crate::store) const TIMERS_OF_INSTANCE: &str = "SELECT due, plugin, instance, name, set_by \
     FROM timers WHERE plugin = ? AND instance = ? AND fired = 0 ORDER BY +due, +name";

/// Rows that are read at once, however short the page is.
const SOME: u32 = 200;

pub(super) async fn timers(
    pool: &SqlitePool,
    filter: &TimerFilter,
    limits: &QueryLimits,
) -> Result<Page<DueTimer, TimerPlace>, ReadError> {
    let begin = filter.due_after.map_or(0, |time| time.0);
    let first = (begin, String::new(), String::new(), String::new());
    let after = filter.after.clone().unwrap_or(first);
    if let (Some(plugin), Some(key)) = (&filter.plugin, &filter.key) {
        let mut rows = of_instance(pool, plugin, key).await?;
        rows.retain(|row| row.place() > after && filter.selects(row) && !filter.is_past(row));
        return Ok(Page::of(rows, filter.limit, DueTimer::place));
    }
    let walk = Walk { after, limit: filter.limit, limits };
    looked_through(pool, walk, |row| filter.selects(row), |row| filter.is_past(row)).await
}

/// The timers of one instance: no more than an instance can have.
async fn of_instance(
    pool: &SqlitePool,
    plugin: &str,
    key: &str,
) -> Result<Vec<DueTimer>, ReadError> {
    let query = sqlx::query(TIMERS_OF_INSTANCE).bind(plugin.to_owned()).bind(key.to_owned());
    let found = query.fetch_all(pool).await.map_err(failed)?;
    found.iter().map(timer).collect()
}

pub(super) async fn waits(
    pool: &SqlitePool,
    filter: &WaitFilter,
    limits: &QueryLimits,
) -> Result<Page<WaitRow, WaitPlace>, ReadError> {
    let first = match &filter.sink {
        None => WaitPlace::Event(String::new(), String::new()),
        Some(sink) => WaitPlace::Message(sink.clone(), 0),
    };
    let after = filter.after.clone().unwrap_or(first);
    let is_meant = |row: &WaitRow| {
        filter.plugin.as_ref().is_none_or(|plugin| *plugin == row.plugin)
            && filter.sink.as_ref().is_none_or(|sink| Some(sink) == row.sink.as_ref())
    };
    let walk = Walk { after, limit: filter.limit, limits };
    looked_through(pool, walk, is_meant, |_| false).await
}

/// Where a list begins, how many rows it has, and how long it looks for them.
struct Walk<'l, P> {
    after: P,
    limit: u32,
    limits: &'l QueryLimits,
}

/// A row of a list that is read in the order of an index.
trait InOrder: Sized + Send {
    type Place: Clone + Send;

    fn in_order(&self) -> Self::Place;

    /// The rows behind a place, at most so many.
    fn portion(
        pool: &SqlitePool,
        after: Self::Place,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Self>, ReadError>> + Send;
}

/// The rows that are meant, and one more than the page has, portion by portion until the time is
/// over, or the first row that is past the end.
async fn looked_through<R: InOrder>(
    pool: &SqlitePool,
    Walk { mut after, limit, limits }: Walk<'_, R::Place>,
    is_meant: impl Fn(&R) -> bool + Send,
    is_past: impl Fn(&R) -> bool + Send,
) -> Result<Page<R, R::Place>, ReadError> {
    let (started, mut rows) = (Instant::now(), Vec::new());
    let read = limits.scan_rows.min(limit.saturating_add(1).max(SOME));
    loop {
        let found = R::portion(pool, after, read).await?;
        let is_end = found.last().is_some_and(&is_past);
        let end = found.last().filter(|_| found.len() == read as usize).map(R::in_order);
        rows.extend(found.into_iter().take_while(|row| !is_past(row)).filter(&is_meant));
        let Some(end) = end.filter(|_| rows.len() <= limit as usize && !is_end) else {
            return Ok(Page::of(rows, limit, R::in_order));
        };
        if started.elapsed() >= limits.scan_time {
            return Ok(Page { rows, next: Some(end) });
        }
        after = end;
    }
}

impl InOrder for DueTimer {
    type Place = TimerPlace;

    fn in_order(&self) -> TimerPlace {
        self.place()
    }

    async fn portion(
        pool: &SqlitePool,
        after: TimerPlace,
        limit: u32,
    ) -> Result<Vec<Self>, ReadError> {
        let (due, plugin, instance, name) = after;
        let query = sqlx::query(TIMERS).bind(integer(due)).bind(plugin).bind(instance).bind(name);
        let found = query.bind(limit).fetch_all(pool).await.map_err(failed)?;
        found.iter().map(timer).collect()
    }
}

impl InOrder for WaitRow {
    type Place = WaitPlace;

    fn in_order(&self) -> WaitPlace {
        self.place_in_order()
    }

    async fn portion(
        pool: &SqlitePool,
        after: WaitPlace,
        limit: u32,
    ) -> Result<Vec<Self>, ReadError> {
        match after {
            WaitPlace::Message(sink, place) => messages(pool, sink, place, limit).await,
            WaitPlace::Event(plugin, key) => {
                let mut found = events(pool, plugin, key, limit).await?;
                let room = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(limit));
                if room > 0 {
                    found.extend(messages(pool, String::new(), 0, room).await?);
                }
                Ok(found)
            }
        }
    }
}

async fn events(
    pool: &SqlitePool,
    plugin: String,
    key: String,
    limit: u32,
) -> Result<Vec<WaitRow>, ReadError> {
    let sql = "SELECT *, NULL AS sink FROM waits WHERE (plugin, key) > (?, ?) \
               ORDER BY plugin, key LIMIT ?";
    let query = sqlx::query(sql).bind(plugin).bind(key).bind(limit);
    query.fetch_all(pool).await.map_err(failed)?.iter().map(wait).collect()
}

async fn messages(
    pool: &SqlitePool,
    sink: String,
    place: u64,
    limit: u32,
) -> Result<Vec<WaitRow>, ReadError> {
    let sql = "SELECT * FROM message_waits WHERE (sink, place) > (?, ?) \
               ORDER BY sink, place LIMIT ?";
    let query = sqlx::query(sql).bind(sink).bind(integer(place)).bind(limit);
    query.fetch_all(pool).await.map_err(failed)?.iter().map(wait).collect()
}

fn timer(row: &SqliteRow) -> Result<DueTimer, ReadError> {
    Ok(DueTimer {
        due: Timestamp(rows::number(row, "due")?),
        plugin: rows::text(row, "plugin")?,
        key: rows::text(row, "instance")?,
        name: rows::text(row, "name")?,
        set_by: Position(rows::number(row, "set_by")?),
    })
}

fn wait(row: &SqliteRow) -> Result<WaitRow, ReadError> {
    let wait = crate::store::dead_letters::wait(row)?;
    Ok(WaitRow {
        plugin: rows::text(row, "plugin")?,
        key: rows::text(row, "key")?,
        sink: rows::optional(row, "sink")?,
        place: wait.place,
        attempt: wait.attempt,
        since: wait.since,
        until: wait.until,
        reason: wait.reason,
    })
}
