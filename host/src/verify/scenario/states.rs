//! The states that a plugin leaves in its scenarios: examples of what another version of it
//! has to read.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sagabox_engine::model::{Failure, Manifest, State};
use sagabox_engine::seams::handler::{Call, Handler, Reply};

use super::file::Scenario;
use super::play::play;
use crate::io::locks::lock;

/// Each once, in the order in which they are written first. A scenario that cannot be played
/// gives those that it comes to.
#[must_use]
pub fn states(scenario: &Scenario, handler: &Arc<dyn Handler>) -> Vec<State> {
    let recorder = Recorder { handler: Arc::clone(handler), states: Mutex::default() };
    // What is wrong with the scenario is reported when it is played itself.
    let _ = play(scenario, &recorder);
    std::mem::take(&mut *lock(&recorder.states))
}

struct Recorder {
    handler: Arc<dyn Handler>,
    states: Mutex<Vec<State>>,
}

impl Handler for Recorder {
    fn manifest(&self) -> &Manifest {
        self.handler.manifest()
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        let reply = self.handler.handle(call)?;
        if let Reply::Decided(decision) = &reply
            && let Some(data) = decision.state.clone()
        {
            let state = State { version: self.manifest().state_version, data };
            let mut states = lock(&self.states);
            if !states.contains(&state) {
                states.push(state);
            }
        }
        Ok(reply)
    }

    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
        self.handler.migrate(state, to)
    }
}
