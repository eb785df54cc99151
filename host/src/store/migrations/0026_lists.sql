-- How many instances each plugin has is part of its counters.
UPDATE plugins SET counters = json_set(counters, '$.instances', json((
    SELECT json_group_object(status, n) FROM (
        SELECT status, count(*) AS n FROM instances
        WHERE instances.plugin = plugins.plugin GROUP BY status))))
WHERE EXISTS (SELECT 1 FROM instances WHERE instances.plugin = plugins.plugin);

-- Lists of instances by age. Those that run are found by their start, which never changes, so that
-- a decision costs nothing here.
CREATE INDEX instances_running ON instances (plugin, started_at, key) WHERE status = 'running';
CREATE INDEX instances_ended ON instances (plugin, updated_at, key) WHERE status = 'ended';

-- Filters of lists of instances that people have saved.
CREATE TABLE views (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT NOT NULL,
    -- The only plugin that it lists.
    plugin   TEXT NOT NULL,
    -- A JSON object.
    filter   TEXT NOT NULL,
    -- Who saved it: for the host, and for people.
    owner    TEXT NOT NULL,
    saved_by TEXT NOT NULL,
    saved_at INTEGER NOT NULL,
    UNIQUE (owner, name)
) STRICT;
