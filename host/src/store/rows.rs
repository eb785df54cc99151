//! Values to what a row holds, and rows back to the model's types.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use sagabox_engine::model::AgeMark;
use sagabox_engine::model::{
    AgeTime, Event, Held, Hops, Instance, InstanceStatus, Key, LogEntry, Message, MessageKind,
    PluginName, Position, Sequence, State, TimerRef, Timestamp, Trace, TraceContext,
};
use sagabox_engine::seams::store::{DecidedEvent, ReadError, TimerRow};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// What a column or a parameter holds as JSON.
pub(super) fn json<T: Serialize + ?Sized>(rows: &T) -> String {
    serde_json::to_string(rows).expect("rows have only string keys")
}

/// Keys as a JSON list for `json_each`, and how SQL reads one of its values. SQLite ends a
/// string of JSON at a NUL, and a key can have one: then they are in hexadecimal.
pub(super) fn texts<'k>(keys: impl IntoIterator<Item = &'k Key>) -> (String, &'static str) {
    let keys: Vec<&Key> = keys.into_iter().collect();
    if keys.iter().all(|key| !key.as_str().contains('\0')) {
        return (json(&keys), "value");
    }
    let hex =
        |key: &&Key| key.as_str().bytes().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
    let keys: Vec<String> = keys.iter().map(hex).collect();
    (json(&keys), "CAST(unhex(value) AS TEXT)")
}

/// SQLite's integers have a sign; positions and times never come near it.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// 64 bits that stand for a stream's subject.
pub(super) fn subject(subject: &str) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(subject.as_bytes())[..8]);
    i64::from_be_bytes(first)
}

/// `t` and the text, or `b` and base64.
pub(super) fn encode(data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        Ok(text) => format!("t{text}"),
        Err(_) => format!("b{}", BASE64.encode(data)),
    }
}

fn decode(text: &str) -> Result<Bytes, ReadError> {
    match text.split_at_checked(1) {
        Some(("t", text)) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Some(("b", encoded)) => BASE64.decode(encoded).map(Bytes::from).map_err(damaged),
        _ => Err(damaged("data without its encoding")),
    }
}

pub(super) fn damaged(error: impl std::fmt::Display) -> ReadError {
    ReadError(format!("a row of the store cannot be read: {error}"))
}

pub(super) fn number(row: &SqliteRow, column: &str) -> Result<u64, ReadError> {
    let number: i64 = row.try_get(column).map_err(damaged)?;
    u64::try_from(number).map_err(damaged)
}

/// None if the column has none.
pub(super) fn position(row: &SqliteRow, column: &str) -> Result<Option<Position>, ReadError> {
    Ok(optional_number(row, column)?.map(Position))
}

/// None if the column has none.
pub(super) fn optional_number(row: &SqliteRow, column: &str) -> Result<Option<u64>, ReadError> {
    let number: Option<i64> = row.try_get(column).map_err(damaged)?;
    number.map(u64::try_from).transpose().map_err(damaged)
}

pub(super) fn text(row: &SqliteRow, column: &str) -> Result<String, ReadError> {
    row.try_get(column).map_err(damaged)
}

pub(super) fn bytes(row: &SqliteRow, column: &str) -> Result<Vec<u8>, ReadError> {
    row.try_get(column).map_err(damaged)
}

pub(super) fn optional(row: &SqliteRow, column: &str) -> Result<Option<String>, ReadError> {
    row.try_get(column).map_err(damaged)
}

pub(super) fn parsed<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, ReadError> {
    serde_json::from_str(&text(row, column)?).map_err(damaged)
}

pub(super) fn event(row: &SqliteRow) -> Result<Arc<Event>, ReadError> {
    parsed_event(&text(row, "event")?)
}

/// What was accepted is not validated again: rules may have become stricter.
pub(super) fn parsed_event(json: &str) -> Result<Arc<Event>, ReadError> {
    Event::read(json.as_bytes()).map(Arc::new).map_err(damaged)
}

pub(super) fn hops(row: &SqliteRow) -> Result<Hops, ReadError> {
    u32::try_from(number(row, "hops")?).map(Hops).map_err(damaged)
}

