-- Names are stored as they are: a batch repeats few of them, and rows stay readable
-- with any SQLite shell. Events are CloudEvents in their JSON format.

CREATE TABLE log (
    position    INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL,
    subject     TEXT,
    event       TEXT NOT NULL
) STRICT;

-- Inbox deduplication: the first 128 bits of SHA-256 over source, zero byte, id.
CREATE TABLE seen (
    hash_high INTEGER NOT NULL,
    hash_low  INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    PRIMARY KEY (hash_high, hash_low)
) STRICT, WITHOUT ROWID;

CREATE TABLE instances (
    plugin        TEXT NOT NULL,
    key           TEXT NOT NULL,
    status        TEXT NOT NULL,
    state_version INTEGER,
    -- 't' and the text, or 'b' and base64.
    state         TEXT,
    claims        TEXT NOT NULL,
    timers        TEXT NOT NULL,
    decided       INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    started_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    PRIMARY KEY (plugin, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE claims (
    plugin   TEXT NOT NULL,
    key      TEXT NOT NULL,
    instance TEXT NOT NULL,
    PRIMARY KEY (plugin, key, instance)
) STRICT, WITHOUT ROWID;

CREATE TABLE timers (
    plugin   TEXT NOT NULL,
    instance TEXT NOT NULL,
    name     TEXT NOT NULL,
    due      INTEGER NOT NULL,
    set_by   INTEGER NOT NULL,
    data     TEXT NOT NULL,
    PRIMARY KEY (plugin, instance, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX timers_due ON timers (due, plugin, instance, name);

-- Ordered by position, so that rows are appended; an instance's history is a chain through `previous`.
CREATE TABLE decisions (
    position       INTEGER NOT NULL,
    plugin         TEXT NOT NULL,
    key            TEXT NOT NULL,
    previous       INTEGER,
    decided_at     INTEGER NOT NULL,
    plugin_version TEXT NOT NULL,
    attempt        INTEGER NOT NULL,
    state_version  INTEGER,
    state          TEXT,
    summary        TEXT NOT NULL,
    PRIMARY KEY (position, plugin, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    sink     TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    plugin   TEXT NOT NULL,
    key      TEXT NOT NULL,
    cause    INTEGER NOT NULL,
    event    TEXT NOT NULL,
    PRIMARY KEY (sink, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE held (
    plugin   TEXT NOT NULL,
    position INTEGER NOT NULL,
    key      TEXT NOT NULL,
    until    INTEGER NOT NULL,
    reached  TEXT NOT NULL,
    PRIMARY KEY (plugin, position, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX held_key ON held (plugin, key);

CREATE TABLE parked (
    plugin   TEXT NOT NULL,
    key      TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (plugin, key, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE parked_messages (
    sink     TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    plugin   TEXT NOT NULL,
    key      TEXT NOT NULL,
    PRIMARY KEY (sink, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    id              INTEGER PRIMARY KEY,
    -- NULL for an event's dead letter.
    sink            TEXT,
    sequence        INTEGER,
    plugin          TEXT NOT NULL,
    key             TEXT,
    position        INTEGER NOT NULL,
    reason          TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    plugin_version  TEXT NOT NULL,
    at              INTEGER NOT NULL,
    status          TEXT NOT NULL,
    resolved_by     TEXT,
    resolved_reason TEXT,
    event           TEXT NOT NULL
) STRICT;

CREATE INDEX dead_letters_open ON dead_letters (plugin, key) WHERE status = 'open';

CREATE TABLE plugins (
    plugin   TEXT PRIMARY KEY,
    cursor   TEXT NOT NULL,
    counters TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sinks (
    sink     TEXT PRIMARY KEY,
    cursor   TEXT NOT NULL,
    counters TEXT NOT NULL
) STRICT, WITHOUT ROWID;
