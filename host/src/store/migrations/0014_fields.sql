-- What instances have in the fields that their plugins declare, as a JSON object.
CREATE TABLE instance_fields (
    plugin TEXT NOT NULL,
    key    TEXT NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (plugin, key)
) STRICT, WITHOUT ROWID;

-- The same once more, in the order of the values: their bytes are in the order of what they stand
-- for.
CREATE TABLE field_values (
    plugin TEXT NOT NULL,
    field  TEXT NOT NULL,
    value  BLOB NOT NULL,
    key    TEXT NOT NULL,
    PRIMARY KEY (plugin, field, value, key)
) STRICT, WITHOUT ROWID;

-- The file of each plugin whose fields all instances have: those that decided nothing under it
-- were filled.
CREATE TABLE fields_filled (
    plugin TEXT PRIMARY KEY,
    digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;
