//! What Sagabox is compared with: an outbox written by hand, well, as a service of its own.
//!
//! It offers the three paths that the load needs. An event, its identity for
//! deduplication and its outbox row go into one transaction; whatever came while the
//! last commit ran shares the next, one statement a table. The consumer reads the
//! outbox in batches and marks what it has handled. SQLite with the same settings as
//! Sagabox's. It has no order per key, no leases that expire, no retries, no dead
//! letters, and no plugin: the command is made of the event in place. Duplicates are
//! looked for but not skipped: the load has none.
//!
//! It comes in two kinds: as lean as can be, and one that keeps what Sagabox keeps, so
//! that a person can see later what was decided, when, and why: the time of each event,
//! a record of each decision, and what each command is about.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::load::Target;

/// The argument with which the benchmark starts itself as this service.
pub const ARGUMENT: &str = "serve-by-hand";
/// Events of a commit; the same as in Sagabox.
const COMMIT_MAX: usize = 8_192;

/// What it stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    Outbox,
    Records,
}

impl Keeps {
    pub const ALL: [Self; 2] = [Self::Records, Self::Outbox];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Records => "by hand, a service over HTTP that stores the same",
            Self::Outbox => "by hand, a service over HTTP, as lean as can be",
        }
    }

    fn argument(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Outbox => "outbox",
        }
    }
}

impl std::str::FromStr for Keeps {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let keeps = Self::ALL.into_iter().find(|keeps| keeps.argument() == text);
        keeps.with_context(|| format!("`{text}` is nothing to keep"))
    }
}

