//! The vocabulary as types. Pure: these types know no clock, no store and no transport.

pub mod attribute;
mod batch;
mod control;
mod cursor;
mod decision;
mod event;
mod event_json;
mod hops;
mod ids;
mod imported;
mod instance;
pub mod json;
mod lease;
mod manifest;
mod message;
mod record;
mod resolution;
mod retention;
mod size;
mod summary;
mod trace;

pub use batch::{
    BatchAction, BatchId, BatchItem, BatchItemId, ItemNote, ItemOutcome, StartedBatch,
};
pub use control::{Control, ControlId, ControlKind, Limit, Pause, PauseEnd, Rate, Target};
pub use cursor::{Counters, Cursor, InstanceCounts, Span};
pub use decision::{
    Answer, AnswerValue, Decision, Due, Failure, KeyChange, Outgoing, Question, TimerChange,
};
pub use event::{Event, EventError, JSON};
pub use event_json::{BatchError, read_batch};
pub use hops::{Hops, Origin};
pub use ids::{
    AgeTime, Key, MessageId, PluginName, Position, Sequence, SinkName, TimerName, Timestamp,
};
pub use imported::{Import, ImportedBy, ImportedInstance, ImportedState, ImportedTimer, Octets};
pub use instance::{Instance, InstanceStatus, State, Timer};
pub use lease::{
    Lease, LeaseFilter, LeaseId, LeaseReport, LeaseRequest, Leased, LeasedMessage, QueueError,
    QueueStatus, Selection, WorkerLeases,
};
pub use manifest::{
    Absent, Correlation, Effect, Field, Manifest, OptionalPart, Role, Source, Subscription,
};
pub use message::{Message, MessageKind, reserved};
pub use record::{
    AgeMark, DeadLetter, DeadLetterId, DeadLetterStatus, DeadLetterSubject, DecisionRecord, Held,
    LogEntry, OpenDeadLetter, Parked, TimerPlace, TimerRef, Wait,
};
pub use resolution::{Action, Resolution};
pub use retention::Retention;
pub use summary::{
    DecisionSummary, EndedBy, RecordedAnswer, RecordedTimer, RecordedValue, SentMessage,
};
pub use trace::{SpanId, TRACEPARENT, TRACESTATE, Trace, TraceContext, TraceId};
