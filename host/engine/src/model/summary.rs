//! What the store records of a decision's output, beside the state: one type, which the dispatcher
//! writes and which replay, the history of an instance and the simulators read.
//!
//! On record it is JSON, without the members that are empty:
//! `{"messages":[{"id","kind","type","sink"}],"timers":[…],"keys":[…],"complete":true,
//! "answers":[…],"dead_letter":7}`. The data of messages and timers is not part of it: messages are
//! in the outbox or in the log, timers in their table. The events of a stream that a handler
//! received are in the log, so only their number is recorded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Answer, AnswerValue, DeadLetterId, Decision, Due, ImportedBy, KeyChange, MessageKind, Question,
    SinkName, TimerChange, TimerName, Timestamp,
};

/// The output of a decision as it is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DecisionSummary {
    /// In the order in which they left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<SentMessage>,
    /// In the order in which they were applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timers: Vec<RecordedTimer>,
    /// In the order in which they were applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyChange>,
    /// Whether the instance completed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub complete: bool,
    /// The answers that the handler got: inputs of the decision, which are recorded nowhere else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<RecordedAnswer>,
    /// The dead letter that was redriven. If its event was edited, the dead letter has the event
    /// that was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetterId>,
    /// Set if an operator ended the instance: no handler decided that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedBy>,
    /// Set if an operator brought the instance from another host: no handler decided that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportedBy>,
    /// The `traceparent` of the decision's span; none if no span was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A message of a decision. Its event is in the outbox if it left, in the log if it stayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMessage {
    /// The id of its event.
    pub id: String,
    /// Command or event.
    pub kind: MessageKind,
    /// The type of its event.
    #[serde(rename = "type")]
    pub event_type: String,
    /// None if the message stayed on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<SinkName>,
}

/// A change of a timer: `{"set": name, "after_ms": …}`, `{"set": name, "at": …}` or
/// `{"cancel": name}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "TimerMembers")]
pub enum RecordedTimer {
    /// The timer was set to this time, over an earlier one of its name.
    Set(TimerName, Due),
    /// The timer was cancelled.
    Cancel(TimerName),
}

/// A question of the handler, and the answer that it received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedAnswer {
    /// The question.
    pub question: Question,
    /// Its answer.
    pub answer: RecordedValue,
}

/// An answer: `{"missing": true}`, `{"content_type", "data"}`, with `data_base64` if it is no
/// text, or `{"events": count}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ValueMembers")]
pub enum RecordedValue {
    /// There is no value for the question.
    Missing,
    /// The value.
    Found {
        /// Its media type.
        content_type: String,
        /// Its bytes, as the lookup returned them.
        data: Bytes,
    },
    /// How many events the stream had.
    Stream(u64),
}

/// Who ended an instance, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedBy {
    /// The name that the operator gave.
    pub by: String,
    /// The reason that the operator gave.
    pub reason: String,
}

impl DecisionSummary {
    /// What a handler decided, given these answers; `dead_letter` if that was redriven.
    #[must_use]
    pub fn new(
        decision: &Decision,
        messages: Vec<SentMessage>,
        answers: &[Answer],
        dead_letter: Option<DeadLetterId>,
    ) -> Self {
        Self {
            messages,
            timers: decision.timers.iter().map(RecordedTimer::from).collect(),
            keys: decision.keys.clone(),
            complete: decision.complete,
            answers: answers.iter().map(RecordedAnswer::from).collect(),
            dead_letter,
            ended: None,
            imported: None,
            traceparent: None,
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If the text is no record of a decision.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The text on record.
    ///
    /// # Panics
    /// Never: all keys of the JSON are strings.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a summary has only string keys")
    }
}

impl From<&TimerChange> for RecordedTimer {
    fn from(change: &TimerChange) -> Self {
        match change {
            TimerChange::Set { name, due, data: _ } => Self::Set(name.clone(), *due),
            TimerChange::Cancel(name) => Self::Cancel(name.clone()),
        }
    }
}

impl From<&Answer> for RecordedAnswer {
    fn from(Answer { question, value }: &Answer) -> Self {
        let answer = match value {
            AnswerValue::Missing => RecordedValue::Missing,
            AnswerValue::Found { content_type, data } => {
                RecordedValue::Found { content_type: content_type.clone(), data: data.clone() }
            }
            AnswerValue::Events(events) => RecordedValue::Stream(events.len() as u64),
        };
        Self { question: question.clone(), answer }
    }
}

impl Serialize for RecordedTimer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        match self {
            Self::Set(name, due) => {
                members.serialize_entry("set", name)?;
                match due {
                    Due::After(millis) => members.serialize_entry("after_ms", millis)?,
                    Due::At(at) => members.serialize_entry("at", at)?,
                }
            }
            Self::Cancel(name) => members.serialize_entry("cancel", name)?,
        }
        members.end()
    }
}