/// The running service. Dropping it ends it.
pub struct ByHand {
    pub target: Target,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl ByHand {
    /// # Errors
    /// If it does not come to listen.
    pub async fn start(keeps: Keeps) -> Result<Self> {
        let folder = tempfile::TempDir::new()?;
        let mut process = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .arg(folder.path().join("by-hand.db"))
            .arg(keeps.argument())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().context("a piped output")?;
        let line = BufReader::new(output).lines().next_line().await?;
        let address = line.context("the hand-written service ended")?.parse()?;
        let id = process.id().context("the hand-written service ended")?;
        let target = Target { address, process: id };
        Ok(Self { target, _process: process, _folder: folder })
    }
}

/// The service itself, until it is killed.
///
/// # Errors
/// If the database or the socket cannot be opened.
pub async fn serve(database: &Path, keeps: Keeps) -> Result<()> {
    let (work, work_of) = mpsc::unbounded_channel();
    let (committed, last) = watch::channel(0);
    let writer = Writer { db: open(database, keeps).await?, keeps, position: 0, committed };
    tokio::spawn(writer.run(work_of));
    let reader = Mutex::new(Reader { db: connect(database).await?, handed_out: 0 });
    let site = Arc::new(Site { work, last, reader });
    let app = Router::new()
        .route("/v1/events", post(events))
        .route("/v1/queues/lease", post(take))
        .route("/v1/queues/acknowledge", post(acknowledge))
        .with_state(site);
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

struct Site {
    work: mpsc::UnboundedSender<Work>,
    /// The last position that is committed.
    last: watch::Receiver<i64>,
    reader: Mutex<Reader>,
}

struct Reader {
    db: SqliteConnection,
    /// The outbox is handed out up to here.
    handed_out: i64,
}

enum Work {
    Events(Vec<Row>, oneshot::Sender<()>),
    Mark(i64, i64, oneshot::Sender<()>),
}

/// What is stored of an event.
struct Row {
    id: String,
    source: String,
    event_type: String,
    event: String,
    command: String,
    subject: String,
    at: u64,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    id: String,
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    subject: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    specversion: &'a str,
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    command_type: &'a str,
    subject: &'a str,
    datacontenttype: &'a str,
    data: &'a RawValue,
}

impl Row {
    fn parse(event: &RawValue) -> serde_json::Result<Self> {
        let Incoming { id, source, event_type, subject, data } = serde_json::from_str(event.get())?;
        let command = serde_json::to_string(&Outgoing {
            specversion: "1.0",
            id: format!("{id}.1"),
            source: "/by-hand",
            command_type: "InitializeOrder",
            subject: &subject,
            datacontenttype: "application/json",
            data,
        })?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let at = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        Ok(Self { id, source, event_type, event: event.get().to_owned(), command, subject, at })
    }
}

fn parse(body: &[u8]) -> serde_json::Result<Vec<Row>> {
    match body.first() {
        Some(b'[') => {
            let events: Vec<&RawValue> = serde_json::from_slice(body)?;
            events.into_iter().map(Row::parse).collect()
        }
        _ => Ok(vec![Row::parse(serde_json::from_slice(body)?)?]),
    }
}

type Refusal = (StatusCode, String);

fn bad(error: &serde_json::Error) -> Refusal {
    (StatusCode::BAD_REQUEST, error.to_string())
}

fn broken(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn events(
    State(site): State<Arc<Site>>,
    body: Bytes,
) -> Result<(StatusCode, String), Refusal> {
    let rows = parse(&body).map_err(|error| bad(&error))?;
    let count = rows.len();
    let (reply, done) = oneshot::channel();
    site.work.send(Work::Events(rows, reply)).map_err(broken)?;
    done.await.map_err(broken)?;
    Ok((StatusCode::ACCEPTED, format!(r#"{{"accepted":{count}}}"#)))
}

#[derive(Deserialize)]
struct Take {
    max: i64,
    wait_ms: u64,
}

async fn take(State(site): State<Arc<Site>>, body: Bytes) -> Result<String, Refusal> {
    let Take { max, wait_ms } = serde_json::from_slice(&body).map_err(|error| bad(&error))?;
    let mut last = site.last.clone();
    let deadline = tokio::time::Instant::now() + Duration::from_millis(wait_ms);
    loop {
        let mut reader = site.reader.lock().await;
        let after = reader.handed_out;
        if *last.borrow_and_update() > after {
            let rows: Vec<(i64, String)> = sqlx::query_as(
                "SELECT sequence, command FROM outbox
                 WHERE sequence > ? AND published = 0 ORDER BY sequence LIMIT ?",
            )
            .bind(after)
            .bind(max)
            .fetch_all(&mut reader.db)
            .await
            .map_err(broken)?;
            if let Some((end, _)) = rows.last() {
                reader.handed_out = *end;
                let commands: Vec<String> =
                    rows.iter().map(|(_, command)| format!(r#"{{"event":{command}}}"#)).collect();
                let first = after + 1;
                let commands = commands.join(",");
                return Ok(format!(r#"{{"lease":"{first}-{end}","messages":[{commands}]}}"#));
            }
        }
        drop(reader);
        let more = last.changed();
        if tokio::time::timeout_at(deadline, more).await.is_err() {
            return Ok(r#"{"lease":"","messages":[]}"#.to_owned());
        }
    }
}

async fn acknowledge(State(site): State<Arc<Site>>, body: Bytes) -> Result<String, Refusal> {
    #[derive(Deserialize)]
    struct Acknowledge {
        lease: String,
    }
    let Acknowledge { lease } = serde_json::from_slice(&body).map_err(|error| bad(&error))?;
    let range = lease.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let (first, end) = range.ok_or((StatusCode::NOT_FOUND, lease))?;
    let (reply, done) = oneshot::channel();
    site.work.send(Work::Mark(first, end, reply)).map_err(broken)?;
    done.await.map_err(broken)?;
    Ok("{}".to_owned())
}

async fn connect(database: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .page_size(8_192)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "8192")
        .pragma("cache_size", "-65536");
    Ok(SqliteConnection::connect_with(&options).await?)
}

async fn open(database: &Path, keeps: Keeps) -> Result<SqliteConnection> {
    let mut db = connect(database).await?;
    for statement in [
        "CREATE TABLE events (position INTEGER PRIMARY KEY, type TEXT NOT NULL, event TEXT NOT NULL)",
        "CREATE TABLE seen (source TEXT NOT NULL, id TEXT NOT NULL, position INTEGER NOT NULL,
            PRIMARY KEY (source, id)) WITHOUT ROWID",
        "CREATE TABLE outbox (sequence INTEGER PRIMARY KEY, command TEXT NOT NULL,
            published INTEGER NOT NULL DEFAULT 0)",
    ] {
        sqlx::query(statement).execute(&mut db).await?;
    }
    if keeps == Keeps::Records {
        for statement in [
            "ALTER TABLE events ADD COLUMN subject TEXT",
            "ALTER TABLE events ADD COLUMN received_at INTEGER",
            "ALTER TABLE outbox ADD COLUMN key TEXT",
            "ALTER TABLE outbox ADD COLUMN cause INTEGER",
            "CREATE TABLE decisions (position INTEGER NOT NULL, handler TEXT NOT NULL,
                key TEXT NOT NULL, decided_at INTEGER NOT NULL, version TEXT NOT NULL,
                attempt INTEGER NOT NULL, summary TEXT NOT NULL,
                PRIMARY KEY (position, handler, key)) WITHOUT ROWID",
        ] {
            sqlx::query(statement).execute(&mut db).await?;
        }
    }
    Ok(db)
}

/// The only one who writes.
struct Writer {
    db: SqliteConnection,
    keeps: Keeps,
    position: i64,
    committed: watch::Sender<i64>,
}

impl Writer {
    async fn run(mut self, mut work: mpsc::UnboundedReceiver<Work>) {
        while let Some(first) = work.recv().await {
            let mut gathered = vec![first];
            let mut rows = 0;
            while rows < COMMIT_MAX
                && let Ok(more) = work.try_recv()
            {
                if let Work::Events(events, _) = &more {
                    rows += events.len();
                }
                gathered.push(more);
            }
            if let Err(error) = self.commit(gathered).await {
                // A sender that waits for an answer notices that its reply was dropped.
                eprintln!("the hand-written service cannot commit: {error:#}");
                return;
            }
        }
    }

    async fn commit(&mut self, gathered: Vec<Work>) -> Result<()> {
        let first = self.position + 1;
        let mut rows = Vec::new();
        let (mut replies, mut marks) = (Vec::new(), Vec::new());
        for work in gathered {
            match work {
                Work::Events(events, reply) => {
                    for row in events {
                        self.position += 1;
                        rows.push((self.position, row));
                    }
                    replies.push(reply);
                }
                Work::Mark(first, end, reply) => {
                    marks.push((first, end));
                    replies.push(reply);
                }
            }
        }
        let mut tx = self.db.begin().await?;
        if !rows.is_empty() {
            let seen = json(&rows, |(position, row)| (*position, &row.source, &row.id))?;
            let fresh = sqlx::query(
                "INSERT INTO seen (position, source, id)
                 SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true
                 ON CONFLICT DO NOTHING",
            );
            let fresh = fresh.bind(seen).execute(&mut *tx).await?;
            ensure!(fresh.rows_affected() == rows.len() as u64, "the load has a duplicate");
            for (statement, values) in inserts(self.keeps, &rows)? {
                sqlx::query(statement).bind(values).execute(&mut *tx).await?;
            }
        }
        for (first, end) in marks {
            sqlx::query("UPDATE outbox SET published = 1 WHERE sequence BETWEEN ? AND ?")
                .bind(first)
                .bind(end)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        if self.position >= first {
            self.committed.send_replace(self.position);
        }
        for reply in replies {
            let _ = reply.send(());
        }
        Ok(())
    }
}

/// The statements for events and what comes of them, each with its rows.
fn inserts(keeps: Keeps, rows: &[(i64, Row)]) -> serde_json::Result<Vec<(&'static str, String)>> {
    Ok(match keeps {
        Keeps::Outbox => vec![
            (
                "INSERT INTO events (position, type, event)
                 SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
                json(rows, |(position, row)| (*position, &row.event_type, &row.event))?,
            ),
            (
                "INSERT INTO outbox (sequence, command)
                 SELECT value ->> 0, value ->> 1 FROM json_each(?)",
                json(rows, |(position, row)| (*position, &row.command))?,
            ),
        ],
        Keeps::Records => vec![
            (
                "INSERT INTO events (position, type, event, subject, received_at)
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
                 FROM json_each(?)",
                json(rows, |(position, row)| {
                    (*position, &row.event_type, &row.event, &row.subject, row.at)
                })?,
            ),
            (
                "INSERT INTO outbox (sequence, command, key, cause)
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 0 FROM json_each(?)",
                json(rows, |(position, row)| (*position, &row.command, &row.subject))?,
            ),
            (
                "INSERT INTO decisions
                     (position, handler, key, decided_at, version, attempt, summary)
                 SELECT value ->> 0, 'by-hand', value ->> 1, value ->> 2, '1.0.0', 1, value ->> 3
                 FROM json_each(?)",
                json(rows, |(position, row)| {
                    let Row { id, subject, at, .. } = row;
                    let summary =
                        format!(r#"{{"messages":[{{"id":"{id}.1","type":"InitializeOrder"}}]}}"#);
                    (*position, subject, *at, summary)
                })?,
            ),
        ],
    })
}

fn json<'a, R: Serialize>(
    rows: &'a [(i64, Row)],
    values: impl Fn(&'a (i64, Row)) -> R,
) -> serde_json::Result<String> {
    serde_json::to_string(&rows.iter().map(values).collect::<Vec<_>>())
}
