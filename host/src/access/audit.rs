//! The record of who did what, why, to what, from where, and with which outcome.

use sagabox_engine::model::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::io::times::{Time, rfc3339};

/// What is known before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub at: Timestamp,
    /// The name of the token, `local` without one, or `unknown`.
    pub who: String,
    /// The id of the token.
    pub token: Option<u64>,
    /// The client's address.
    pub origin: String,
    /// Method and path.
    pub action: String,
    /// What it is about, as a JSON object without payloads.
    pub target: Option<String>,
    pub reason: Option<String>,
    /// The status of the answer; none before it is known.
    pub status: Option<u16>,
}

/// An entry as people read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditRow {
    pub id: u64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub at: Timestamp,
    /// The name of the token, `local` without one, or `unknown`.
    pub who: String,
    /// The id of the token.
    pub token: Option<u64>,
    /// The client's address.
    pub origin: String,
    /// Method and path.
    pub action: String,
    /// What it is about, without payloads.
    #[schema(value_type = Option<Object>)]
    pub target: Option<Box<RawValue>>,
    pub reason: Option<String>,
    /// The status of the answer. None: the host ended before it was known.
    pub status: Option<u16>,
    /// How often the same was refused within a minute.
    pub count: u64,
}

/// Which entries a list has. What is given must hold.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub who: Option<String>,
    pub action_contains: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// The id after which the page begins.
    pub after: u64,
    pub limit: u32,
}
