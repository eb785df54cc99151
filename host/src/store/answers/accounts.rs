//! The sums of accounts, from one snapshot.

use std::collections::BTreeMap;

use sagabox_engine::model::{Counters, Cursor, Timestamp};
use sagabox_engine::seams::store::ReadError;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, SqliteConnection};

use super::{count, failed};
use crate::store::query::rows::{Accounts, PluginAccount, SinkAccount, UntakenAccount};
use crate::store::recover;
use crate::store::rows::{self, integer};

pub(super) async fn accounts(
    connection: &mut SqliteConnection,
    counted_max: u64,
) -> Result<Accounts, ReadError> {
    // One snapshot: what is committed while we count does not show.
    let mut snapshot = connection.begin().await.map_err(failed)?;
    let events = count(&mut snapshot, "SELECT events AS n FROM totals", None).await?;
    let untaken = recover::untaken(&mut snapshot).await.map_err(failed)?;
    let untaken = untaken.into_iter().map(|row| UntakenAccount {
        event_type: row.event_type,
        events: row.count,
        last_at: row.last_at,
    });
    let (mut plugins, mut sinks) = (Vec::new(), Vec::new());
    let found = sqlx::query("SELECT * FROM plugins ORDER BY plugin");
    for row in found.fetch_all(&mut *snapshot).await.map_err(failed)? {
        plugins.push(plugin_account(&mut snapshot, &row, counted_max).await?);
    }
    let found = sqlx::query("SELECT sink, messages AS n FROM outbox_totals ORDER BY sink");
    for row in found.fetch_all(&mut *snapshot).await.map_err(failed)? {
        sinks.push(sink_account(&mut snapshot, &row).await?);
    }
    let balanced = plugins.iter().all(|account| account.balanced)
        && sinks.iter().all(|account| account.balanced);
    let untaken = untaken.collect();
    Ok(Accounts {
        events,
        plugins,
        sinks,
        untaken,
        differing_duplicates: 0,
        paused: Vec::new(),
        balanced,
    })
}

async fn plugin_account(
    connection: &mut SqliteConnection,
    row: &SqliteRow,
    counted_max: u64,
) -> Result<PluginAccount, ReadError> {
    let plugin = rows::text(row, "plugin")?;
    let counters: Counters = rows::parsed(row, "counters")?;
    let cursor: Cursor = rows::parsed(row, "cursor")?;
    let sql = "SELECT count(DISTINCT position) AS n FROM held WHERE plugin = ? AND reached = '[]'";
    let held = count(connection, sql, Some(&plugin)).await?;
    let sql = "SELECT count(*) AS n FROM parked WHERE plugin = ?";
    let parked = count(connection, sql, Some(&plugin)).await?;
    let sql = "SELECT count(*) AS n FROM dead_letters \
               WHERE plugin = ? AND sink IS NULL AND status IN ('open', 'redriving')";
    let dead = count(connection, sql, Some(&plugin)).await?;
    let after = behind(connection, cursor.settled, counted_max).await?;
    let mut ahead = 0;
    for span in &cursor.ahead {
        let query = sqlx::query("SELECT count(*) AS n FROM log WHERE position BETWEEN ? AND ?");
        let query = query.bind(integer(span.first)).bind(integer(span.last));
        let row = query.fetch_one(&mut *connection).await.map_err(failed)?;
        ahead += rows::number(&row, "n")?;
    }
    let settled = counters.handled
        + counters.ignored()
        + held
        + parked
        + dead
        + counters.discarded
        + counters.requeued;
    Ok(PluginAccount {
        plugin,
        received: counters.received,
        handled: counters.handled,
        ignored: counters.ignored(),
        ignored_because: ignored_because(&counters),
        held,
        parked,
        dead,
        discarded: counters.discarded,
        pending: after.saturating_sub(ahead),
        balanced: settled == counters.received,
    })
}

/// See [`Counters`] for what each means.
fn ignored_because(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let all = [
        ("absent", counters.ignored_absent),
        ("started", counters.ignored_started),
        ("completed", counters.ignored_completed),
        ("unclaimed", counters.ignored_unclaimed),
        ("superseded", counters.ignored_superseded),
        ("missed", counters.ignored_missed),
        ("source", counters.ignored_source),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Events after a position.
pub(super) async fn behind(
    connection: &mut SqliteConnection,
    settled: u64,
    counted_max: u64,
) -> Result<u64, ReadError> {
    let sql = "SELECT count(*) AS n, (SELECT coalesce(max(position), 0) FROM log) AS last \
               FROM (SELECT 1 FROM log WHERE position > ? LIMIT ?)";
    let query = sqlx::query(sql).bind(integer(settled)).bind(integer(counted_max));
    let row = query.fetch_one(connection).await.map_err(failed)?;
    let (counted, last) = (rows::number(&row, "n")?, rows::number(&row, "last")?);
    Ok(if counted < counted_max { counted } else { last.saturating_sub(settled).max(counted) })
}

async fn sink_account(
    connection: &mut SqliteConnection,
    row: &SqliteRow,
) -> Result<SinkAccount, ReadError> {
    let sink = rows::text(row, "sink")?;
    let messages = rows::number(row, "n")?;
    let query = sqlx::query("SELECT * FROM sinks WHERE sink = ?").bind(sink.clone());
    let progress = query.fetch_optional(&mut *connection).await.map_err(failed)?;
    let counters: Counters = match &progress {
        Some(row) => rows::parsed(row, "counters")?,
        None => Counters::default(),
    };
    let sql = "SELECT count(*) AS n FROM parked_messages WHERE sink = ?";
    let parked = count(connection, sql, Some(&sink)).await?;
    let sql =
        "SELECT count(*) AS n FROM dead_letters WHERE sink = ? AND status IN ('open', 'redriving')";
    let dead = count(connection, sql, Some(&sink)).await?;
    let sql = "SELECT coalesce(max(letters), 0) AS n FROM compensated WHERE sink = ?";
    let compensated = count(connection, sql, Some(&sink)).await?;
    // What was put in, less what was settled. So neither side is counted row by row, and
    // rows that are too old can go.
    let pending = messages.saturating_sub(counters.received);
    let oldest_at = match (&progress, pending) {
        (_, 0) => None,
        (None, _) => oldest(connection, &sink, 0).await?,
        (Some(row), _) => {
            let cursor: Cursor = rows::parsed(row, "cursor")?;
            oldest(connection, &sink, cursor.settled).await?
        }
    };
    let delivered = counters.handled;
    let settled = delivered + parked + dead + counters.discarded + compensated;
    Ok(SinkAccount {
        sink,
        messages,
        delivered,
        pending,
        oldest_at,
        parked,
        dead,
        discarded: counters.discarded,
        compensated,
        balanced: settled == counters.received && counters.received <= messages,
    })
}

/// When the first message that is not settled was decided.
async fn oldest(
    connection: &mut SqliteConnection,
    sink: &str,
    settled: u64,
) -> Result<Option<Timestamp>, ReadError> {
    let sql = "SELECT decided_at FROM decisions JOIN (SELECT plugin, key, cause FROM outbox \
               WHERE sink = ? AND sequence > ? ORDER BY sequence LIMIT 1) AS message \
               ON decisions.position = message.cause AND decisions.plugin = message.plugin \
               AND decisions.key = message.key";
    let query = sqlx::query(sql).bind(sink.to_owned()).bind(integer(settled));
    let row = query.fetch_optional(connection).await.map_err(failed)?;
    row.map(|row| rows::number(&row, "decided_at").map(Timestamp)).transpose()
}
