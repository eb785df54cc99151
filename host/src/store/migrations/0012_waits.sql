-- Keys of plugins that wait for the next attempt at their first event.
CREATE TABLE waits (
    plugin  TEXT NOT NULL,
    key     TEXT NOT NULL,
    place   INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    PRIMARY KEY (plugin, key)
) STRICT, WITHOUT ROWID;

-- Messages of sinks that wait for their next attempt.
CREATE TABLE message_waits (
    sink    TEXT NOT NULL,
    place   INTEGER NOT NULL,
    plugin  TEXT NOT NULL,
    key     TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    PRIMARY KEY (sink, place)
) STRICT, WITHOUT ROWID;
