-- An instance's claims and timers are rows of their own, and found by it.
ALTER TABLE timers ADD COLUMN fired INTEGER NOT NULL DEFAULT 0;

INSERT OR IGNORE INTO timers (plugin, instance, name, due, set_by, data, fired)
    SELECT instances.plugin, instances.key, timer.key, timer.value ->> 'due',
           timer.value ->> 'set_by', 't', 1
    FROM instances JOIN json_each(instances.timers) AS timer;

DROP INDEX timers_due;
CREATE INDEX timers_due ON timers (due, plugin, instance, name) WHERE fired = 0;

ALTER TABLE instances DROP COLUMN claims;
ALTER TABLE instances DROP COLUMN timers;

CREATE INDEX claims_instance ON claims (plugin, instance);

-- What is over has released its keys.
DELETE FROM claims WHERE EXISTS (SELECT 1 FROM instances
    WHERE instances.plugin = claims.plugin AND instances.key = claims.instance
      AND instances.status <> 'running');

-- Streams of which retention has removed events: the first 64 bits of SHA-256 over the subject.
CREATE TABLE streams_shortened (subject INTEGER PRIMARY KEY) STRICT;

-- What is for one plugin alone is in no stream.
UPDATE log SET subject = NULL WHERE json_valid(event) AND event ->> 'sagaboxplugin' IS NOT NULL;
