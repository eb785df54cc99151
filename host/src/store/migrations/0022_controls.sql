-- Pauses and limits that operators have set. The target and the control are JSON.
CREATE TABLE controls (
    kind    TEXT NOT NULL,
    target  TEXT NOT NULL,
    control TEXT NOT NULL,
    PRIMARY KEY (kind, target)
) STRICT, WITHOUT ROWID;
