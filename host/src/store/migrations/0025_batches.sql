-- Actions of operators on many dead letters or instances.
CREATE TABLE batches (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    action          TEXT NOT NULL,
    status          TEXT NOT NULL,
    -- What selects its items, as a JSON object.
    selection       TEXT NOT NULL,
    -- The only plugin that it is about.
    plugin          TEXT,
    by              TEXT NOT NULL,
    reason          TEXT NOT NULL,
    rate_per_second INTEGER NOT NULL,
    ignore_failures INTEGER NOT NULL,
    -- Of a draft: how many it would have, and whether all were counted.
    counted         INTEGER NOT NULL,
    is_exact        INTEGER NOT NULL,
    -- The newest dead letter, or the last position of the log, when it was started: what came later
    -- is not selected.
    newest          INTEGER NOT NULL DEFAULT 0,
    -- How far its items are written, and whether all are.
    prepared_to     TEXT,
    is_prepared     INTEGER NOT NULL DEFAULT 0,
    pending         INTEGER NOT NULL DEFAULT 0,
    in_progress     INTEGER NOT NULL DEFAULT 0,
    done            INTEGER NOT NULL DEFAULT 0,
    failed          INTEGER NOT NULL DEFAULT 0,
    changed         INTEGER NOT NULL DEFAULT 0,
    refused         INTEGER NOT NULL DEFAULT 0,
    -- Why it stopped, and what it waits for.
    note            TEXT,
    remark          TEXT,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    finished_at     INTEGER
) STRICT;

CREATE INDEX batches_under_way ON batches (id) WHERE status IN ('preparing', 'running');
CREATE INDEX batches_finished ON batches (finished_at) WHERE finished_at IS NOT NULL;

-- The number of a dead letter's item is the dead letter's id.
CREATE TABLE batch_items (
    batch   INTEGER NOT NULL,
    item    INTEGER NOT NULL,
    plugin  TEXT NOT NULL,
    sink    TEXT,
    key     TEXT,
    -- Where an instance began; none for a dead letter.
    started INTEGER,
    outcome TEXT NOT NULL DEFAULT 'pending',
    reason  TEXT,
    PRIMARY KEY (batch, item)
) STRICT, WITHOUT ROWID;

CREATE INDEX batch_items_outcome ON batch_items (batch, outcome, item);

-- The sums are part of the commit that writes an outcome.
CREATE TRIGGER batch_items_added AFTER INSERT ON batch_items
BEGIN
    UPDATE batches SET pending = pending + 1 WHERE id = NEW.batch;
END;

CREATE TRIGGER batch_items_counted AFTER UPDATE OF outcome ON batch_items
    WHEN OLD.outcome <> NEW.outcome
BEGIN
    UPDATE batches SET
        pending     = pending     - (OLD.outcome = 'pending')     + (NEW.outcome = 'pending'),
        in_progress = in_progress - (OLD.outcome = 'in-progress') + (NEW.outcome = 'in-progress'),
        done        = done        - (OLD.outcome = 'done')        + (NEW.outcome = 'done'),
        failed      = failed      - (OLD.outcome = 'failed')      + (NEW.outcome = 'failed'),
        changed     = changed     - (OLD.outcome = 'changed')     + (NEW.outcome = 'changed'),
        refused     = refused     - (OLD.outcome = 'refused')     + (NEW.outcome = 'refused')
    WHERE id = NEW.batch;
END;

-- The batch that has resolved a dead letter last.
ALTER TABLE dead_letters ADD COLUMN batch INTEGER;

-- To count the open ones without reading them.
CREATE INDEX dead_letters_open
    ON dead_letters (plugin, plugin_version, sink, event_type, key, cause) WHERE status = 'open';
