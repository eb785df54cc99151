//! SEAM Handler: decides events. Wasm components implement it, and the simulator's native
//! handlers.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Answer, Decision, Event, Failure, Key, Manifest, Question, State, Timestamp};

/// The most bytes that are kept of the log of a call that failed: some screens. Chosen, not
/// measured.
pub const CALL_LOG_BYTES_MAX: usize = 8 << 10;

/// A loaded plugin in one of its roles.
///
/// Calls are synchronous, may come from several threads at once, and are pure:
/// the same call gives the same reply. They return within the limits that the
/// implementation sets; breaking a limit is a `Failure`.
pub trait Handler: Send + Sync + 'static {
    /// The manifest of this version. It never changes.
    fn manifest(&self) -> &Manifest;

    /// Decides one event, for one instance if the role has instances.
    ///
    /// # Errors
    /// The failure that the handler returned, or what went wrong in calling it.
    fn handle(&self, call: &Call) -> Result<Reply, Failure>;

    /// Decides one event as [`Self::handle`] does. The text beside the result is what the handler
    /// logged in this call: a line for each record, with its level, a space and its text. It has at
    /// most [`CALL_LOG_BYTES_MAX`] bytes, the newest lines. By default nothing is on record; a
    /// handler that passes calls on to another one passes its log on, too.
    fn handle_with_log(&self, call: &Call) -> (Result<Reply, Failure>, String) {
        (self.handle(call), String::new())
    }

    /// Converts a state to the `state_version` `to`. Both versions may be any that this version
    /// knows, older or newer. If both are its own version, the result says whether it can read
    /// the state.
    ///
    /// # Errors
    /// Says why the state cannot be converted or read.
    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String>;
}

/// The state that this version of a plugin gets: unchanged if it has the plugin's state version,
/// otherwise converted from its older or newer version. The serving host, shadows, replay and
/// scenarios all use this function, so a check of a rollback converts states exactly as the
/// rollback will.
///
/// # Errors
/// Says why the version cannot use the state.
pub fn as_read_by(handler: &dyn Handler, state: &State) -> Result<State, String> {
    let version = handler.manifest().state_version;
    if state.version == version {
        return Ok(state.clone());
    }
    let converted = handler.migrate(state, version);
    let data = converted.map_err(|reason| {
        format!("the state of version {} cannot be migrated to {version}: {reason}", state.version)
    })?;
    Ok(State { version, data })
}

/// The whole input of one call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The event to decide.
    pub event: Arc<Event>,
    /// None when the event starts the instance, and for stateless roles.
    pub state: Option<State>,
    /// The wall-clock date of the first call for this event. Retries and later calls of the same
    /// attempt get the same date.
    pub now: Timestamp,
    /// Counts from 1.
    pub attempt: u32,
    /// The instance's key, or the correlation key of the event for a stateless role.
    pub key: Key,
    /// The answers to all questions that the handler has asked for this event so far.
    pub answers: Vec<Answer>,
    /// The seed for the handler's random values. It differs between events, and is the same in
    /// every retry.
    pub seed: u128,
}

/// What a handler returned for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The decision.
    Decided(Decision),
    /// The handler needs answers. The engine gets them and calls it again with all answers so
    /// far. A reply with only questions that were answered already is a permanent failure.
    Need(Vec<Question>),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{OptionalPart, Role};

    /// A plugin of state version 2 that can also read versions 1 and 3.
    struct Scripted(Manifest);

    impl Handler for Scripted {
        fn manifest(&self) -> &Manifest {
            &self.0
        }

        fn handle(&self, _: &Call) -> Result<Reply, Failure> {
            unreachable!("only states are converted")
        }

        fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
            match state.version {
                1..=3 => Ok(format!("{} to {to}", state.version).into()),
                _ => Err("it is not known".to_owned()),
            }
        }
    }

    #[test]
    fn a_state_of_an_older_or_a_newer_version_is_converted_and_one_of_its_own_is_not() {
        let handler = Scripted(Manifest {
            name: "p".into(),
            role: Role::ProcessManager,
            version: "1.0.0".into(),
            description: String::new(),
            subscriptions: Vec::new(),
            commands: BTreeSet::new(),
            events: BTreeSet::new(),
            lookups: BTreeSet::new(),
            streams: false,
            state_version: 2,
            optional: OptionalPart::default(),
        });
        let read = |version| as_read_by(&handler, &State { version, data: "as it is".into() });
        for (version, data) in [(1, "1 to 2"), (2, "as it is"), (3, "3 to 2")] {
            assert_eq!(read(version), Ok(State { version: 2, data: data.into() }));
        }
        let reason = "the state of version 4 cannot be migrated to 2: it is not known";
        assert_eq!(read(4), Err(reason.to_owned()));
    }
}
