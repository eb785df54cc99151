-- What the plugin logged in the call that failed.
ALTER TABLE dead_letters ADD COLUMN log TEXT;
