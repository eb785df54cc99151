-- What the reason of a dead letter has in common with those of other dead letters. Dead letters from before
-- have their whole reasons.
ALTER TABLE dead_letters ADD COLUMN cause TEXT NOT NULL DEFAULT '';
UPDATE dead_letters SET cause = substr(reason, 1, 200);

-- The groups of open dead letters are counted in it alone.
CREATE INDEX dead_letters_causes ON dead_letters (plugin, plugin_version, cause, sink, id, at)
    WHERE status = 'open';
