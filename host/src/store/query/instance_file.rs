//! A whole instance as one file: what a store has of it, its decisions with their inputs, and the
//! messages that they sent. Every byte of states and events is as it is in the store.
//!
//! Replay and scenarios read such a file in place of a store, so a process that went wrong can be
//! looked at on another machine. Another host imports it, so that the process continues there.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use sagabox_engine::model::{
    DeadLetterId, DecisionRecord, Event, Hops, LogEntry, Position, State, Timestamp,
};
use sagabox_engine::seams::store::ReadError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::component::{KeptComponent, PackedComponent};
use super::rows::RecordedDecision;
use super::shapes::{CloudEvent, SummaryShape};
use super::{EachDecision, EachEvent, Snapshot};
use crate::decisions::recorded::Messages;

/// The version of this form.
pub const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct InstanceFile {
    /// The version of the form: 1.
    pub sagabox_instance: u32,
    pub plugin: String,
    pub key: String,
    pub status: String,
    /// Additional keys.
    pub keys: Vec<String>,
    /// Decisions so far, those included that retention has removed.
    #[serde(default)]
    pub version: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    pub started_at_ms: u64,
    /// The state after the newest decision.
    #[serde(default)]
    pub state: Option<StateInFile>,
    /// Those that are set, and those that have fired and whose events are not decided.
    #[serde(default)]
    pub timers: Vec<TimerInFile>,
    #[serde(default)]
    pub unfinished: Unfinished,
    /// The oldest first. Those that retention has removed are not there.
    #[serde(default)]
    pub decisions: Vec<DecisionInFile>,
    /// What the decisions sent, by id, as far as it is still kept.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, CloudEvent>)]
    pub messages: BTreeMap<String, Box<RawValue>>,
}

/// What the host had not finished for the instance. It is no part of the file: that host has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unfinished {
    /// Messages that were not delivered: their ids, or the numbers of their dead letters.
    pub messages: Vec<String>,
    /// True if there are so many messages that not all were looked at.
    pub has_more_messages: bool,
    /// Events that wait for the instance: behind a dead letter, as one, or for their next attempt.
    pub events: u64,
}

/// A timer of the instance.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TimerInFile {
    pub name: String,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub due_ms: u64,
    /// The data of its event, if that is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DecisionInFile {
    pub position: u64,
    pub previous: Option<u64>,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub decided_at_ms: u64,
    pub plugin_version: String,
    pub attempt: u32,
    pub hops: u32,
    #[schema(value_type = SummaryShape)]
    pub summary: Box<RawValue>,
    pub state: Option<StateInFile>,
    /// None if retention has removed it.
    #[schema(value_type = Option<CloudEvent>)]
    pub event: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StateInFile {
    pub version: u32,
    /// The bytes, if they are text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl DecisionInFile {
    /// # Errors
    /// If the record is damaged.
    pub fn of(decision: &RecordedDecision) -> Result<Self, ReadError> {
        let RecordedDecision { record, event, hops } = decision;
        let raw = |text: &String| RawValue::from_string(text.clone()).map_err(damaged);
        Ok(Self {
            position: record.position.0,
            previous: record.previous.map(|previous| previous.0),
            decided_at_ms: record.decided_at.0,
            plugin_version: record.plugin_version.to_string(),
            attempt: record.attempt,
            hops: hops.0,
            summary: raw(&record.summary)?,
            state: record.state.as_ref().map(StateInFile::of),
            event: event.as_ref().map(raw).transpose()?,
        })
    }

    fn recorded(&self, plugin: &str, key: &str) -> Result<RecordedDecision, ReadError> {
        let state = self.state.as_ref().map(StateInFile::state).transpose()?;
        let record = DecisionRecord {
            position: Position(self.position),
            plugin: plugin.into(),
            key: key.into(),
            previous: self.previous.map(Position),
            decided_at: Timestamp(self.decided_at_ms),
            plugin_version: self.plugin_version.as_str().into(),
            attempt: self.attempt,
            state,
            summary: self.summary.get().to_owned(),
        };
        let event = self.event.as_ref().map(|event| event.get().to_owned());
        Ok(RecordedDecision { record, event, hops: Hops(self.hops) })
    }
}

impl StateInFile {
    #[must_use]
    pub fn of(state: &State) -> Self {
        let (text, base64) = written(&state.data);
        Self { version: state.version, text, base64 }
    }

