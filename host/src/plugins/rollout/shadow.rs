//! A candidate that repeats the decisions of the version that serves, for comparison.
//!
//! The shadow decides on its own thread. If that thread is behind, decisions are skipped and
//! counted; or, if its terms say so, each waits a little for room. So the slowest shadow costs the
//! plugins that serve no more than a copy of each call, and that wait.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use sagabox_engine::model::{Answer, Decision, Failure, Manifest, State};
use sagabox_engine::seams::handler::{Call, Handler, Reply, as_read_by};

use super::room::{Place, Room};
use super::tally::{Differing, Tally};
use super::terms::ShadowTerms;
use crate::decisions::json::{Difference, Json, differences};
use crate::decisions::kinds::Aspects;
use crate::decisions::{recorded, shown};

/// The handle on a shadow. When it is dropped, the shadow ends after the decisions that wait for
/// it.
pub struct Shadow {
    decided: Sender<Decided>,
    room: Arc<Room>,
    wait: Duration,
    tally: Arc<Tally>,
}

/// A call with all answers, so that the candidate gets the same input, and its outcome.
struct Decided {
    call: Call,
    outcome: Result<Decision, Failure>,
    bytes: usize,
}

impl Shadow {
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(
        candidate: Arc<dyn Handler>,
        serving: &Manifest,
        terms: ShadowTerms,
        tally: Arc<Tally>,
    ) -> std::io::Result<Self> {
        let (decided, waiting) = channel();
        let room = Arc::new(Room::default());
        let comparer = Comparer {
            candidate,
            states_of: serving.state_version,
            compare: terms.compare,
            tally: Arc::clone(&tally),
            room: Arc::clone(&room),
        };
        let name = format!("shadow-{}", comparer.candidate.manifest().name);
        std::thread::Builder::new().name(name).spawn(move || comparer.run(&waiting))?;
        Ok(Self { decided, room, wait: terms.wait, tally })
    }

    /// Passes on a call and its outcome. They are copied only if there is room for them.
    pub(super) fn offer(&self, call: &Call, reply: &Result<Reply, Failure>) {
        let outcome = match reply {
            Ok(Reply::Decided(decision)) => Ok(decision),
            // The handler is called again with the answers; that call counts.
            Ok(Reply::Need(_)) => return,
            Err(failure) => Err(failure),
        };
        let bytes = bytes(call, outcome);
        match self.room.take(bytes, self.wait) {
            Place::None => return self.tally.skip(),
            Place::Waited => self.tally.waited(),
            Place::AtOnce => {}
        }
        let (call, outcome) = (call.clone(), outcome.cloned().map_err(Failure::clone));
        if self.decided.send(Decided { call, outcome, bytes }).is_err() {
            self.room.give(bytes);
            self.tally.skip();
        }
    }
}

/// About how many bytes of memory a waiting decision takes, with its inputs.
fn bytes(call: &Call, outcome: Result<&Decision, &Failure>) -> usize {
    let state = call.state.as_ref().map_or(0, |state| state.data.len());
    let answers = call.answers.iter().map(Answer::bytes).sum::<usize>();
    let outcome = outcome.map_or_else(|failure| failure.to_string().len(), Decision::bytes);
    size_of::<Decided>() + call.key.as_str().len() + call.event.bytes() + state + answers + outcome
}

/// The state of the shadow's thread.
struct Comparer {
    candidate: Arc<dyn Handler>,
    /// The state version that the serving version writes.
    states_of: u32,
    compare: Aspects,
    tally: Arc<Tally>,
    room: Arc<Room>,
}

