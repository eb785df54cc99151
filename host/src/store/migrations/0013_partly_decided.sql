-- Keys that have decided an event which other keys still have to decide. They were part of the
-- cursor, which every commit writes.
CREATE TABLE partly_decided (
    plugin   TEXT NOT NULL,
    position INTEGER NOT NULL,
    key      TEXT NOT NULL,
    PRIMARY KEY (plugin, position, key)
) STRICT, WITHOUT ROWID;

INSERT INTO partly_decided (plugin, position, key)
    SELECT plugin, json_extract(event.value, '$[0]'), decided.value
    FROM plugins
    CROSS JOIN json_each(cursor, '$.partly') AS event
    CROSS JOIN json_each(event.value, '$[1]') AS decided;

UPDATE plugins SET cursor = json_remove(cursor, '$.partly');