    /// # Errors
    /// If its bytes cannot be read.
    pub fn state(&self) -> Result<State, ReadError> {
        let data = read("a state", self.text.as_deref(), self.base64.as_deref())?;
        Ok(State { version: self.version, data })
    }
}

impl TimerInFile {
    #[must_use]
    pub fn new(name: &str, due: Timestamp, data: &[u8]) -> Self {
        let (text, base64) = written(data);
        Self { name: name.to_owned(), due_ms: due.0, text, base64 }
    }

    /// The data of its event.
    ///
    /// # Errors
    /// If its bytes cannot be read.
    pub fn data(&self) -> Result<Bytes, ReadError> {
        read("a timer", self.text.as_deref(), self.base64.as_deref())
    }
}

fn written(data: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(data) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(data))),
    }
}

fn read(what: &str, text: Option<&str>, base64: Option<&str>) -> Result<Bytes, ReadError> {
    match (text, base64) {
        (Some(text), None) => Ok(Bytes::from(text.to_owned())),
        (None, Some(base64)) => BASE64.decode(base64).map(Bytes::from).map_err(damaged),
        _ => Err(damaged(format!("{what} has neither `text` nor `base64`, or both"))),
    }
}

impl InstanceFile {
    /// None if the path is not that of such a file.
    ///
    /// # Errors
    /// If the file is damaged, or of another version.
    pub fn open(path: &Path) -> Result<Option<Self>, ReadError> {
        if !begins_an_object(path) {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| ReadError(format!("read {}: {error}", path.display())))?;
        let file: Self = serde_json::from_str(&text).map_err(damaged)?;
        file.check_version()?;
        Ok(Some(file))
    }

    /// # Errors
    /// If it is of another version.
    pub fn check_version(&self) -> Result<(), ReadError> {
        match self.sagabox_instance {
            VERSION => Ok(()),
            other => Err(damaged(format!("its version is {other}"))),
        }
    }
}

fn damaged(error: impl std::fmt::Display) -> ReadError {
    ReadError(format!("the file of an instance cannot be read: {error}"))
}

/// The file of an instance in place of a store.
pub struct FileSnapshot(InstanceFile);

impl FileSnapshot {
    /// None if the path is not that of such a file.
    ///
    /// # Errors
    /// If the file is damaged, or of another version.
    pub fn open(path: &Path) -> Result<Option<Self>, ReadError> {
        Ok(InstanceFile::open(path)?.map(Self))
    }

    fn decided(&self) -> impl Iterator<Item = Result<RecordedDecision, ReadError>> {
        let InstanceFile { plugin, key, decisions, .. } = &self.0;
        decisions.iter().map(|decision| decision.recorded(plugin, key))
    }
}

/// A database begins with other bytes.
fn begins_an_object(path: &Path) -> bool {
    use std::io::Read as _;
    let mut first = [0];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut first));
    matches!(read, Ok(1)) && first == *b"{"
}

