//! What the host tells other systems about itself: metrics, traces and their export.

pub(crate) mod metrics;
