//! Whether one version of a plugin reads the states of another, as far as scenarios show them:
//! what a host tries on all live instances before it serves, without a host.

use std::sync::Arc;

use sagabox_engine::model::State;
use sagabox_engine::seams::handler::Handler;

use super::{Finding, Severity};

/// States that one version leaves in its scenarios.
pub struct Examples {
    pub handler: Arc<dyn Handler>,
    pub states: Vec<State>,
}

/// What speaks against the newer version, or against the way back from it.
#[must_use]
pub fn check_states(older: &Examples, newer: &Examples) -> Vec<Finding> {
    let (before, after) = (older.handler.manifest(), newer.handler.manifest());
    let subject = after.name.as_str();
    if older.states.is_empty() && newer.states.is_empty() {
        let text = "no scenario of either version leaves a state, so it is unknown \
        whether it reads the states of the other version";
        return vec![Finding::new(Severity::Note, subject, text)];
    }
    let mut findings = Vec::new();
    if let Some(reason) = refusal(&*newer.handler, &older.states) {
        let text = match before.state_version == after.state_version {
            true => format!(
                "cannot read a state of {}, which has the same version of states, {}: {reason}; a \
                 host with such an instance refuses it. Increase the state version and \
                 migrate",
                before.version, after.state_version
            ),
            false => format!(
                "cannot migrate a state of {} from version {} to {}: {reason}; a host with such \
                 an instance refuses it",
                before.version, before.state_version, after.state_version
            ),
        };
        findings.push(Finding::new(Severity::Warning, subject, text));
    }
    if let Some(reason) = refusal(&*older.handler, &newer.states) {
        let text = format!(
            "{} cannot read a state of it: {reason}; a host refuses a rollback to that \
             version while such an instance exists",
            before.version
        );
        findings.push(Finding::new(Severity::Note, subject, text));
    }
    findings
}

/// Of the first state that is refused, if one is.
fn refusal(handler: &dyn Handler, states: &[State]) -> Option<String> {
    let to = handler.manifest().state_version;
    states.iter().find_map(|state| handler.migrate(state, to).err())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sagabox_engine::model::{Failure, Manifest, Role};
    use sagabox_engine::seams::handler::{Call, Reply};

    use super::super::samples::plugin;
    use super::*;

    /// Reads states that begin with one of these letters.
    struct Reads(Manifest, &'static str);

    impl Handler for Reads {
        fn manifest(&self) -> &Manifest {
            &self.0
        }

        fn handle(&self, _: &Call) -> Result<Reply, Failure> {
            unreachable!("only states are read")
        }

        fn migrate(&self, state: &State, _: u32) -> Result<Bytes, String> {
            match state.data.starts_with(b"a") && self.1.contains('a')
                || state.data.starts_with(b"b") && self.1.contains('b')
            {
                true => Ok(state.data.clone()),
                false => Err("it has no b".to_owned()),
            }
        }
    }

    fn examples(version: u32, reads: &'static str, states: &[&'static str]) -> Examples {
        let manifest = plugin("orders", Role::ProcessManager, &[], &[], &[]).manifest;
        let manifest = Manifest { state_version: version, ..manifest };
        let state = |data: &&'static str| State { version, data: Bytes::from(*data) };
        let states = states.iter().map(state).collect();
        Examples { handler: Arc::new(Reads(manifest, reads)), states }
    }

    #[track_caller]
    fn check(older: &Examples, newer: &Examples, expected: &[(Severity, &str)]) {
        let found = check_states(older, newer);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (finding, (severity, part)) in found.iter().zip(expected) {
            assert_eq!(finding.severity, *severity);
            assert!(finding.text.contains(part), "{}", finding.text);
        }
    }

    #[test]
    fn states_that_are_not_read_are_reported_in_both_directions() {
        let old = examples(1, "a", &["a"]);
        check(&old, &examples(1, "ab", &["a"]), &[]);
        let same = "cannot read a state of 1.0.0, which has the same version of states, 1: it has";
        let back = "1.0.0 cannot read a state of it: it has no b; a host refuses a rollback to that version";
        let both = [(Severity::Warning, same), (Severity::Note, back)];
        check(&old, &examples(1, "b", &["b"]), &both);
        let migrates = "cannot migrate a state of 1.0.0 from version 1 to 2: it has no b";
        check(&old, &examples(2, "b", &["a"]), &[(Severity::Warning, migrates)]);
        let unknown = [(Severity::Note, "no scenario of either version leaves a state")];
        check(&examples(1, "a", &[]), &examples(1, "a", &[]), &unknown);
    }
}
