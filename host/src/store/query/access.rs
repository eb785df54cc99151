//! What a store keeps of tokens and of what was done with them. Small writes beside the commits.

use async_trait::async_trait;
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::ReadError;

use super::rows::Page;
use crate::access::{AuditEntry, AuditFilter, AuditRow, Digest, Token};

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
