//! SEAM Handler: what decides events. Implemented by wasm components, and by
//! the simulator's native handlers.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Answer, Decision, Event, Failure, Key, Manifest, Question, State, Timestamp};

/// A loaded plugin in one of its roles.
///
/// Calls are synchronous, may come from several threads at once, and are pure:
/// the same call gives the same reply. They return within the limits that the
/// implementation sets; breaking a limit is a `Failure`.
pub trait Handler: Send + Sync + 'static {
    fn manifest(&self) -> &Manifest;

    /// Decides one event, for one instance if the role has instances.
    ///
    /// # Errors
    /// The handler's own refusal, or what went wrong in calling it.
    fn handle(&self, call: &Call) -> Result<Reply, Failure>;

    /// Turns a state of another `state_version` into one of the manifest's: of an older
    /// one, or of a newer one after a rollback.
    ///
    /// # Errors
    /// Says why the state cannot be used.
    fn migrate(&self, state: &State) -> Result<Bytes, String>;
}

/// The whole input of one call.
#[derive(Clone, Debug)]
pub struct Call {
    pub event: Arc<Event>,
    /// None when the event starts the instance, and for stateless roles.
    pub state: Option<State>,
    pub now: Timestamp,
    /// Counts from 1.
    pub attempt: u32,
    /// The instance's key, or the correlation key of a stateless role's event.
    pub key: Key,
    pub answers: Vec<Answer>,
    pub seed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Decided(Decision),
    /// Answer these, then call again.
    Need(Vec<Question>),
}
