-- Events of senders that no plugin took when they came. The empty type: all beyond the bounds.
CREATE TABLE untaken (
    type    TEXT PRIMARY KEY,
    events  INTEGER NOT NULL,
    last_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
