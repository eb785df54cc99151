//! The versions of the schema: what brings a store from each to the next.

/// In order; the number of those applied is the file's version (`PRAGMA user_version`).
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_start.sql"),
    include_str!("migrations/0002_letters.sql"),
    include_str!("migrations/0003_flat_cost.sql"),
    include_str!("migrations/0004_seen_levels.sql"),
    include_str!("migrations/0005_serving.sql"),
    include_str!("migrations/0006_letter_types.sql"),
    include_str!("migrations/0007_streams_and_claims.sql"),
    include_str!("migrations/0008_hops.sql"),
    include_str!("migrations/0009_age.sql"),
    include_str!("migrations/0010_refusals.sql"),
    include_str!("migrations/0011_untaken.sql"),
    include_str!("migrations/0012_waits.sql"),
    include_str!("migrations/0013_partly_decided.sql"),
    include_str!("migrations/0014_fields.sql"),
    include_str!("migrations/0015_components.sql"),
    include_str!("migrations/0016_access.sql"),
    include_str!("migrations/0017_id_spans.sql"),
    include_str!("migrations/0018_trace.sql"),
    include_str!("migrations/0021_sessions.sql"),
    include_str!("migrations/0022_controls.sql"),
    include_str!("migrations/0024_causes.sql"),
    include_str!("migrations/0025_batches.sql"),
    include_str!("migrations/0026_lists.sql"),
    include_str!("migrations/0027_call_logs.sql"),
    include_str!("migrations/0028_drafts.sql"),
    include_str!("migrations/0030_id_places.sql"),
];

/// The first that keeps its sums.
pub(super) const VERSION_WITH_TOTALS: i64 = 3;
