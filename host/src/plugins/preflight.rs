//! Tries a candidate on every live state of any version before it serves. Each state is read or
//! migrated in memory, page by page, and dropped. Nothing is written.
//!
//! States of the candidate's own version are read as well, because their shape may have changed
//! without a new number. Then each next event of such an instance would become a dead letter.
//!
//! A canary also converts each state back to the version that serves, which must be able to read
//! it: if the canary is withdrawn, that version continues with the canary's states.

use std::sync::Arc;

use sagabox_engine::model::State;
use sagabox_engine::seams::handler::Handler;
use sagabox_engine::seams::store::ReadError;

use crate::io::figures::grouped;
use crate::store::query::{Queries, StatePage};

/// The limits of one page, which bound memory and the time of a step.
const PAGE: StatePage = StatePage { states: 1_000, bytes: 16 << 20 };
/// The most failing instances that are named: enough to see what they have in common.
const NAMED_MAX: usize = 10;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PreflightReport {
    pub migrated: u64,
    pub failed: u64,
    /// The first instances that fail: key and reason.
    pub named: Vec<(String, String)>,
}

impl PreflightReport {
    /// The reason for which a candidate is refused that fails at some states.
    pub(crate) fn refusal(&self) -> String {
        let said = self.text().unwrap_or_default();
        format!(
            "{said}; with `preflight = \"report\"` under [plugins] the host would serve it despite that"
        )
    }

    /// The report for people; none if there was nothing to migrate.
    pub(crate) fn text(&self) -> Option<String> {
        use std::fmt::Write as _;

        let all = self.migrated + self.failed;
        if all == 0 {
            return None;
        }
        let mut text =
            format!("{} of {} live states migrate", grouped(self.migrated), grouped(all));
        for (index, (key, reason)) in self.named.iter().enumerate() {
            let before = if index == 0 { "; not those of" } else { "," };
            let _ = write!(text, "{before} `{key}` ({reason})");
        }
        if self.failed > self.named.len() as u64 {
            let _ = write!(text, ", and {} more", grouped(self.failed - self.named.len() as u64));
        }
        Some(text)
    }
}

/// Tries all live states: those of older versions, of newer ones after a rollback, and of the
/// candidate's own version.
///
/// # Errors
/// If the states cannot be read.
pub(crate) async fn preflight(
    queries: &dyn Queries,
    candidate: &Arc<dyn Handler>,
    beside: Option<&Arc<dyn Handler>>,
    progress: impl Fn(&PreflightReport),
) -> Result<PreflightReport, ReadError> {
    let mut report = PreflightReport::default();
    let manifest = candidate.manifest();
    let mut after = String::new();
    loop {
        let page = queries.live_states(manifest.name.as_str(), &after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(report) };
        after.clone_from(last);
        let (handler, beside) = (Arc::clone(candidate), beside.cloned());
        // Calls are computation, and may take as long as their limit.
        let tried = tokio::task::spawn_blocking(move || {
            let tried = page.into_iter().map(|(key, state)| {
                let there_and_back = there(&*handler, beside.as_deref(), &state);
                (key, there_and_back.err())
            });
            tried.collect::<Vec<_>>()
        });
        let tried = tried.await.map_err(|error| ReadError(format!("migrate: {error}")))?;
        for (key, failed) in tried {
            match failed {
                None => report.migrated += 1,
                Some(reason) => {
                    report.failed += 1;
                    if report.named.len() < NAMED_MAX {
                        report.named.push((key, reason));
                    }
                }
            }
        }
        progress(&report);
    }
}

fn there(
    candidate: &dyn Handler,
    beside: Option<&dyn Handler>,
    state: &State,
) -> Result<(), String> {
    let version = candidate.manifest().state_version;
    let data = candidate.migrate(state, version).map_err(|why| match state.version == version {
        true => format!(
            "a state of this version's number, {version}, that it cannot read: {why}; if the \
             shape of states has changed, give it a new number and migrate"
        ),
        false => why,
    })?;
    let Some(beside) = beside else { return Ok(()) };
    back(candidate, beside, &State { version, data })
}

/// Lets the candidate convert its state back, because it knows its own states. The version that
/// serves must be able to read the result.
fn back(candidate: &dyn Handler, beside: &dyn Handler, state: &State) -> Result<(), String> {
    let version = beside.manifest().state_version;
    let returned = match state.version == version {
        true => Ok(state.data.clone()),
        false => candidate.migrate(state, version).map_err(|why| {
            format!("a withdrawn canary could not convert it back to version {version}: {why}")
        }),
    };
    let data = returned?;
    beside.migrate(&State { version, data }, version).map(drop).map_err(|why| {
        format!("{} could not read it from a withdrawn canary: {why}", beside.manifest().version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_first_that_fail() {
        let named = |n: usize| (format!("k{n}"), "too old".to_owned());
        let report = |migrated, failed, count| PreflightReport {
            migrated,
            failed,
            named: (0..count).map(named).collect(),
        };
        assert_eq!(report(0, 0, 0).text(), None);
        let all = "12,431 of 12,431 live states migrate";
        assert_eq!(report(12_431, 0, 0).text().unwrap(), all);
        let two = "1 of 3 live states migrate; not those of `k0` (too old), `k1` (too old)";
        assert_eq!(report(1, 2, 2).text().unwrap(), two);
        assert!(report(0, 1_012, 10).text().unwrap().ends_with("`k9` (too old), and 1,002 more"));
    }
}
