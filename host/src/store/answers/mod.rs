//! SQLite's answers to the questions of `query`, on connections of their own, so that a question
//! slows no commit down.

mod access;
mod accounts;
pub(super) mod batches;
mod causes;
pub(super) mod dead_letters;
mod deliveries;
pub(super) mod due;
mod export;
pub(super) mod found;
mod idempotency;
mod instances;
pub(super) mod listed;
mod serving;
pub(super) mod snapshot;
mod states;
mod views;
pub(super) mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use sagabox_engine::model::State;
use sagabox_engine::seams::store::ReadError;
use sqlx::SqliteConnection;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqlitePool};

use self::found::Looks;
use super::components;
use super::id_spans::Tails;
use super::query::component::{KeptComponent, PackedComponent};
use super::query::deliveries::Deliveries;
use super::query::found::{EventTrace, Found, Sees};
use super::query::rows::{
    Accounts, CauseFilter, CausePage, Counted, CountedPage, DeadLetterFilter, DeadLetterRow,
    DueTimer, ExportedInstance, InstanceDetail, InstanceFilter, InstanceRow, Page,
    RecordedDecision, StateRow, TimerFilter, TimerPlace, WaitFilter, WaitPlace, WaitRow,
};
use super::query::waiting::Waiting;
use super::query::{Queries, QueryLimits, StatePage};
use super::rows;
use super::sqlite::SqliteStore;
use crate::decisions::recorded::Messages;

/// Lists take one for each step, so that a list that looks for long holds up no other question.
const CONNECTIONS: u32 = 2;

pub(super) struct SqliteQueries {
    pool: SqlitePool,
    ids: Tails,
    limits: QueryLimits,
}

impl SqliteQueries {
    pub(super) async fn new(store: &SqliteStore, limits: QueryLimits) -> Result<Self, sqlx::Error> {
        Ok(Self { pool: store.reading(CONNECTIONS).await?, ids: store.ids.clone(), limits })
    }

    async fn connection(&self) -> Result<PoolConnection<Sqlite>, ReadError> {
        self.pool.acquire().await.map_err(failed)
    }

    async fn names(&self, sql: &'static str) -> Result<BTreeSet<String>, ReadError> {
        let found = sqlx::query(sql).fetch_all(&self.pool).await.map_err(failed)?;
        found.iter().map(|row| rows::text(row, "name")).collect()
    }
}

