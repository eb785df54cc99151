-- An entry is the hash of an id and its place in the span. The rows are written anew when the store is
-- opened.
DELETE FROM id_spans;
ALTER TABLE id_spans RENAME COLUMN hashes TO entries;
