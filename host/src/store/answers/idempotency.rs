//! The answers to requests with an idempotency key, in SQLite.

use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::ReadError;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::access::digest;
use crate::access::Digest;
use crate::store::query::access::{Idempotent, KeptAnswer};
use crate::store::rows::{self, damaged, integer};

impl SqliteStore {
    pub(super) async fn take_key(
        &self,
        caller: &str,
        key: &str,
        request: Digest,
        at: Timestamp,
    ) -> Result<Idempotent, ReadError> {
        let mut connection = self.beside().await?;
        let sql = "INSERT INTO idempotency (caller, key, request, at) VALUES (?, ?, ?, ?) \
                   ON CONFLICT DO NOTHING";
        let query =
            sqlx::query(sql).bind(caller).bind(key).bind(request.0.to_vec()).bind(integer(at.0));
        let done = query.execute(&mut connection).await;
        let is_new = done.map_err(|error| self.unreadable(&error))?.rows_affected() == 1;
        if is_new {
            self.done(connection).await?;
            return Ok(Idempotent::New);
        }
        let query = sqlx::query("SELECT * FROM idempotency WHERE caller = ? AND key = ?");
        let row = query.bind(caller).bind(key).fetch_one(&mut connection).await;
        let known = known(&row.map_err(|error| self.unreadable(&error))?)?;
        self.done(connection).await?;
        Ok(known)
    }

    pub(super) async fn keep_answer(
        &self,
        caller: &str,
        key: &str,
        answer: &KeptAnswer,
    ) -> Result<(), ReadError> {
        let mut connection = self.beside().await?;
        let sql = "UPDATE idempotency SET status = ?, content_type = ?, body = ? \
                   WHERE caller = ? AND key = ?";
        let query = sqlx::query(sql)
            .bind(answer.status)
            .bind(&answer.content_type)
            .bind(answer.body.as_ref().map(|body| body.to_vec()))
            .bind(caller)
            .bind(key);
        query.execute(&mut connection).await.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await
    }

    pub(super) async fn free_key(&self, caller: &str, key: &str) -> Result<(), ReadError> {
        let mut connection = self.beside().await?;
        let sql = "DELETE FROM idempotency WHERE caller = ? AND key = ? AND status IS NULL";
        let query = sqlx::query(sql).bind(caller).bind(key);
        query.execute(&mut connection).await.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await
    }

    pub(super) async fn expire_keys(
        &self,
        before: Timestamp,
        rows_max: u32,
    ) -> Result<(), ReadError> {
        let mut connection = self.beside().await?;
        let sql = "DELETE FROM idempotency WHERE (caller, key) IN \
                   (SELECT caller, key FROM idempotency WHERE at < ? ORDER BY at LIMIT ?)";
        let query = sqlx::query(sql).bind(integer(before.0)).bind(rows_max);
        query.execute(&mut connection).await.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await
    }
}

fn known(row: &SqliteRow) -> Result<Idempotent, ReadError> {
    let status: Option<u16> = row.try_get("status").map_err(damaged)?;
    let body: Option<Vec<u8>> = row.try_get("body").map_err(damaged)?;
    let content_type = rows::optional(row, "content_type")?;
    let body = body.map(Into::into);
    let answer = status.map(|status| KeptAnswer { status, content_type, body });
    let at = Timestamp(rows::number(row, "at")?);
    Ok(Idempotent::Known { request: digest(row, "request")?, at, answer })
}
