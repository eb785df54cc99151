-- What was seen: the newest generations as they came, older ones as sorted runs.
ALTER TABLE seen RENAME TO seen_before;

CREATE TABLE seen (
    position INTEGER PRIMARY KEY,
    -- The first 128 bits of SHA-256 over source, zero byte, id.
    hash     BLOB NOT NULL
) STRICT;

INSERT INTO seen (position, hash)
    SELECT position, unhex(printf('%016x%016x', hash_high, hash_low)) FROM seen_before
    ORDER BY position;

DROP TABLE seen_before;

-- Sorted hashes, as many as fit a page. The chunks of a run have numbers in a row, from
-- the run's own number times 2^32.
CREATE TABLE seen_runs (
    chunk  INTEGER PRIMARY KEY,
    hashes BLOB NOT NULL
) STRICT;

-- Fences (the first hash of each chunk) and filter are there when all chunks are.
CREATE TABLE seen_run_heads (
    run           INTEGER PRIMARY KEY,
    newest_at     INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    fences        BLOB,
    filter        BLOB
) STRICT;

-- Sums that would cost a look at every row, and that outlive the rows.
CREATE TABLE totals (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    -- Ever appended to the log.
    events INTEGER NOT NULL
) STRICT;

INSERT INTO totals (only, events) SELECT 1, count(*) FROM log;

CREATE TABLE outbox_totals (
    sink     TEXT PRIMARY KEY,
    -- Ever put into its outbox.
    messages INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO outbox_totals (sink, messages) SELECT sink, count(*) FROM outbox GROUP BY sink;

-- For retention.
CREATE INDEX instances_finished ON instances (plugin, updated_at, key) WHERE status <> 'running';
CREATE INDEX parked_position ON parked (position);
CREATE INDEX dead_letters_resolved ON dead_letters (at, id)
    WHERE status NOT IN ('open', 'redriving');
