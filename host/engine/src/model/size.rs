//! Pure: about how much memory values take, for limits in bytes. Texts and data count with their
//! length, and each value with a constant for the rest. Shared data counts once for each value
//! that shares it.

use super::{
    Answer, AnswerValue, Decision, Event, Key, KeyChange, Outgoing, Question, TimerChange,
};

/// For one struct and the overhead of its allocations.
const VALUE_BYTES: usize = 256;

impl Event {
    /// About how many bytes of memory the event takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let optional = [&self.subject, &self.time, &self.datacontenttype, &self.dataschema];
        let optional = optional.into_iter().flatten().map(String::len);
        VALUE_BYTES
            + self.id.len()
            + self.source.len()
            + self.event_type.len()
            + optional.sum::<usize>()
            + pairs(&self.extensions)
            + self.data.len()
    }
}

impl Decision {
    /// About how many bytes of memory the decision takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let timer = |change: &TimerChange| match change {
            TimerChange::Set { name, data, .. } => VALUE_BYTES + name.as_str().len() + data.len(),
            TimerChange::Cancel(name) => VALUE_BYTES + name.as_str().len(),
        };
        let key = |change: &KeyChange| match change {
            KeyChange::Claim(key) | KeyChange::Release(key) => VALUE_BYTES + Key::as_str(key).len(),
        };
        VALUE_BYTES
            + self.state.as_ref().map_or(0, bytes::Bytes::len)
            + self.messages.iter().map(Outgoing::bytes).sum::<usize>()
            + self.timers.iter().map(timer).sum::<usize>()
            + self.keys.iter().map(key).sum::<usize>()
    }
}

impl Outgoing {
    fn bytes(&self) -> usize {
        VALUE_BYTES
            + self.event_type.len()
            + self.subject.as_ref().map_or(0, String::len)
            + self.datacontenttype.len()
            + pairs(&self.extensions)
            + self.data.len()
    }
}

impl Answer {
    /// About how many bytes of memory the answer takes, the events of a stream included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let question = match &self.question {
            Question::Lookup { name, key } => name.len() + key.len(),
            Question::Stream(subject) => subject.len(),
        };
        let value = match &self.value {
            AnswerValue::Found { content_type, data } => content_type.len() + data.len(),
            AnswerValue::Missing => 0,
            AnswerValue::Events(events) => events.iter().map(|event| event.bytes()).sum(),
        };
        VALUE_BYTES + question + value
    }
}

fn pairs(extensions: &[(String, String)]) -> usize {
    extensions.iter().map(|(name, value)| 64 + name.len() + value.len()).sum()
}
