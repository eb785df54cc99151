//! What a store knows of the messages that the decisions of one key have sent.
//!
//! The host keeps no time of a delivery: what a sink has settled is one figure for all of its
//! messages. So what is neither open nor dead is delivered.

use std::collections::BTreeMap;

use sagabox_engine::model::{DeadLetterStatus, LeasedMessage, SentMessage, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::waiting::Retry;
use crate::io::times::{Time, rfc3339_option};

/// The messages of a key that are not delivered, and those that were dead letters, by the ids of
/// their events. A message that is not among them is delivered, if `is_whole`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    pub messages: BTreeMap<String, MessageState>,
    /// False if a sink has so many messages that are not settled that not all were looked at.
    pub is_whole: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// It is on its way, or waits for its turn.
    Pending,
    /// It waits for its next attempt.
    Retry(Retry),
    /// It waits behind a dead letter of its ordering key.
    Parked,
    /// It is, or was, the dead letter of this number.
    Dead(u64, DeadLetterStatus),
}

/// What became of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delivery {
    /// Of the message's event.
    pub id: String,
    #[serde(rename = "type")]
    pub message_type: String,
    /// None if the message stayed on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    pub status: DeliveryStatus,
    /// The number of the next attempt, or of the delivery for which a worker has leased it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The name of the worker that has leased it. None if it gave none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// When the worker leased it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339_option")]
    #[schema(value_type = Option<Time>)]
    pub leased_at: Option<Timestamp>,
    /// The date of the next attempt, or the end of the lease.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339_option")]
    #[schema(value_type = Option<Time>)]
    pub until: Option<Timestamp>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The dead letter that the message is, or was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryStatus {
    /// It is an event that stayed in the log of the host.
    InLog,
    Delivered,
    /// It is on its way, waits for its turn, or for a worker.
    Pending,
    /// A worker has leased it.
    Leased,
    /// It waits for its next attempt.
    Retry,
    /// It waits behind a dead letter of its ordering key.
    Parked,
    /// It is a dead letter.
    Dead,
    /// It was a dead letter, and is on its way again.
    Redriving,
    /// It was a dead letter that an operator skipped: it is not delivered.
    Skipped,
    /// It was a dead letter that an operator discarded: it is not delivered.
    Discarded,
    /// It was a dead letter that its plugin has compensated: it is not delivered.
    Compensated,
    /// The sink has so many messages that the host did not look for this one.
    #[default]
    Unknown,
}

impl Delivery {
    /// What became of a message of a decision.
    #[must_use]
    pub fn of(message: &SentMessage, known: &Deliveries) -> Self {
        let SentMessage { id, event_type, sink, .. } = message;
        let delivery = Delivery {
            id: id.clone(),
            message_type: event_type.clone(),
            sink: sink.as_ref().map(ToString::to_string),
            ..Delivery::default()
        };
        let Some(state) = known.messages.get(id) else {
            let status = match (sink, known.is_whole) {
                (None, _) => DeliveryStatus::InLog,
                (Some(_), true) => DeliveryStatus::Delivered,
                (Some(_), false) => DeliveryStatus::Unknown,
            };
            return Delivery { status, ..delivery };
        };
        match state {
            MessageState::Pending => Delivery { status: DeliveryStatus::Pending, ..delivery },
            MessageState::Parked => Delivery { status: DeliveryStatus::Parked, ..delivery },
            MessageState::Retry(retry) => Delivery {
                status: DeliveryStatus::Retry,
                attempt: Some(retry.attempt),
                until: Some(retry.until),
                reason: Some(retry.reason.clone()),
                ..delivery
            },
            MessageState::Dead(id, status) => {
                let status = match status {
                    DeadLetterStatus::Open => DeliveryStatus::Dead,
                    DeadLetterStatus::Redriving => DeliveryStatus::Redriving,
                    DeadLetterStatus::Redriven => DeliveryStatus::Delivered,
                    DeadLetterStatus::Skipped => DeliveryStatus::Skipped,
                    DeadLetterStatus::Discarded => DeliveryStatus::Discarded,
                    DeadLetterStatus::Compensated => DeliveryStatus::Compensated,
                };
                Delivery { status, dead_letter: Some(*id), ..delivery }
            }
        }
    }

