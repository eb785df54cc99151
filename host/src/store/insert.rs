//! Many rows by few statements: `INSERT … VALUES (…), (…), …`.
//!
//! The cost of a commit is the number of its statements, each of which crosses to
//! SQLite's thread and back. Rows go in chunks of a few sizes, so that the
//! statements stay prepared.

use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

pub(super) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Rows of one statement. Larger ones gain nothing, and SQLite's limit on the
/// variables of a statement (32,766) stays far away.
const CHUNKS: [usize; 4] = [256, 32, 4, 1];

/// What stands before and behind the rows, and how many values a row has.
pub(super) struct Insert {
    pub head: &'static str,
    pub columns: usize,
    pub tail: &'static str,
}

impl Insert {
    fn sql(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns].join(","));
        format!("{} VALUES {} {}", self.head, vec![row.as_str(); rows].join(","), self.tail)
    }

    /// Runs over all rows, and returns how many were written. `bind` gives a row's
    /// values, in the order of the columns.
    pub async fn run<R>(
        &self,
        writer: &mut SqliteConnection,
        rows: &[R],
        bind: impl for<'q> Fn(Query<'q>, &R) -> Query<'q>,
    ) -> Result<u64, sqlx::Error> {
        let mut written = 0;
        let mut rest = rows;
        for size in CHUNKS {
            if rest.len() < size {
                continue;
            }
            let sql = self.sql(size);
            while rest.len() >= size {
                let (chunk, behind) = rest.split_at(size);
                let query = sqlx::query(AssertSqlSafe(sql.clone()));
                let query = chunk.iter().fold(query, &bind);
                written += query.execute(&mut *writer).await?.rows_affected();
                rest = behind;
            }
        }
        Ok(written)
    }
}
