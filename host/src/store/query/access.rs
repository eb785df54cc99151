//! What a store keeps of tokens, of sessions and of what was done with them. Small writes beside the commits.

use async_trait::async_trait;
use bytes::Bytes;
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::ReadError;

use super::rows::Page;
use crate::access::{AuditEntry, AuditFilter, AuditRow, Digest, Session, Token};

/// What is known of a caller's idempotency key.
#[derive(Debug, PartialEq, Eq)]
pub enum Idempotent {
    /// Nothing: it is taken now.
    New,
    Known {
        /// Of the request that has taken it.
        request: Digest,
        at: Timestamp,
        /// None: not known.
        answer: Option<KeptAnswer>,
    },
}

/// The answer to a request with an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    pub status: u16,
    pub content_type: Option<String>,
    /// None: it has a secret.
    pub body: Option<Bytes>,
}

#[async_trait]
pub trait AccessRecords: Send + Sync + 'static {
    /// All tokens with their digests, in the order of their ids, also revoked and expired ones.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn tokens(&self) -> Result<Vec<(Digest, Token)>, ReadError>;

    /// Adds a token and returns its id.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn add_token(&self, digest: Digest, token: &Token) -> Result<u64, ReadError>;

    /// Revokes a token. False if there is none with this id that is not revoked.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn revoke_token(&self, id: u64, at: Timestamp) -> Result<bool, ReadError>;

    /// Notes when tokens were used last.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn note_uses(&self, uses: &[(u64, Timestamp)]) -> Result<(), ReadError>;

    /// All sessions that have not ended, with their digests, in the order of their ids.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn sessions(&self) -> Result<Vec<(Digest, Session)>, ReadError>;

    /// Adds a session and returns its id.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn add_session(&self, digest: Digest, session: &Session) -> Result<u64, ReadError>;

    /// Removes a session. False if there is none with this id.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn end_session(&self, id: u64) -> Result<bool, ReadError>;

    /// Notes when sessions were used last.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn note_session_uses(&self, uses: &[(u64, Timestamp)]) -> Result<(), ReadError>;

    /// Removes sessions that expire at `now` or before, or were used last at `idle` or before.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn expire_sessions(&self, now: Timestamp, idle: Timestamp) -> Result<(), ReadError>;

    /// Takes a key of a caller for a request, or says what is known of the key.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn begin_idempotent(
        &self,
        caller: &str,
        key: &str,
        request: Digest,
        at: Timestamp,
    ) -> Result<Idempotent, ReadError>;

    /// Keeps the answer to a request whose key was taken.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn finish_idempotent(
        &self,
        caller: &str,
        key: &str,
        answer: &KeptAnswer,
    ) -> Result<(), ReadError>;

    /// Frees a key that has no answer.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn release_idempotent(&self, caller: &str, key: &str) -> Result<(), ReadError>;

    /// Removes keys from before a time, at most `rows_max`.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn expire_idempotent(&self, before: Timestamp, rows_max: u32) -> Result<(), ReadError>;

    /// Adds an entry to the audit log and returns its id. Ids grow.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn add_audit(&self, entry: &AuditEntry) -> Result<u64, ReadError>;

    /// Completes an entry with the status of the answer.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn complete_audit(&self, id: u64, status: u16) -> Result<(), ReadError>;

    /// Counts further refusals like that of the entry.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn count_audit(&self, id: u64, further: u64) -> Result<(), ReadError>;

    /// Entries in the order of their ids.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn audit(&self, filter: &AuditFilter) -> Result<Page<AuditRow, u64>, ReadError>;

    /// Removes entries from before a time, at most `rows_max`. Returns how many.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn expire_audit(&self, before: Timestamp, rows_max: u32) -> Result<u64, ReadError>;
}
