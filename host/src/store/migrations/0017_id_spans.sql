-- Where events and messages are, by their ids: the hashes of all ids of a span of the log (sink '')
-- or of an outbox, sorted. A span is one row, so that writing it costs little.
CREATE TABLE id_spans (
    sink   TEXT NOT NULL,
    first  INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (sink, first)
) STRICT;

CREATE INDEX dead_letters_position ON dead_letters (position);
-- The accounts count them.
CREATE INDEX dead_letters_of_events ON dead_letters (plugin, sink)
    WHERE status IN ('open', 'redriving');
CREATE INDEX dead_letters_of_messages ON dead_letters (sink)
    WHERE status IN ('open', 'redriving');
