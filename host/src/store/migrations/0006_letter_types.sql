-- The type of a dead letter's event or message, as a column: SQLite does not read all that is JSON.
ALTER TABLE dead_letters ADD COLUMN event_type TEXT;
UPDATE dead_letters SET event_type = event ->> 'type' WHERE json_valid(event);
