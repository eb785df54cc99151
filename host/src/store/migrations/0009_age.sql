-- How far the log had come at a time of the age clock, and what the wall clock said then.
CREATE TABLE age_marks (
    at       INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    wall     INTEGER NOT NULL
) STRICT;

-- The highest position that an instance has decided.
ALTER TABLE instances ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
UPDATE instances SET place = decided;

-- Set when a hold's time is up: who claimed in time, and has not decided yet.
ALTER TABLE held ADD COLUMN due TEXT;

-- What is old is said by position.
ALTER TABLE seen_run_heads DROP COLUMN newest_at;