pub(super) fn log_entry(row: &SqliteRow) -> Result<LogEntry, ReadError> {
    Ok(LogEntry {
        position: Position(number(row, "position")?),
        received_at: Timestamp(number(row, "received_at")?),
        event: event(row)?,
        hops: hops(row)?,
    })
}

pub(super) fn state(row: &SqliteRow) -> Result<Option<State>, ReadError> {
    let Some(data) = optional(row, "state")? else { return Ok(None) };
    let version = u32::try_from(number(row, "state_version")?).map_err(damaged)?;
    Ok(Some(State { version, data: decode(&data)? }))
}

pub(super) fn instance_status(row: &SqliteRow) -> Result<InstanceStatus, ReadError> {
    match text(row, "status")?.as_str() {
        "running" => Ok(InstanceStatus::Running),
        "completed" => Ok(InstanceStatus::Completed),
        "ended" => Ok(InstanceStatus::Ended),
        other => Err(damaged(format!("unknown status `{other}`"))),
    }
}

pub(super) fn instance(row: &SqliteRow) -> Result<Instance, ReadError> {
    Ok(Instance {
        key: text(row, "key")?.into(),
        status: instance_status(row)?,
        started: Position(number(row, "started")?),
        state: state(row)?,
        decided: Position(number(row, "decided")?),
        place: Position(number(row, "place")?),
        version: number(row, "version")?,
        started_at: Timestamp(number(row, "started_at")?),
        updated_at: Timestamp(number(row, "updated_at")?),
        trace: optional(row, "traceparent")?
            .and_then(|text| TraceContext::parse(&text))
            .map(Box::new),
    })
}

pub(super) fn message(row: &SqliteRow) -> Result<Arc<Message>, ReadError> {
    let kind = match text(row, "kind")?.as_str() {
        "command" => MessageKind::Command,
        _ => MessageKind::Event,
    };
    Ok(Arc::new(Message {
        sink: text(row, "sink")?.into(),
        sequence: Sequence(number(row, "sequence")?),
        kind,
        plugin: text(row, "plugin")?.into(),
        key: text(row, "key")?.into(),
        cause: Position(number(row, "cause")?),
        instance: position(row, "instance")?,
        event: event(row)?,
        hops: hops(row)?,
    }))
}

pub(super) fn kind(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Command => "command",
        MessageKind::Event => "event",
    }
}

pub(super) fn timer(row: &SqliteRow) -> Result<TimerRow, ReadError> {
    let timer = TimerRef {
        plugin: text(row, "plugin")?.into(),
        instance: text(row, "instance")?.into(),
        name: text(row, "name")?.into(),
        due: Timestamp(number(row, "due")?),
        set_by: Position(number(row, "set_by")?),
    };
    let trace = optional(row, "trace")?.map(|text| Box::new(Trace::from_text(&text)));
    Ok(TimerRow { timer, data: decode(&text(row, "data")?)?, hops: hops(row)?, trace })
}

pub(super) fn decided_event(row: &SqliteRow) -> Result<DecidedEvent, ReadError> {
    let is_there = optional(row, "event")?.is_some();
    Ok(DecidedEvent {
        position: Position(number(row, "position")?),
        previous: position(row, "previous")?,
        decided_at: Timestamp(number(row, "decided_at")?),
        deciders: parsed(row, "deciders")?,
        entry: is_there.then(|| log_entry(row)).transpose()?,
    })
}

pub(super) fn age_mark(row: &SqliteRow) -> Result<AgeMark, ReadError> {
    Ok(AgeMark {
        at: AgeTime(number(row, "at")?),
        position: Position(number(row, "position")?),
        wall: Timestamp(number(row, "wall")?),
    })
}

/// A row of `held` joined with its event.
pub(super) fn held(row: &SqliteRow, plugin: &PluginName) -> Result<Held, ReadError> {
    Ok(Held {
        plugin: plugin.clone(),
        key: text(row, "key")?.into(),
        entry: log_entry(row)?,
        until: Timestamp(number(row, "until")?),
        reached: parsed(row, "reached")?,
        due: optional(row, "due")?
            .map(|due| serde_json::from_str(&due))
            .transpose()
            .map_err(damaged)?,
    })
}
