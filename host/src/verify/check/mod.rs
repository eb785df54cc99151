//! What can be said of plugins without a host: each by itself, all of them together,
//! and one version against another.
//!
//! Pure, but for `facts`, which loads. Knows no host and no store. A finding is an
//! *error* if a host would refuse the file or not start, or if a plugin cannot read what
//! another one sends; a *warning* if the host would serve, but hardly as the author wants; and a
//! *note* if it is only good to know.

mod asyncapi;
mod breaks;
mod compare;
mod facts;
mod fields;
mod introduction;
mod messages;
mod render;
mod settings;
mod states;
mod topology;

use serde::Serialize;

pub use asyncapi::asyncapi;
pub use breaks::breaks;
pub use compare::{Comparison, compare};
pub use facts::{Facts, LoadedComponent, load};
pub use fields::check_fields;
pub use introduction::check_introduction;
pub use messages::{Mismatch, check_messages};
pub use render::{comparison_text, json, mermaid, text};
pub use settings::check_settings;
pub use states::{Examples, check_states};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Error,
    Warning,
    Note,
}

impl Severity {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// The plugin or file that it is about.
    pub subject: String,
    pub text: String,
    /// Set if two plugins disagree about a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<Mismatch>,
}

impl Finding {
    #[must_use]
    pub fn new(severity: Severity, subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self { severity, subject: subject.into(), text: text.into(), mismatch: None }
    }
}

/// How many findings there are of a severity.
#[must_use]
pub fn count(findings: &[Finding], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity == severity).count()
}

#[cfg(test)]
pub(in crate::verify) mod samples {
    //! Manifests for the tests of this module.

    use std::path::PathBuf;

    use sagabox_engine::model::{
        Absent, Correlation, Effect, Manifest, OptionalPart, Role, Source, Subscription,
    };

    use super::Facts;
    use crate::plugins::wasm::{Introduction, Limits};

    pub(crate) fn plugin(
        name: &str,
        role: Role,
        receives: &[&str],
        commands: &[&str],
        events: &[&str],
    ) -> Facts {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let subscription = |name: &&str| Subscription {
            event_type: (*name).to_owned(),
            source: Source::Any,
            key: Correlation::Subject,
            effect: Effect::Handle,
            absent: Absent::Ignore,
        };
        let manifest = Manifest {
            name: name.into(),
            role,
            version: "1.0.0".into(),
            description: format!("What {name} is for"),
            subscriptions: receives.iter().map(subscription).collect(),
            commands: set(commands),
            events: set(events),
            lookups: set(&[]),
            streams: false,
            state_version: u32::from(role.has_instances()),
            optional: OptionalPart::default(),
        };
        Facts {
            path: PathBuf::from(format!("{name}.wasm")),
            digest: "d1".to_owned(),
            manifest,
            imports: vec!["sagabox:plugin/logging@0.1.0".to_owned()],
            limits: Limits::default(),
            introduction: Introduction::default(),
        }
    }
}
