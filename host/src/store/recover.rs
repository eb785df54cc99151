//! What the engine needs to go on where it was.

use std::collections::BTreeMap;

use sagabox_engine::model::{
    Control, Counters, Cursor, DeadLetterId, Key, PluginName, Position, Sequence, SinkName,
    Timestamp,
};
use sagabox_engine::seams::store::{
    PluginProgress, ReadError, Recovered, RecoveredPlugin, RecoveredSink, SinkProgress, Untaken,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::dead_letters;
use super::rows;
use super::trouble::undecodable;

/// Within one transaction of the caller's.
pub(super) async fn recover(reader: &mut SqliteConnection) -> Result<Recovered, sqlx::Error> {
    let (mut events, mut messages) = dead_letters::parked(reader).await?;
    let mut partly_decided = partly_decided(reader).await?;
    let mut recovered = Recovered::default();
    let plugins = sqlx::query("SELECT * FROM plugins ORDER BY plugin");
    for row in plugins.fetch_all(&mut *reader).await? {
        let plugin = rows::text(&row, "plugin").map_err(undecodable)?.into();
        let cursor = rows::parsed(&row, "cursor").map_err(undecodable)?;
        let counters = rows::parsed(&row, "counters").map_err(undecodable)?;
        let parked = events.remove(&plugin).unwrap_or_default().into_values().collect();
        let partly_decided = partly_decided.remove(&plugin).unwrap_or_default();
        let progress = PluginProgress { plugin, cursor, counters };
        recovered.plugins.push(RecoveredPlugin { progress, partly_decided, parked });
    }
    for (sink, progress) in sinks(reader).await? {
        let sql = "SELECT coalesce(max(sequence), 0) AS n FROM outbox WHERE sink = ?";
        let row = sqlx::query(sql).bind(sink.as_str().to_owned()).fetch_one(&mut *reader).await?;
        let in_outbox = rows::number(&row, "n").map_err(undecodable)?;
        let last = Sequence(progress.cursor.highest().max(in_outbox));
        let parked = messages.remove(&sink).unwrap_or_default().into_values().collect();
        let sql = "SELECT coalesce(max(letters), 0) AS n FROM compensated WHERE sink = ?";
        let row = sqlx::query(sql).bind(sink.as_str().to_owned()).fetch_one(&mut *reader).await?;
        let compensated = rows::number(&row, "n").map_err(undecodable)?;
        recovered.sinks.push(RecoveredSink { progress, last, compensated, parked });
    }
    let sql = "SELECT (SELECT coalesce(max(position), 0) FROM log) AS position, \
                      (SELECT coalesce(max(id), 0) FROM dead_letters) AS dead_letter";
    let row = sqlx::query(sql).fetch_one(&mut *reader).await?;
    let cursors = recovered.plugins.iter().map(|plugin| plugin.progress.cursor.highest()).max();
    let in_log = rows::number(&row, "position").map_err(undecodable)?;
    recovered.position = Position(in_log.max(cursors.unwrap_or(0)));
    recovered.dead_letter = DeadLetterId(rows::number(&row, "dead_letter").map_err(undecodable)?);
    recovered.untaken = untaken(reader).await?;
    recovered.controls = controls(reader).await?;
    let marks = sqlx::query("SELECT * FROM age_marks ORDER BY at").fetch_all(reader).await?;
    let marks = marks.iter().map(rows::age_mark).collect::<Result<_, _>>();
    recovered.age_marks = marks.map_err(undecodable)?;
    Ok(recovered)
}

/// By plugin: events that only some of their keys have decided, with these keys.
pub(super) async fn partly_decided(
    reader: &mut SqliteConnection,
) -> Result<BTreeMap<PluginName, BTreeMap<Position, Vec<Key>>>, sqlx::Error> {
    let sql = "SELECT * FROM partly_decided ORDER BY plugin, position, key";
    let mut plugins: BTreeMap<PluginName, BTreeMap<Position, Vec<Key>>> = BTreeMap::new();
    for row in sqlx::query(sql).fetch_all(reader).await? {
        let plugin = rows::text(&row, "plugin").map_err(undecodable)?.into();
        let position = Position(rows::number(&row, "position").map_err(undecodable)?);
        let key = rows::text(&row, "key").map_err(undecodable)?.into();
        plugins.entry(plugin).or_default().entry(position).or_default().push(key);
    }
    Ok(plugins)
}

pub(super) async fn untaken(reader: &mut SqliteConnection) -> Result<Vec<Untaken>, sqlx::Error> {
    let rows = sqlx::query("SELECT * FROM untaken ORDER BY type").fetch_all(reader).await?;
    let row = |row: &SqliteRow| -> Result<Untaken, ReadError> {
        Ok(Untaken {
            event_type: rows::text(row, "type")?,
            count: rows::number(row, "events")?,
            last_at: Timestamp(rows::number(row, "last_at")?),
        })
    };
    rows.iter().map(|found| row(found).map_err(undecodable)).collect()
}

async fn controls(reader: &mut SqliteConnection) -> Result<Vec<Control>, sqlx::Error> {
    let rows = sqlx::query("SELECT control FROM controls").fetch_all(reader).await?;
    let controls = rows.iter().map(|row| rows::parsed(row, "control"));
    let mut controls = controls.collect::<Result<Vec<Control>, _>>().map_err(undecodable)?;
    controls.sort_by_key(Control::id);
    Ok(controls)
}

/// All that have made progress, and all that have messages.
async fn sinks(
    reader: &mut SqliteConnection,
) -> Result<BTreeMap<SinkName, SinkProgress>, sqlx::Error> {
    let mut sinks = BTreeMap::new();
    for row in sqlx::query("SELECT sink FROM outbox_totals").fetch_all(&mut *reader).await? {
        let sink: SinkName = row.try_get::<String, _>("sink")?.into();
        let (cursor, counters) = (Cursor::default(), Counters::default());
        sinks.insert(sink.clone(), SinkProgress { sink, cursor, counters });
    }
    for row in sqlx::query("SELECT * FROM sinks").fetch_all(&mut *reader).await? {
        let sink: SinkName = rows::text(&row, "sink").map_err(undecodable)?.into();
        let cursor = rows::parsed(&row, "cursor").map_err(undecodable)?;
        let counters = rows::parsed(&row, "counters").map_err(undecodable)?;
        sinks.insert(sink.clone(), SinkProgress { sink, cursor, counters });
    }
    Ok(sinks)
}
