//! The files beside a candidate: its terms, which an operator writes, and the record of a
//! canary, which the host writes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sagabox_engine::engine::Share;
use sagabox_engine::model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::served::Beside;
use crate::decisions::kinds::Aspects;
use crate::io::files;
use crate::plugins::trust;

const TERMS: &str = "toml";
const RECORD: &str = "trial";
/// The default number of a hundred calls that may fail. Some calls fail in every plugin, and a
/// worse version is soon noticed.
pub const FAILURES_MAX: u32 = 5;
/// A caller must not wait for long: after 10 ms, a call is slow already.
const WAIT_MS_MAX: u64 = 1_000;
const HEADING: &str = "\
# The state of the trial of the candidate next to this file. Sagabox writes this file. Delete it
# to restart the trial of a withdrawn candidate.

";

/// The terms of a trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Terms {
    /// Its decisions are compared with those of the version that serves, and discarded.
    Shadow(ShadowTerms),
    /// It serves a share of the keys, until more than `failures_max` of its last hundred calls
    /// failed.
    Canary { share: Share, failures_max: u32 },
}

/// The terms of a shadow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowTerms {
    /// The aspects of its decisions that are compared.
    pub compare: Aspects,
    /// How long a decision of the version that serves waits for a shadow that is behind, before it
    /// is skipped.
    pub wait: Duration,
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shadow(ShadowTerms { compare, wait }) => {
                f.write_str("shadow")?;
                if *compare != Aspects::Both {
                    write!(f, " that compares {}", compare.as_str())?;
                }
                if !wait.is_zero() {
                    write!(f, ", which decisions wait for up to {} ms", wait.as_millis())?;
                }
                Ok(())
            }
            Self::Canary { share, failures_max } => write!(
                f,
                "canary of {} % of the keys, until more than {failures_max} of its last 100 calls failed",
                share.as_percent()
            ),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    share: Option<f64>,
    failures_max: Option<u32>,
    compare: Option<String>,
    wait_ms: Option<u64>,
}

impl Terms {
    /// Reads the terms of the candidate in this file. Without a file beside it, it is a shadow.
    ///
    /// # Errors
    /// Says what is wrong with the file beside it.
    pub fn of(component: &Path) -> Result<Self, String> {
        let path = files::beside(component, TERMS);
        let Some(text) = files::read(&path)? else {
            return Ok(Self::Shadow(ShadowTerms::default()));
        };
        Self::parse(&text).map_err(|why| format!("{}{why}", path.display()))
    }