#[async_trait]
impl Queries for SqliteQueries {
    async fn instance_counts(
        &self,
        plugin: &str,
    ) -> Result<BTreeMap<&'static str, u64>, ReadError> {
        instances::counts(&mut *self.connection().await?, plugin).await
    }

    async fn instances(
        &self,
        filter: &InstanceFilter,
    ) -> Result<Page<InstanceRow, String>, ReadError> {
        listed::list(&self.pool, filter, &self.limits).await
    }

    async fn export(
        &self,
        filter: &InstanceFilter,
    ) -> Result<Page<ExportedInstance, String>, ReadError> {
        export::export(&self.pool, filter, &self.limits).await
    }

    async fn count_instances(&self, filter: &InstanceFilter) -> Result<CountedPage, ReadError> {
        listed::count(&self.pool, filter, &self.limits).await
    }

    async fn instance(
        &self,
        plugin: &str,
        key: &str,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Option<InstanceDetail>, ReadError> {
        let mut connection = self.connection().await?;
        instances::detail(&mut connection, (plugin, key), after, limit, &self.limits).await
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Page<DeadLetterRow, u64>, ReadError> {
        dead_letters::list(&self.pool, filter, &self.limits).await
    }

    async fn count_open_dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Counted, ReadError> {
        dead_letters::count_open(&self.pool, filter, &self.limits).await
    }

    async fn dead_letter_ids(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Page<u64, u64>, ReadError> {
        dead_letters::ids(&self.pool, filter, &self.limits).await
    }

    async fn find(&self, text: &str, limit: u32, sees: &Sees<'_>) -> Result<Vec<Found>, ReadError> {
        let looks = Looks { sees, room: limit as usize, time: self.limits.scan_time };
        found::find(&mut *self.connection().await?, &self.ids, text, &looks).await
    }

    async fn trace(&self, position: u64) -> Result<Option<EventTrace>, ReadError> {
        found::trace(&mut *self.connection().await?, position).await
    }

    async fn decisions(
        &self,
        plugin: &str,
        key: &str,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Page<RecordedDecision, u64>, ReadError> {
        let mut connection = self.connection().await?;
        let bytes_max = self.limits.page_bytes;
        instances::decisions(&mut connection, (plugin, key), after, limit, bytes_max).await
    }

    async fn decision(
        &self,
        plugin: &str,
        key: &str,
        position: u64,
    ) -> Result<Option<RecordedDecision>, ReadError> {
        instances::recorded_at(&mut *self.connection().await?, (plugin, key), position).await
    }

    async fn messages(&self, ids: &[String]) -> Result<Messages, ReadError> {
        found::messages(&mut *self.connection().await?, &self.ids, ids, &self.limits).await
    }

    async fn waiting(&self, plugin: &str, key: &str) -> Result<Waiting, ReadError> {
        waiting::waiting(&mut *self.connection().await?, (plugin, key), &self.limits).await
    }

    async fn deliveries(
        &self,
        plugin: &str,
        key: &str,
        positions: &[u64],
    ) -> Result<Deliveries, ReadError> {
        deliveries::deliveries(&mut *self.connection().await?, (plugin, key), positions).await
    }

    async fn whole_instance(
        &self,
        plugin: &str,
        key: &str,
    ) -> Result<Option<ExportedInstance>, ReadError> {
        export::whole(&self.pool, (plugin, key)).await
    }

    async fn causes(&self, filter: &CauseFilter) -> Result<CausePage, ReadError> {
        causes::list(&self.pool, filter, &self.limits).await
    }

    async fn timers(&self, filter: &TimerFilter) -> Result<Page<DueTimer, TimerPlace>, ReadError> {
        due::timers(&self.pool, filter, &self.limits).await
    }

    async fn waits(&self, filter: &WaitFilter) -> Result<Page<WaitRow, WaitPlace>, ReadError> {
        due::waits(&self.pool, filter, &self.limits).await
    }

    async fn plugins(&self) -> Result<BTreeSet<String>, ReadError> {
        self.names("SELECT plugin AS name FROM plugins").await
    }

    async fn sinks(&self) -> Result<BTreeSet<String>, ReadError> {
        self.names("SELECT sink AS name FROM outbox_totals UNION SELECT sink FROM sinks").await
    }

    async fn accounts(&self) -> Result<Accounts, ReadError> {
        accounts::accounts(&mut *self.connection().await?, self.limits.counted_pending).await
    }

    async fn has_instances(&self, plugin: &str) -> Result<bool, ReadError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM instances WHERE plugin = ?) AS n";
        Ok(count(&mut *self.connection().await?, sql, Some(plugin)).await? == 1)
    }

    async fn live_states(
        &self,
        plugin: &str,
        after: &str,
        page: StatePage,
    ) -> Result<Vec<(String, State)>, ReadError> {
        states::live(&mut *self.connection().await?, plugin, after, page).await
    }

    async fn kept_components(&self) -> Result<Vec<KeptComponent>, ReadError> {
        components::kept(&mut *self.connection().await?, None).await
    }

    async fn component(&self, digest: &str) -> Result<Option<PackedComponent>, ReadError> {
        components::component(&mut *self.connection().await?, digest).await
    }

    async fn states(
        &self,
        plugin: &str,
        after: &str,
        page: StatePage,
    ) -> Result<Vec<StateRow>, ReadError> {
        states::all(&mut *self.connection().await?, plugin, after, page).await
    }
}

fn failed(error: sqlx::Error) -> ReadError {
    ReadError(format!("the store cannot be read: {error}"))
}

/// The number `n` of the only row.
async fn count(
    connection: &mut SqliteConnection,
    sql: &'static str,
    of: Option<&str>,
) -> Result<u64, ReadError> {
    let query = match of {
        Some(of) => sqlx::query(sql).bind(of.to_owned()),
        None => sqlx::query(sql),
    };
    rows::number(&query.fetch_one(connection).await.map_err(failed)?, "n")
}
