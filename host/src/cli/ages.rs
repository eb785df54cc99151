//! The flags that select instances by their age: the same for lists, counts, exports and batches.

use clap::Args;

/// A time (RFC 3339), or a duration such as 2h, which means so long ago.
#[derive(Debug, Args)]
pub(crate) struct Ages {
    /// Select the instances that were started earlier than this time, or longer ago than this
    /// duration, such as 2h
    #[arg(long, visible_alias = "older", value_name = "TIME")]
    started_before: Option<String>,
    /// Select the instances that were started at this time or later
    #[arg(long, visible_alias = "younger", value_name = "TIME")]
    started_after: Option<String>,
    /// Select the instances that were last changed earlier than this time, or longer ago than this
    /// duration
    #[arg(long, visible_alias = "idle", value_name = "TIME")]
    updated_before: Option<String>,
    /// Select the instances that were last changed at this time or later
    #[arg(long, value_name = "TIME")]
    updated_after: Option<String>,
}

impl Ages {
    /// What was given, by the names in the API.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("started_before", &self.started_before),
            ("started_after", &self.started_after),
            ("updated_before", &self.updated_before),
            ("updated_after", &self.updated_after),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}