    /// # Errors
    /// The text begins with `:`, to follow the file's name.
    fn parse(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| files::fault(text, &error))?;
        let Some(percent) = written.share else {
            let (compare, wait_ms) = (written.compare.as_deref(), written.wait_ms);
            return match written.failures_max {
                None => Self::shadow(compare, wait_ms).map_err(|why| format!(": {why}")),
                Some(_) => Err(": failures_max applies only to a canary; add its `share` \
                of the keys, in percent, or remove both for a shadow"
                    .to_owned()),
            };
        };
        if written.compare.is_some() || written.wait_ms.is_some() {
            return Err(
                ": compare and wait_ms apply only to a shadow, which has no `share`".to_owned()
            );
        }
        Self::canary(percent, written.failures_max).map_err(|why| format!(": {why}"))
    }

    /// # Errors
    /// If the values are not those of a shadow.
    pub fn shadow(compare: Option<&str>, wait_ms: Option<u64>) -> Result<Self, String> {
        let compare = compare.map_or(Ok(Aspects::Both), Aspects::parse);
        let compare = compare.map_err(|why| format!("compare {why}"))?;
        let wait_ms = wait_ms.unwrap_or_default();
        if wait_ms > WAIT_MS_MAX {
            return Err(format!("wait_ms is {wait_ms}; accepted are 0 to {WAIT_MS_MAX}"));
        }
        Ok(Self::Shadow(ShadowTerms { compare, wait: Duration::from_millis(wait_ms) }))
    }

    /// # Errors
    /// If the values are not those of a canary.
    pub fn canary(percent: f64, failures_max: Option<u32>) -> Result<Self, String> {
        let share = Share::percent(percent).ok_or_else(|| {
            format!("share is {percent}; accepted are percentages from 0.0001 to 100")
        })?;
        let failures_max = failures_max.unwrap_or(FAILURES_MAX);
        if failures_max > 100 {
            return Err(format!(
                "failures_max is {failures_max}; it counts failures of the last 100 calls, so \
                 accepted are 0 to 100"
            ));
        }
        Ok(Self::Canary { share, failures_max })
    }

    #[must_use]
    pub fn is_shadow(self) -> bool {
        matches!(self, Self::Shadow(_))
    }

    /// Writes the terms beside a candidate of this name. A plain shadow has no such file.
    ///
    /// # Errors
    /// If it cannot be written or removed.
    pub fn put(self, directory: &Path, file: &str) -> std::io::Result<()> {
        let name = files::beside(Path::new(file), TERMS);
        match self {
            Self::Shadow(terms) if terms == ShadowTerms::default() => {
                files::remove(&directory.join(name))
            }
            Self::Shadow(ShadowTerms { compare, wait }) => {
                let (compare, wait) = (compare.as_str(), wait.as_millis());
                let text = format!(
                    "# Compares effects, state or both,\ncompare = \"{compare}\"\n\
                     # and when it is behind, each decision waits for it so long at most.\n\
                     wait_ms = {wait}\n"
                );
                files::put(directory, &name.to_string_lossy(), text.as_bytes())
            }
            Self::Canary { share, failures_max } => {
                let percent = share.as_percent();
                let text = format!(
                    "# Serves this share of the keys, in percent,\nshare = {percent}\n\
                     # until more than so many of its last 100 calls have failed.\n\
                     failures_max = {failures_max}\n"
                );
                files::put(directory, &name.to_string_lossy(), text.as_bytes())
            }
        }
    }
}

/// The record of a canary, by which it continues after a restart, or stays withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// SHA-256 of the candidate.
    pub digest: String,
    /// The digests of the files that served its plugins when it began.
    pub beside: BTreeMap<String, String>,
    pub began_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawn>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Withdrawn {
    pub at: String,
    pub reason: String,
}

impl Record {
    pub fn began(digest: &str, beside: BTreeMap<String, String>, now: Timestamp) -> Self {
        Self { digest: digest.to_owned(), beside, began_at: now.to_rfc3339(), withdrawn: None }
    }

    /// Whether the canary served when the host stopped, beside the versions that serve now.
    #[must_use]
    pub fn is_running(&self, digest: &str, beside: &Beside) -> bool {
        let serves = |(plugin, digest): (&String, &String)| {
            beside.get(plugin).is_some_and(|(serving, _)| serving == digest)
        };
        self.digest == digest && self.withdrawn.is_none() && self.beside.iter().all(serves)
    }

    /// Reads the record of the candidate in this file; none if there is none.
    ///
    /// # Errors
    /// If there is a record that cannot be read.
    pub fn of(component: &Path) -> Result<Option<Self>, String> {
        let path = files::beside(component, RECORD);
        let Some(text) = files::read(&path)? else { return Ok(None) };
        toml::from_str(&text).map(Some).map_err(|error| {
            let fault = files::fault(&text, &error);
            format!("{}{fault}; delete it to begin anew", path.display())
        })
    }

    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, component: &Path) -> std::io::Result<()> {
        let path = files::beside(component, RECORD);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A table of texts always has a TOML form.
        let text = format!("{HEADING}{}", toml::to_string(self).unwrap_or_default());
        files::put(path.parent().unwrap_or(Path::new("")), &name, text.as_bytes())
    }

    /// # Errors
    /// If there is a record and it cannot be removed.
    pub fn remove(component: &Path) -> std::io::Result<()> {
        files::remove(&files::beside(component, RECORD))
    }
}

