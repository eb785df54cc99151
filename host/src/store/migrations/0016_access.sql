-- Who may do what. Of a token's secret, the store has the SHA-256 alone.
CREATE TABLE tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    digest       BLOB NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    roles        TEXT NOT NULL,
    payloads     INTEGER NOT NULL,
    plugins      TEXT NOT NULL,
    types        TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER
) STRICT;

-- Who did what, also what was refused.
CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    who    TEXT NOT NULL,
    token  INTEGER,
    origin TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT,
    reason TEXT,
    status INTEGER,
    count  INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX audit_at ON audit (at);
