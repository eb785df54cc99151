-- Components that have decided something, for as long as their decisions are kept.
CREATE TABLE components (
    digest    TEXT NOT NULL PRIMARY KEY,
    -- The name of the file that it came from.
    file      TEXT NOT NULL,
    -- Of the file, in bytes.
    size      INTEGER NOT NULL,
    signature TEXT,
    -- The file, packed (zlib).
    packed    BLOB NOT NULL
) STRICT;

-- The plugins that a component was the version of.
CREATE TABLE component_uses (
    plugin   TEXT NOT NULL,
    digest   TEXT NOT NULL,
    version  TEXT NOT NULL,
    since_at INTEGER NOT NULL,
    -- The last position of the log when it stopped to decide; none while it decides.
    until    INTEGER,
    PRIMARY KEY (plugin, digest)
) STRICT, WITHOUT ROWID;
