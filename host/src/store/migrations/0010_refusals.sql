-- The position of the event that an instance began with: distinguishes it from earlier ones of its key.
ALTER TABLE instances ADD COLUMN started INTEGER NOT NULL DEFAULT 0;
-- That of the instance that sent a message.
ALTER TABLE outbox ADD COLUMN instance INTEGER;

-- Dead letters of each sink's messages that their plugins have compensated. They go one day, and
-- the sums must still add up.
CREATE TABLE compensated (
    sink    TEXT PRIMARY KEY,
    letters INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
