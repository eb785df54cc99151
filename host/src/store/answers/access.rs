//! Tokens, sessions and the audit log in SQLite.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::ReadError;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::SqliteStore;
use crate::access::{AuditEntry, AuditFilter, AuditRow, Digest, Holder, Session, Token};
use crate::store::query::access::{AccessRecords, Idempotent, KeptAnswer};
use crate::store::query::rows::Page;
use crate::store::rows::{self, damaged, integer};

impl SqliteStore {
    /// A connection for one of these small writes or reads.
    pub(super) async fn beside(&self) -> Result<SqliteConnection, ReadError> {
        self.options.connect().await.map_err(|error| self.unreadable(&error))
    }

    /// Writes times by id. `sql` takes them as JSON.
    async fn note(&self, sql: &'static str, uses: &[(u64, Timestamp)]) -> Result<(), ReadError> {
        let mut connection = self.beside().await?;
        let uses: Vec<(u64, u64)> = uses.iter().map(|(id, at)| (*id, at.0)).collect();
        let query = sqlx::query(sql).bind(rows::json(&uses));
        query.execute(&mut connection).await.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await
    }

    pub(super) async fn done(&self, connection: SqliteConnection) -> Result<(), ReadError> {
        connection.close().await.map_err(|error| self.unreadable(&error))
    }
}

#[async_trait]
impl AccessRecords for SqliteStore {
    async fn tokens(&self) -> Result<Vec<(Digest, Token)>, ReadError> {
        let mut connection = self.beside().await?;
        let query = sqlx::query("SELECT * FROM tokens ORDER BY id");
        let found = query.fetch_all(&mut connection).await;
        let found = found.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await?;
        found.iter().map(token).collect()
    }

    async fn add_token(&self, digest: Digest, token: &Token) -> Result<u64, ReadError> {
        let mut connection = self.beside().await?;
        let sql = "INSERT INTO tokens (digest, name, roles, payloads, plugins, types, rate, certificates, \
                   created_at, created_by, expires_at, revoked_at, last_used_at) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id";
        let query = sqlx::query(sql)
            .bind(digest.0.to_vec())
            .bind(&token.name)
            .bind(rows::json(&token.roles))
            .bind(token.payloads)
            .bind(rows::json(&token.plugins))
            .bind(rows::json(&token.types))
            .bind(token.rate.as_ref().map(rows::json))
            .bind(rows::json(&token.certificates))
            .bind(integer(token.created_at.0))
            .bind(&token.created_by)
            .bind(token.expires_at.map(|at| integer(at.0)))
            .bind(token.revoked_at.map(|at| integer(at.0)))
            .bind(token.last_used_at.map(|at| integer(at.0)));
        let row = query.fetch_one(&mut connection).await;
        let id = rows::number(&row.map_err(|error| self.unreadable(&error))?, "id")?;
        self.done(connection).await?;
        Ok(id)
    }