impl Serialize for RecordedValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        match self {
            Self::Missing => members.serialize_entry("missing", &true)?,
            Self::Found { content_type, data } => {
                members.serialize_entry("content_type", content_type)?;
                match std::str::from_utf8(data) {
                    Ok(text) => members.serialize_entry("data", text)?,
                    Err(_) => members.serialize_entry("data_base64", &BASE64.encode(data))?,
                }
            }
            Self::Stream(count) => members.serialize_entry("events", count)?,
        }
        members.end()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimerMembers {
    set: Option<TimerName>,
    after_ms: Option<u64>,
    at: Option<Timestamp>,
    cancel: Option<TimerName>,
}

impl TryFrom<TimerMembers> for RecordedTimer {
    type Error = &'static str;

    fn try_from(members: TimerMembers) -> Result<Self, Self::Error> {
        let TimerMembers { set, after_ms, at, cancel } = members;
        match (set, after_ms, at, cancel) {
            (Some(name), Some(millis), None, None) => Ok(Self::Set(name, Due::After(millis))),
            (Some(name), None, Some(at), None) => Ok(Self::Set(name, Due::At(at))),
            (None, None, None, Some(name)) => Ok(Self::Cancel(name)),
            _ => Err("a timer is set with `after_ms` or `at`, or cancelled"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueMembers {
    missing: Option<bool>,
    content_type: Option<String>,
    data: Option<String>,
    #[serde(default, deserialize_with = "base64")]
    data_base64: Option<Vec<u8>>,
    events: Option<u64>,
}

impl TryFrom<ValueMembers> for RecordedValue {
    type Error = &'static str;

    fn try_from(members: ValueMembers) -> Result<Self, Self::Error> {
        let ValueMembers { missing, content_type, data, data_base64, events } = members;
        let data = match (data, data_base64) {
            (Some(text), None) => Some(Bytes::from(text)),
            (None, Some(bytes)) => Some(bytes.into()),
            (None, None) => None,
            (Some(_), Some(_)) => return Err("an answer has its data once"),
        };
        match (missing, content_type, data, events) {
            (Some(true), None, None, None) => Ok(Self::Missing),
            (None, Some(content_type), Some(data), None) => Ok(Self::Found { content_type, data }),
            (None, None, None, Some(count)) => Ok(Self::Stream(count)),
            _ => Err("an answer is missing, has a content type and data, or a number of events"),
        }
    }
}

fn base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let encoded = String::deserialize(deserializer)?;
    BASE64.decode(encoded).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn text() -> BoxedStrategy<String> {
        any::<String>().boxed()
    }

    fn message() -> impl Strategy<Value = SentMessage> {
        let kind = prop_oneof![Just(MessageKind::Command), Just(MessageKind::Event)];
        (text(), kind, text(), option::of(text())).prop_map(|(id, kind, event_type, sink)| {
            SentMessage { id, kind, event_type, sink: sink.map(SinkName::from) }
        })
    }

    fn timer() -> impl Strategy<Value = RecordedTimer> {
        let due = prop_oneof![
            any::<u64>().prop_map(Due::After),
            any::<u64>().prop_map(|millis| Due::At(Timestamp(millis))),
        ];
        prop_oneof![
            (text(), due).prop_map(|(name, due)| RecordedTimer::Set(name.into(), due)),
            text().prop_map(|name| RecordedTimer::Cancel(name.into())),
        ]
    }

    fn key() -> impl Strategy<Value = KeyChange> {
        prop_oneof![
            text().prop_map(|key| KeyChange::Claim(key.into())),
            text().prop_map(|key| KeyChange::Release(key.into())),
        ]
    }

    fn answer() -> impl Strategy<Value = RecordedAnswer> {
        let question = prop_oneof![
            (text(), text()).prop_map(|(name, key)| Question::Lookup { name, key }),
            text().prop_map(Question::Stream),
        ];
        let data = prop_oneof![vec(any::<u8>(), 0..20), text().prop_map(String::into_bytes)];
        let value = prop_oneof![
            Just(RecordedValue::Missing),
            any::<u64>().prop_map(RecordedValue::Stream),
            (text(), data).prop_map(|(content_type, data)| RecordedValue::Found {
                content_type,
                data: data.into()
            }),
        ];
        (question, value).prop_map(|(question, answer)| RecordedAnswer { question, answer })
    }

    fn summary() -> impl Strategy<Value = DecisionSummary> {
        let lists = (vec(message(), 0..4), vec(timer(), 0..4), vec(key(), 0..4));
        let rest = (any::<bool>(), vec(answer(), 0..4), option::of(any::<u64>()));
        let ended = option::of((text(), text()).prop_map(|(by, reason)| EndedBy { by, reason }));
        let imported = (text(), text(), any::<u64>());
        let imported =
            imported.prop_map(|(by, reason, decisions)| ImportedBy { by, reason, decisions });
        let by_operator = (ended, option::of(imported));
        (lists, rest, by_operator).prop_map(|((messages, timers, keys), rest, by_operator)| {
            let (ended, imported) = by_operator;
            let (complete, answers, dead_letter) = rest;
            let dead_letter = dead_letter.map(DeadLetterId);
            let traceparent = complete.then(|| "00-1-2-01".to_owned());
            DecisionSummary {
                messages,
                timers,
                keys,
                complete,
                answers,
                dead_letter,
                ended,
                imported,
                traceparent,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(summary in summary()) {
            let text = summary.to_json();
            prop_assert_eq!(DecisionSummary::from_json(&text).unwrap(), summary, "{}", text);
        }
    }

    /// Stores have records in this form.
    #[test]
    fn the_form_on_record_does_not_change() {
        let members = [
            r#""messages":[{"id":"m","kind":"command","type":"Pay","sink":"queue:Pay"},{"id":"n","kind":"event","type":"Paid"}]"#,
            r#""timers":[{"set":"a","after_ms":5},{"set":"b","at":7},{"cancel":"c"}]"#,
            r#""keys":[{"claim":"k"},{"release":"l"}]"#,
            r#""complete":true"#,
            r#""answers":[{"question":{"lookup":{"name":"stock","key":"s"}},"answer":{"content_type":"a/b","data":"x"}},{"question":{"stream":"s"},"answer":{"events":3}},{"question":{"stream":"s"},"answer":{"content_type":"a/b","data_base64":"AP8="}},{"question":{"stream":"s"},"answer":{"missing":true}}]"#,
            r#""dead_letter":9"#,
            r#""ended":{"by":"me","reason":"a test"}"#,
            r#""imported":{"by":"me","reason":"a test","decisions":3}"#,
            r#""traceparent":"00-1-2-01""#,
        ];
        let text = format!("{{{}}}", members.join(","));
        assert_eq!(DecisionSummary::from_json(&text).unwrap().to_json(), text);
        assert_eq!(DecisionSummary::default().to_json(), "{}");
        assert_eq!(DecisionSummary::from_json("{}").unwrap(), DecisionSummary::default());
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for part in [
            r#""timers":[{"set":"a"}]"#,
            r#""timers":[{"set":"a","after_ms":1,"at":2}]"#,
            r#""timers":[{"cancel":"a","at":2}]"#,
            r#""keys":[{"drop":"a"}]"#,
            r#""answers":[{"question":{"stream":"s"},"answer":{"content_type":"a/b"}}]"#,
            r#""answers":[{"question":{"stream":"s"},"answer":{"data":"x"}}]"#,
            r#""answers":[{"question":{"stream":"s"},"answer":{"content_type":"a","data_base64":"?"}}]"#,
            r#""answers":[{"question":{"stream":"s"},"answer":{"missing":false}}]"#,
            r#""answers":[{"question":{"stream":"s"},"answer":7}]"#,
        ] {
            let text = format!("{{{part}}}");
            assert!(DecisionSummary::from_json(&text).is_err(), "{text}");
        }
    }
}