    /// The name of the queue in which the message is; none if it goes to another sink.
    #[must_use]
    pub fn queue(&self) -> Option<&str> {
        self.sink.as_deref()?.strip_prefix("queue:")
    }

    /// A worker has leased the pending message.
    #[must_use]
    pub fn leased(self, lease: &LeasedMessage) -> Self {
        Self {
            status: DeliveryStatus::Leased,
            attempt: Some(lease.leased.attempt),
            worker: lease.worker.as_deref().map(str::to_owned),
            leased_at: Some(lease.leased_at),
            until: Some(lease.ends_at),
            ..self
        }
    }

    /// What became of the message, as the end of a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self.status {
            DeliveryStatus::InLog => "stays in the log".to_owned(),
            DeliveryStatus::Delivered if self.dead_letter.is_some() => {
                "delivered, after it was a dead letter".to_owned()
            }
            DeliveryStatus::Delivered => "delivered".to_owned(),
            DeliveryStatus::Pending if self.queue().is_some() => {
                "in the queue: it waits for a worker".to_owned()
            }
            DeliveryStatus::Pending => "on its way".to_owned(),
            DeliveryStatus::Leased => match &self.worker {
                Some(worker) => format!("leased by {worker}"),
                None => "leased by a worker without a name".to_owned(),
            },
            DeliveryStatus::Retry => {
                let (attempt, reason) = (self.attempt.unwrap_or_default(), self.reason.as_deref());
                format!("waits for attempt {attempt}: {}", reason.unwrap_or_default())
            }
            DeliveryStatus::Parked => "waits behind a dead letter of its key".to_owned(),
            DeliveryStatus::Dead => "a dead letter".to_owned(),
            DeliveryStatus::Redriving => "a dead letter that is on its way again".to_owned(),
            DeliveryStatus::Skipped => "not delivered: an operator skipped it".to_owned(),
            DeliveryStatus::Discarded => "not delivered: an operator discarded it".to_owned(),
            DeliveryStatus::Compensated => {
                "not delivered: its plugin has compensated it".to_owned()
            }
            DeliveryStatus::Unknown => {
                "not known: its sink has too many messages to look at all of them".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::MessageKind;

    use super::*;

    fn message(id: &str, sink: Option<&str>) -> SentMessage {
        SentMessage {
            id: id.to_owned(),
            kind: MessageKind::Command,
            event_type: "Pay".to_owned(),
            sink: sink.map(Into::into),
        }
    }

    #[track_caller]
    fn check(state: Option<MessageState>, is_whole: bool, sink: Option<&str>, expected: &str) {
        let messages = state.into_iter().map(|state| ("m".to_owned(), state)).collect();
        let known = Deliveries { messages, is_whole };
        assert_eq!(Delivery::of(&message("m", sink), &known).sentence(), expected);
    }

    #[test]
    fn each_message_says_what_became_of_it() {
        let (http, queue) = (Some("http"), Some("queue:Pay"));
        check(None, true, None, "stays in the log");
        check(None, true, http, "delivered");
        check(
            None,
            false,
            http,
            "not known: its sink has too many messages to look at all of them",
        );
        check(Some(MessageState::Pending), true, http, "on its way");
        let waits = "in the queue: it waits for a worker";
        check(Some(MessageState::Pending), true, queue, waits);
        check(Some(MessageState::Parked), true, http, "waits behind a dead letter of its key");
        let retry = Retry {
            place: 1,
            attempt: 3,
            since: Timestamp(1),
            until: Timestamp(2),
            reason: "status 503".to_owned(),
        };
        check(Some(MessageState::Retry(retry)), true, http, "waits for attempt 3: status 503");
        for (status, expected) in [
            (DeadLetterStatus::Open, "a dead letter"),
            (DeadLetterStatus::Redriving, "a dead letter that is on its way again"),
            (DeadLetterStatus::Redriven, "delivered, after it was a dead letter"),
            (DeadLetterStatus::Skipped, "not delivered: an operator skipped it"),
            (DeadLetterStatus::Discarded, "not delivered: an operator discarded it"),
            (DeadLetterStatus::Compensated, "not delivered: its plugin has compensated it"),
        ] {
            check(Some(MessageState::Dead(7, status)), true, http, expected);
        }
    }
}
