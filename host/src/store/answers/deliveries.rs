//! The messages of one key that are not delivered: what no sink has settled, and dead letters.

use sagabox_engine::seams::store::ReadError;
use sqlx::SqliteConnection;

use super::failed;
use super::waiting::{Of, cursors, messages};
use crate::store::dead_letters;
use crate::store::query::deliveries::{Deliveries, MessageState};
use crate::store::query::waiting::WaitingMessage;
use crate::store::rows;

/// Messages of one sink: more are no longer read by people.
const MESSAGES_MAX: u32 = 1_000;

pub(super) async fn deliveries(
    connection: &mut SqliteConnection,
    of: Of<'_>,
    positions: &[u64],
) -> Result<Deliveries, ReadError> {
    let mut found = Deliveries { is_whole: true, ..Deliveries::default() };
    for (sink, cursor) in cursors(connection).await? {
        let (own, is_whole) = messages(connection, of, (&sink, &cursor), MESSAGES_MAX).await?;
        found.is_whole &= is_whole;
        found.messages.extend(own.into_iter().map(state));
    }
    // A dead letter of a message names the event whose decision sent the message.
    let sql = "SELECT id, status, json_extract(event, '$.id') AS message FROM dead_letters \
               WHERE position IN (SELECT value FROM json_each(?3)) AND sink IS NOT NULL \
               AND plugin = ?1 AND key = ?2 ORDER BY id";
    let query = sqlx::query(sql).bind(of.0.to_owned()).bind(of.1.to_owned());
    for row in query.bind(rows::json(positions)).fetch_all(connection).await.map_err(failed)? {
        let (id, status) = (rows::number(&row, "id")?, dead_letters::status(&row)?);
        let message = rows::text(&row, "message")?;
        found.messages.insert(message, MessageState::Dead(id, status));
    }
    Ok(found)
}

fn state(message: WaitingMessage) -> (String, MessageState) {
    let WaitingMessage { id, is_parked, retry, .. } = message;
    let state = match retry {
        _ if is_parked => MessageState::Parked,
        Some(retry) => MessageState::Retry(retry),
        None => MessageState::Pending,
    };
    (id, state)
}
