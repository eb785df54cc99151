//! Tries a candidate on every live state before it serves: each is migrated in memory,
//! page by page, and thrown away. Nothing is written.

use std::sync::Arc;

use sagabox_engine::handler::Handler;
use sagabox_engine::store::ReadError;

use crate::figures::grouped;
use crate::store::admin::Admin;

/// Bounds what is in memory, and how long one step takes.
const PAGE: u32 = 1_000;
/// So many instances that fail are named: enough to see what they have in common.
const NAMED_MAX: usize = 10;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub migrated: u64,
    pub failed: u64,
    /// The first that fail: key and reason.
    pub named: Vec<(String, String)>,
}

impl Report {
    /// None if there was nothing to migrate.
    pub fn text(&self) -> Option<String> {
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

/// Tries all live states of other versions than the candidate's: older ones, and newer
/// ones if it is a step back.
///
/// # Errors
/// If the states cannot be read.
pub async fn preflight(
    admin: &Admin,
    candidate: &Arc<dyn Handler>,
    progress: impl Fn(&Report),
) -> Result<Report, ReadError> {
    let mut report = Report::default();
    let manifest = candidate.manifest();
    let mut after = String::new();
    loop {
        let (plugin, version) = (manifest.name.as_str(), manifest.state_version);
        let page = admin.live_states(plugin, version, &after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(report) };
        after.clone_from(last);
        let handler = Arc::clone(candidate);
        // Calls compute, and may take as long as their limit.
        let tried = tokio::task::spawn_blocking(move || {
            let tried = page.into_iter().map(|(key, state)| (key, handler.migrate(&state)));
            tried.map(|(key, migrated)| (key, migrated.err())).collect::<Vec<_>>()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_first_that_fail() {
        let named = |n: usize| (format!("k{n}"), "too old".to_owned());
        let report = |migrated, failed, count| Report {
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
