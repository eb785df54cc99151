-- How far each is from an event of a sender, which has 0: what the host made itself has
-- more. Identities (`seen`) are of (origin, source, id) from here on.
ALTER TABLE log ADD COLUMN hops INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN hops INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead_letters ADD COLUMN hops INTEGER NOT NULL DEFAULT 0;
ALTER TABLE timers ADD COLUMN hops INTEGER NOT NULL DEFAULT 1;