    async fn revoke_token(&self, id: u64, at: Timestamp) -> Result<bool, ReadError> {
        let mut connection = self.beside().await?;
        let sql = "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL";
        let query = sqlx::query(sql).bind(integer(at.0)).bind(integer(id));
        let done = query.execute(&mut connection).await;
        let done = done.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn note_uses(&self, uses: &[(u64, Timestamp)]) -> Result<(), ReadError> {
        let sql = "UPDATE tokens SET last_used_at = use.value ->> 1 FROM json_each(?) AS use \
                   WHERE tokens.id = use.value ->> 0";
        self.note(sql, uses).await
    }

    async fn sessions(&self) -> Result<Vec<(Digest, Session)>, ReadError> {
        let mut connection = self.beside().await?;
        let query = sqlx::query("SELECT * FROM sessions ORDER BY id");
        let found = query.fetch_all(&mut connection).await;
        let found = found.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await?;
        found.iter().map(session).collect()
    }

    async fn add_session(&self, digest: Digest, session: &Session) -> Result<u64, ReadError> {
        let mut connection = self.beside().await?;
        let (token, person) = match &session.holder {
            Holder::Token(id) => (Some(integer(*id)), None),
            Holder::Person(person) => (None, Some(rows::json(person))),
        };
        let sql = "INSERT INTO sessions (digest, token, person, origin, created_at, expires_at, \
                   last_used_at) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id";
        let query = sqlx::query(sql)
            .bind(digest.0.to_vec())
            .bind(token)
            .bind(person)
            .bind(&session.origin)
            .bind(integer(session.created_at.0))
            .bind(integer(session.expires_at.0))
            .bind(integer(session.last_used_at.0));
        let row = query.fetch_one(&mut connection).await;
        let id = rows::number(&row.map_err(|error| self.unreadable(&error))?, "id")?;
        self.done(connection).await?;
        Ok(id)
    }

    async fn end_session(&self, id: u64) -> Result<bool, ReadError> {
        let mut connection = self.beside().await?;
        let query = sqlx::query("DELETE FROM sessions WHERE id = ?").bind(integer(id));
        let done = query.execute(&mut connection).await;
        let done = done.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn note_session_uses(&self, uses: &[(u64, Timestamp)]) -> Result<(), ReadError> {
        let sql = "UPDATE sessions SET last_used_at = use.value ->> 1 FROM json_each(?) AS use \
                   WHERE sessions.id = use.value ->> 0";
        self.note(sql, uses).await
    }

    async fn expire_sessions(&self, now: Timestamp, idle: Timestamp) -> Result<(), ReadError> {
        let mut connection = self.beside().await?;
        let query = sqlx::query("DELETE FROM sessions WHERE expires_at <= ? OR last_used_at <= ?")
            .bind(integer(now.0))
            .bind(integer(idle.0));
        query.execute(&mut connection).await.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await
    }

    async fn begin_idempotent(
        &self,
        caller: &str,
        key: &str,
        request: Digest,
        at: Timestamp,
    ) -> Result<Idempotent, ReadError> {
        self.take_key(caller, key, request, at).await
    }

    async fn finish_idempotent(
        &self,
        caller: &str,
        key: &str,
        answer: &KeptAnswer,
    ) -> Result<(), ReadError> {
        self.keep_answer(caller, key, answer).await
    }

    async fn release_idempotent(&self, caller: &str, key: &str) -> Result<(), ReadError> {
        self.free_key(caller, key).await
    }

    async fn expire_idempotent(&self, before: Timestamp, rows_max: u32) -> Result<(), ReadError> {
        self.expire_keys(before, rows_max).await
    }

    async fn add_audit(&self, entry: &AuditEntry) -> Result<u64, ReadError> {
        let mut connection = self.beside().await?;
        let sql = "INSERT INTO audit (at, who, token, origin, action, target, reason, status) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id";
        let query = sqlx::query(sql)
            .bind(integer(entry.at.0))
            .bind(&entry.who)
            .bind(entry.token.map(integer))
            .bind(&entry.origin)
            .bind(&entry.action)
            .bind(&entry.target)
            .bind(&entry.reason)
            .bind(entry.status);
        let row = query.fetch_one(&mut connection).await;
        let id = rows::number(&row.map_err(|error| self.unreadable(&error))?, "id")?;
        self.done(connection).await?;
        Ok(id)
    }

    async fn complete_audit(&self, id: u64, status: u16) -> Result<(), ReadError> {
        let mut connection = self.beside().await?;
        let query = sqlx::query("UPDATE audit SET status = ? WHERE id = ?");
        let query = query.bind(status).bind(integer(id));
        query.execute(&mut connection).await.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await
    }

    async fn count_audit(&self, id: u64, further: u64) -> Result<(), ReadError> {
        let mut connection = self.beside().await?;
        let query = sqlx::query("UPDATE audit SET count = count + ? WHERE id = ?");
        let query = query.bind(integer(further)).bind(integer(id));
        query.execute(&mut connection).await.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Page<AuditRow, u64>, ReadError> {
        let mut connection = self.beside().await?;
        let sql = "SELECT * FROM audit WHERE id > ?1 AND (?2 IS NULL OR who = ?2) \
                   AND (?3 IS NULL OR instr(action, ?3) > 0) AND (?4 IS NULL OR at >= ?4) \
                   AND (?5 IS NULL OR at < ?5) ORDER BY id LIMIT ?6";
        let query = sqlx::query(sql)
            .bind(integer(filter.after))
            .bind(&filter.who)
            .bind(&filter.action_contains)
            .bind(filter.from.map(|at| integer(at.0)))
            .bind(filter.to.map(|at| integer(at.0)))
            .bind(filter.limit + 1);
        let found = query.fetch_all(&mut connection).await;
        let found = found.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await?;
        let rows: Result<Vec<_>, ReadError> = found.iter().map(entry).collect();
        Ok(Page::of(rows?, filter.limit, |row: &AuditRow| row.id))
    }

    async fn expire_audit(&self, before: Timestamp, rows_max: u32) -> Result<u64, ReadError> {
        let mut connection = self.beside().await?;
        let sql = "DELETE FROM audit WHERE id IN \
                   (SELECT id FROM audit WHERE at < ? ORDER BY at LIMIT ?)";
        let query = sqlx::query(sql).bind(integer(before.0)).bind(rows_max);
        let done = query.execute(&mut connection).await;
        let done = done.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await?;
        Ok(done.rows_affected())
    }
}

pub(super) fn digest(row: &SqliteRow, column: &str) -> Result<Digest, ReadError> {
    let digest = rows::bytes(row, column)?.try_into();
    digest.map(Digest).map_err(|_| damaged("a digest of another length"))
}

fn session(row: &SqliteRow) -> Result<(Digest, Session), ReadError> {
    let holder = match optional(row, "token")? {
        Some(id) => Holder::Token(id),
        None => Holder::Person(parsed(row, "person")?),
    };
    let session = Session {
        id: rows::number(row, "id")?,
        holder,
        origin: rows::text(row, "origin")?,
        created_at: Timestamp(rows::number(row, "created_at")?),
        expires_at: Timestamp(rows::number(row, "expires_at")?),
        last_used_at: Timestamp(rows::number(row, "last_used_at")?),
    };
    Ok((digest(row, "digest")?, session))
}

fn token(row: &SqliteRow) -> Result<(Digest, Token), ReadError> {
    let rate = rows::optional(row, "rate")?;
    let rate = rate.map(|text| serde_json::from_str(&text)).transpose().map_err(damaged)?;
    let token = Token {
        id: rows::number(row, "id")?,
        name: rows::text(row, "name")?,
        roles: parsed(row, "roles")?,
        payloads: row.try_get("payloads").map_err(damaged)?,
        plugins: parsed::<BTreeSet<String>>(row, "plugins")?,
        types: parsed::<BTreeSet<String>>(row, "types")?,
        rate,
        certificates: parsed(row, "certificates")?,
        created_at: Timestamp(rows::number(row, "created_at")?),
        created_by: rows::text(row, "created_by")?,
        expires_at: time(row, "expires_at")?,
        revoked_at: time(row, "revoked_at")?,
        last_used_at: time(row, "last_used_at")?,
    };
    Ok((digest(row, "digest")?, token))
}

fn entry(row: &SqliteRow) -> Result<AuditRow, ReadError> {
    let target: Option<String> = row.try_get("target").map_err(damaged)?;
    Ok(AuditRow {
        id: rows::number(row, "id")?,
        at: Timestamp(rows::number(row, "at")?),
        who: rows::text(row, "who")?,
        token: optional(row, "token")?,
        origin: rows::text(row, "origin")?,
        action: rows::text(row, "action")?,
        target: target.map(RawValue::from_string).transpose().map_err(damaged)?,
        reason: row.try_get("reason").map_err(damaged)?,
        status: row.try_get("status").map_err(damaged)?,
        count: rows::number(row, "count")?,
    })
}

fn parsed<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, ReadError> {
    serde_json::from_str(&rows::text(row, column)?).map_err(damaged)
}

fn time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, ReadError> {
    Ok(optional(row, column)?.map(Timestamp))
}

fn optional(row: &SqliteRow, column: &str) -> Result<Option<u64>, ReadError> {
    let number: Option<i64> = row.try_get(column).map_err(damaged)?;
    number.map(u64::try_from).transpose().map_err(damaged)
}
