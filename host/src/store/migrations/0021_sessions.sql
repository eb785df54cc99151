-- People who are signed in. Of a session's secret, the store has the SHA-256 alone.
CREATE TABLE sessions (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    digest       BLOB NOT NULL UNIQUE,
    -- Either the id of a token, or a person as the identity provider named them (JSON).
    token        INTEGER,
    person       TEXT,
    origin       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL
) STRICT;

ALTER TABLE tokens ADD COLUMN rate TEXT;
ALTER TABLE tokens ADD COLUMN certificates TEXT NOT NULL DEFAULT '[]';

-- Answers to requests with an Idempotency-Key, by caller.
CREATE TABLE idempotency (
    caller       TEXT NOT NULL,
    key          TEXT NOT NULL,
    -- SHA-256 of what was asked.
    request      BLOB NOT NULL,
    at           INTEGER NOT NULL,
    -- The answer; without a status, it is not known.
    status       INTEGER,
    content_type TEXT,
    body         BLOB,
    PRIMARY KEY (caller, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);