/// Whether a file is not a candidate, but a companion of one.
pub fn is_companion(path: &Path) -> bool {
    let is_ours = path.extension().is_some_and(|own| own == TERMS || own == RECORD);
    is_ours || trust::is_companion(path)
}

/// The component that a companion belongs to.
pub(crate) fn component_of(companion: &Path) -> PathBuf {
    companion.with_extension("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Terms {
        Terms::Shadow(ShadowTerms::default())
    }

    #[track_caller]
    fn refused(text: &str, part: &str) {
        let error = Terms::parse(text).unwrap_err();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn without_a_share_a_candidate_is_a_shadow() {
        assert_eq!(Terms::parse(""), Ok(plain()));
        let terms = Terms::parse("compare = \"state\"\nwait_ms = 20");
        let wait = Duration::from_millis(20);
        assert_eq!(terms, Ok(Terms::Shadow(ShadowTerms { compare: Aspects::State, wait })));
        assert_eq!(
            terms.unwrap().to_string(),
            "shadow that compares state, which decisions wait for up to 20 ms"
        );
        refused("compare = \"all\"", "compare is `all`; accepted are effects, state, both");
        refused("wait_ms = 1001", "wait_ms is 1001; accepted are 0 to 1000");
        refused("share = 1\nwait_ms = 1", "apply only to a shadow");
        let share = Share::percent(10.0).unwrap();
        assert_eq!(Terms::parse("share = 10"), Ok(Terms::Canary { share, failures_max: 5 }));
        let all = Terms::parse("share = 10.0\nfailures_max = 0");
        assert_eq!(all, Ok(Terms::Canary { share, failures_max: 0 }));
    }

    #[test]
    fn what_no_canary_can_be_is_refused_by_name() {
        refused("share = 0", "share is 0; accepted are percentages from 0.0001 to 100");
        refused("share = 101", "share is 101");
        refused("share = 5\nfailures_max = 101", "failures_max is 101");
        refused("failures_max = 3", "add its `share`");
        refused("percent = 3", "unknown field `percent`");
        refused("share = \"ten\"", ":1: invalid type");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::TempDir::new().unwrap();
        let component = folder.path().join("a.wasm");
        assert_eq!(Terms::of(&component), Ok(plain()));
        let terms = Terms::canary(12.5, Some(3)).unwrap();
        terms.put(folder.path(), "a.wasm").unwrap();
        assert_eq!(Terms::of(&component), Ok(terms));
        let shadow = Terms::shadow(Some("effects"), Some(7)).unwrap();
        shadow.put(folder.path(), "a.wasm").unwrap();
        assert_eq!(Terms::of(&component), Ok(shadow));
        plain().put(folder.path(), "a.wasm").unwrap();
        assert_eq!(Terms::of(&component), Ok(plain()));

        assert_eq!(Record::of(&component), Ok(None));
        let beside = BTreeMap::from([("orders".to_owned(), "ab".to_owned())]);
        let mut record = Record::began("cd", beside, Timestamp(0));
        record.write(&component).unwrap();
        assert_eq!(Record::of(&component), Ok(Some(record.clone())));
        let (at, reason) = (Timestamp(1).to_rfc3339(), "it failed \"often\"".to_owned());
        record.withdrawn = Some(Withdrawn { at, reason });
        record.write(&component).unwrap();
        assert_eq!(Record::of(&component), Ok(Some(record)));
        Record::remove(&component).unwrap();
        Record::remove(&component).unwrap();
        std::fs::write(folder.path().join("a.wasm.trial"), "digest = 1").unwrap();
        assert!(Record::of(&component).unwrap_err().contains("delete it to begin anew"));
        assert_eq!(component_of(&folder.path().join("a.wasm.trial")), component);
    }
}
