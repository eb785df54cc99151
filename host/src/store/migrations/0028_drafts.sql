-- Drafts that no operator has started are removed by their age.
CREATE INDEX batches_drafts ON batches (created_at) WHERE status = 'draft';