#[async_trait]
impl Snapshot for FileSnapshot {
    async fn decisions(
        &mut self,
        plugin: &str,
        key: Option<&str>,
        since: Timestamp,
        each: &mut EachDecision<'_>,
    ) -> Result<(), ReadError> {
        if plugin != self.0.plugin || key.is_some_and(|key| key != self.0.key) {
            return Ok(());
        }
        for decision in self.decided() {
            let decision = decision?;
            let is_early = decision.record.decided_at < since;
            let event = decision.event.filter(|_| !is_early);
            if each(RecordedDecision { event, ..decision }) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    async fn log(&mut self, each: &mut EachEvent<'_>) -> Result<(), ReadError> {
        for decision in self.decided() {
            let RecordedDecision { record, event, hops } = decision?;
            let Some(event) = event else { continue };
            let event = Event::read(event.as_bytes()).map(Arc::new).map_err(damaged)?;
            let (position, received_at) = (record.position, record.decided_at);
            if each(LogEntry { position, received_at, event, hops }) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    async fn messages(&mut self, plugin: &str) -> Result<Messages, ReadError> {
        let mut messages = Messages::default();
        let own = self.0.messages.iter().filter(|_| plugin == self.0.plugin);
        own.for_each(|(id, event)| messages.insert(id.clone(), event.get().into()));
        Ok(messages)
    }

    /// The events that were decided are in the file in any case.
    async fn edited(&mut self, _: &str) -> Result<HashMap<DeadLetterId, String>, ReadError> {
        Ok(HashMap::new())
    }

    async fn kept(&mut self, _: &str) -> Result<Vec<KeptComponent>, ReadError> {
        Ok(Vec::new())
    }

    async fn component(&mut self, _: &str) -> Result<Option<PackedComponent>, ReadError> {
        Ok(None)
    }

    async fn stream(&mut self, subject: &str, before: u64) -> Result<Vec<Arc<Event>>, ReadError> {
        let mut events = Vec::new();
        for decision in self.decided() {
            let RecordedDecision { record, event, .. } = decision?;
            let Some(event) = event.filter(|_| record.position.0 < before) else { continue };
            let event = Event::read(event.as_bytes()).map(Arc::new).map_err(damaged)?;
            if event.stream() == Some(subject) {
                events.push(event);
            }
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::DecisionSummary;

    use super::*;

    fn decision(place: u64, state: &'static [u8], event: Option<&str>) -> RecordedDecision {
        let of = ("p".into(), "k".into());
        let summary = DecisionSummary { complete: place == 2, ..DecisionSummary::default() };
        let record = DecisionRecord {
            previous: (place > 1).then_some(Position(place - 1)),
            attempt: 3,
            state: Some(State { version: 2, data: state.into() }),
            ..DecisionRecord::new(of, Position(place), Timestamp(place), "1.0.0".into(), &summary)
        };
        RecordedDecision { record, event: event.map(str::to_owned), hops: Hops(4) }
    }

    /// Nothing of a decision changes on its way into a file and out of it.
    #[tokio::test]
    async fn a_file_has_every_byte_of_the_decisions() {
        let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"x","datacontenttype":"application/json","data":{"n":1e400,"n":2}}"#;
        let all = [decision(1, b"{\"n\": 1.00}", Some(event)), decision(2, b"\xff\n", None)];
        let messages = [("m".to_owned(), RawValue::from_string(event.to_owned()).unwrap())];
        let file = InstanceFile {
            sagabox_instance: VERSION,
            plugin: "p".to_owned(),
            key: "k".to_owned(),
            status: "running".to_owned(),
            keys: Vec::new(),
            version: 2,
            started_at_ms: 1,
            state: None,
            timers: Vec::new(),
            unfinished: Unfinished::default(),
            decisions: all.iter().map(|own| DecisionInFile::of(own).unwrap()).collect(),
            messages: messages.into(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instance.json");
        std::fs::write(&path, serde_json::to_string(&file).unwrap()).unwrap();
        let mut snapshot = FileSnapshot::open(&path).unwrap().unwrap();
        let mut read = Vec::new();
        let mut each = |own: RecordedDecision| {
            read.push((own.record, own.event, own.hops));
            ControlFlow::Continue(())
        };
        snapshot.decisions("p", Some("k"), Timestamp(0), &mut each).await.unwrap();
        let expected: Vec<_> =
            all.into_iter().map(|own| (own.record, own.event, own.hops)).collect();
        assert_eq!(read, expected);
        assert_eq!(snapshot.messages("p").await.unwrap().get("m"), Some(event));
        assert!(snapshot.messages("other").await.unwrap().get("m").is_none());
        assert_eq!(snapshot.stream("x", 2).await.unwrap().len(), 1);
        assert_eq!(snapshot.stream("x", 1).await.unwrap().len(), 0);
        let mut events = 0;
        let mut count = |_| {
            events += 1;
            ControlFlow::Continue(())
        };
        snapshot.log(&mut count).await.unwrap();
        assert_eq!(events, 1);
    }

    #[test]
    fn what_is_no_such_file_is_distinguished_from_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let open = |text: &str| {
            let path = folder.path().join("file");
            std::fs::write(&path, text).unwrap();
            FileSnapshot::open(&path).map(|found| found.is_some()).map_err(|error| error.0)
        };
        assert_eq!(open("SQLite format 3"), Ok(false));
        assert_eq!(open(""), Ok(false));
        assert_eq!(
            FileSnapshot::open(folder.path()).map(|found| found.is_some()).ok(),
            Some(false)
        );
        let other = r#"{"sagabox_instance":9,"plugin":"p","key":"k","status":"running","keys":[],"decisions":[],"messages":{}}"#;
        assert!(open(other).unwrap_err().contains("its version is 9"));
        assert!(open("{").unwrap_err().contains("the file of an instance cannot be read"));
    }
}
