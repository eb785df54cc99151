-- What an operator put in a dead letter's place, and for a message its kind.
ALTER TABLE dead_letters ADD COLUMN edited TEXT;
ALTER TABLE dead_letters ADD COLUMN message_kind TEXT;

DROP INDEX dead_letters_open;
CREATE INDEX dead_letters_unresolved ON dead_letters (plugin, key)
    WHERE status IN ('open', 'redriving');
