-- What was seen, once it is no longer in `seen`: runs of hashes, which are merged level by level.
DROP TABLE seen_runs;
DROP TABLE seen_run_heads;

CREATE TABLE seen_run_heads (
    run           INTEGER PRIMARY KEY,
    -- How often its hashes were merged.
    level         INTEGER NOT NULL,
    -- How many there are.
    hashes        INTEGER NOT NULL,
    newest_at     INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    -- The run that takes its hashes over.
    merged_into   INTEGER,
    -- 0: its rows are still being written, beginning with the first.
    is_complete   INTEGER NOT NULL
) STRICT;

-- Rows of a run have numbers from the run's own number times 2^32 on. A bucket has the hashes,
-- sorted, whose upper 64 bits, times the number of buckets, divided by 2^64, give its number
-- in the run. A run has one bucket for each 460 hashes.
CREATE TABLE seen_buckets (
    row    INTEGER PRIMARY KEY,
    hashes BLOB NOT NULL
) STRICT;

-- A Bloom filter for each 64 buckets.
CREATE TABLE seen_filters (
    row    INTEGER PRIMARY KEY,
    filter BLOB NOT NULL
) STRICT;
