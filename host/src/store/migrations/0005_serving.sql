-- The file of each plugin that serves, and has served alone since it was tried on all states.
CREATE TABLE serving (
    plugin TEXT PRIMARY KEY,
    digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;