impl Comparer {
    fn run(self, waiting: &Receiver<Decided>) {
        // The span distinguishes the shadow's log lines from those of the version that serves.
        let _span =
            tracing::info_span!("shadow", version = %self.candidate.manifest().version).entered();
        while let Ok(decided) = waiting.recv() {
            let Decided { call, outcome, bytes } = decided;
            let (has_failed, differences) = self.compare(&call, outcome);
            self.tally.call(has_failed);
            if !differences.is_empty() {
                self.tally.differs(Differing {
                    at: call.now,
                    key: call.key.as_str().to_owned(),
                    event_type: call.event.event_type.clone(),
                    event_id: call.event.id.clone(),
                    differences,
                });
            }
            drop(call);
            self.room.give(bytes);
        }
    }
}

impl Comparer {
    /// Whether the candidate failed where the other version decided, and the differences between
    /// the two.
    fn compare(&self, call: &Call, outcome: Result<Decision, Failure>) -> (bool, Vec<Difference>) {
        let manifest = self.candidate.manifest();
        let event_type = &call.event.event_type;
        if manifest.subscription_to(&call.event).is_none() {
            let (place, expected) = ("subscriptions".to_owned(), Some(event_type.as_str().into()));
            return (false, vec![Difference { place, expected, found: None }]);
        }
        let of_candidate = |state: &State| as_read_by(&*self.candidate, state);
        let before = match call.state.as_ref().map(of_candidate).transpose() {
            Ok(state) => state,
            Err(why) => return (outcome.is_ok(), vec![recorded::failed(&why)]),
        };
        let own = self.candidate.handle(&Call { state: before.clone(), ..call.clone() });
        match (outcome, own) {
            (Ok(expected), Ok(Reply::Decided(found))) => {
                let mut all = match self.compare.has_effects() {
                    true => differences("", &shown(&expected, call), &shown(&found, call)),
                    false => Vec::new(),
                };
                if self.compare.has_state() && manifest.role.has_instances() {
                    let before = before.map(|state| state.data);
                    all.extend(self.compare_states(before, expected.state, found.state));
                }
                (false, all)
            }
            (Ok(_), Ok(Reply::Need(questions))) => {
                (false, vec![recorded::asks(&questions, &call.answers)])
            }
            (Ok(_), Err(failure)) => (true, vec![recorded::failed(&failure.to_string())]),
            (Err(expected), Ok(Reply::Decided(found))) => {
                (false, vec![outcomes(fails(&expected), shown(&found, call))])
            }
            // It is unknown whether the candidate would have failed with the answers.
            (Err(_), Ok(Reply::Need(_))) => (false, Vec::new()),
            // The kinds of the failures are compared. Their texts differ between versions, and
            // name figures.
            (Err(expected), Err(found)) => match is_transient(&expected) == is_transient(&found) {
                true => (false, Vec::new()),
                false => (false, vec![outcomes(fails(&expected), fails(&found))]),
            },
        }
    }

    /// Compares the states that both leave, as the candidate reads them.
    fn compare_states(
        &self,
        before: Option<Bytes>,
        expected: Option<Bytes>,
        found: Option<Bytes>,
    ) -> Vec<Difference> {
        let expected = match expected {
            None => before.clone(),
            Some(data) => {
                let state = State { version: self.states_of, data };
                match as_read_by(&*self.candidate, &state) {
                    Ok(state) => Some(state.data),
                    Err(why) => return vec![recorded::failed(&why)],
                }
            }
        };
        recorded::compare_states(expected.as_deref(), found.or(before).as_deref())
    }
}

/// The decision without its state, which is compared separately in one state version.
fn shown(decision: &Decision, call: &Call) -> Json {
    let mut shown = shown::decision(decision, call.now);
    if let Some(members) = shown.as_object_mut() {
        members.remove("state");
    }
    shown
}

fn fails(failure: &Failure) -> Json {
    Json::object([("fails", failure.to_string().into())])
}

fn is_transient(failure: &Failure) -> bool {
    matches!(failure, Failure::Transient(_))
}

fn outcomes(expected: Json, found: Json) -> Difference {
    let place = "decision".to_owned();
    Difference { place, expected: Some(expected), found: Some(found) }
}

#[cfg(test)]
mod tests;
