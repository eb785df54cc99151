//! How lookups are asked: each behind a circuit breaker that all plugins share (`breaker.rs`).
//!
//! A question waits while its lookup is down or has not proved that it works, and from time to time
//! one of the waiting questions is asked. A failure that the lookup causes is charged to the event
//! that asked only if the lookup has answered other questions since that event failed before: then
//! the question is the cause.
//!
//! The breakers outlive the stages, so they survive a recovery of the engine.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::Clock;
use crate::lock;
use crate::model::{AnswerValue, Failure, PluginName, Timestamp};
use crate::pure::breaker::{Admits, Breaker, Trouble};
use crate::pure::monotonic::{self, Instant, after};
use crate::pure::retry::RetryPolicy;
use crate::seams::lookup::{Lookup, Unanswered};

/// A question waits for its lookup's next attempt if that is at most this far away. Otherwise its
/// event waits, and asks again.
const PATIENCE: Duration = Duration::from_secs(1);

/// A lookup that is down: events that need it wait, and it gets single questions as probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupDown {
    /// The lookup's configured name.
    pub lookup: String,
    /// The wall-clock date since which it has not answered.
    pub since: Timestamp,
    /// The wall-clock date before which it is not asked again.
    pub next_attempt_at: Timestamp,
    /// Why the last question failed.
    pub reason: String,
}

pub(crate) struct Lookups {
    lookup: Arc<dyn Lookup>,
    timeout: Duration,
    retry: RetryPolicy,
    /// By the names that plugins have asked: those of their manifests.
    gates: Mutex<BTreeMap<String, Arc<Gate>>>,
}

/// One lookup, and its breaker.
struct Gate {
    state: Mutex<State>,
    /// Notified when a waiting question may have become the next one.
    changed: watch::Sender<()>,
}

struct State {
    breaker: Breaker,
    /// How often the lookup has answered.
    answers: u64,
    /// Why the last question failed.
    reason: String,
}

/// Why a question was not answered, and whether that counts as an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub unanswered: Unanswered,
    pub charge: Charge,
}

/// Whether a failure uses up an attempt of the event that asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    /// It uses up an attempt.
    Attempt,
    /// It uses up none, because the lookup is the cause. If the lookup is down, it is not asked
    /// before `until`.
    Lookup { failed_at: FailedAt, until: Option<Instant> },
}

/// How often a lookup had answered when a question failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedAt {
    lookup: String,
    answers: u64,
}

impl From<Unanswered> for Failed {
    fn from(unanswered: Unanswered) -> Self {
        Self { unanswered, charge: Charge::Attempt }
    }
}

impl Lookups {
    pub(crate) fn new(lookup: Arc<dyn Lookup>, timeout: Duration, retry: RetryPolicy) -> Self {
        Self { lookup, timeout, retry, gates: Mutex::default() }
    }

    /// Asks the lookup as soon as its breaker admits the question. `failed_at` is the state in
    /// which the event that asks failed before.
    ///
    /// # Errors
    /// See [`Failed`].
    pub(crate) async fn ask(
        &self,
        plugin: &PluginName,
        name: &str,
        key: &str,
        failed_at: Option<&FailedAt>,
    ) -> Result<AnswerValue, Failed> {
        let gate = self.gate(name);
        let ticket = gate.admitted(name).await?;
        let asked = tokio::time::timeout(self.timeout, self.lookup.ask(plugin, name, key)).await;
        let answer = asked.unwrap_or_else(|_| {
            let reason = format!("no answer within {:?}", self.timeout);
            Err(Unanswered::Unavailable { reason, retry_after: None })
        });
        ticket.conclude(name, key, answer, failed_at)
    }

    /// Bounds the time of an answer that the engine itself gives.
    ///
    /// # Errors
    /// The error of the answer, or that it took too long.
    pub(crate) async fn in_time(
        &self,
        answer: impl Future<Output = Result<AnswerValue, Failure>>,
    ) -> Result<AnswerValue, Failure> {
        let late = |_| Err(Failure::Transient(format!("no answer within {:?}", self.timeout)));
        tokio::time::timeout(self.timeout, answer).await.unwrap_or_else(late)
    }

    /// The lookups that do not answer.
    pub(crate) fn down(&self, clock: &Clock) -> Vec<LookupDown> {
        let (now, today) = (Instant::now(), clock());
        let gates = lock(&self.gates);
        let down = |(name, gate): (&String, &Arc<Gate>)| {
            let state = lock(&gate.state);
            let (since, until) = state.breaker.open()?;
            Some(LookupDown {
                lookup: name.clone(),
                since: monotonic::date(since, now, today),
                next_attempt_at: monotonic::date(until, now, today),
                reason: state.reason.clone(),
            })
        };
        gates.iter().filter_map(down).collect()
    }

    fn gate(&self, name: &str) -> Arc<Gate> {
        let mut gates = lock(&self.gates);
        if let Some(gate) = gates.get(name) {
            return Arc::clone(gate);
        }
        let state =
            State { breaker: Breaker::new(self.retry.clone()), answers: 0, reason: String::new() };
        let gate = Gate { state: Mutex::new(state), changed: watch::Sender::new(()) };
        let gate = Arc::new(gate);
        gates.insert(name.to_owned(), Arc::clone(&gate));
        gate
    }
}

impl Gate {
    /// Waits until a question may be asked.
    async fn admitted(&self, name: &str) -> Result<Ticket<'_>, Failed> {
        let mut changed = None;
        loop {
            let (now, until) = (Instant::now(), self.admit(name)?);
            let until = match until {
                Ok(ticket) => return Ok(ticket),
                Err(until) => until.unwrap_or_else(|| after(now, Duration::MAX)),
            };
            // The first time it looks once more, so that no change between is missed.
            let Some(changed) = &mut changed else {
                changed = Some(self.changed.subscribe());
                continue;
            };
            tokio::select! {
                biased;
                // The sender is a field of `self`.
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Admits a question, or returns until when it waits at most.
    fn admit(&self, name: &str) -> Result<Result<Ticket<'_>, Option<Instant>>, Failed> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let is_probe = match state.breaker.admits(now) {
            Admits::Another => false,
            Admits::Probe => true,
            Admits::None => return Ok(Err(None)),
            Admits::NoneUntil(until) if until <= after(now, PATIENCE) => {
                return Ok(Err(Some(until)));
            }
            Admits::NoneUntil(until) => {
                let reason = format!("the lookup is down: {}", state.reason);
                let unanswered = Unanswered::Unavailable { reason, retry_after: None };
                let failed_at = FailedAt { lookup: name.to_owned(), answers: state.answers };
                let charge = Charge::Lookup { failed_at, until: Some(until) };
                return Err(Failed { unanswered, charge });
            }
        };
        state.breaker.begin();
        Ok(Ok(Ticket { gate: self, is_probe, is_used: false }))
    }
}

/// A question that is being asked. If it is dropped before its answer is noted, another question
/// may be asked in its place.
struct Ticket<'g> {
    gate: &'g Gate,
    is_probe: bool,
    is_used: bool,
}

impl Ticket<'_> {
    /// Notes what the answer says about the lookup, and charges a failure.
    fn conclude(
        mut self,
        name: &str,
        key: &str,
        answer: Result<AnswerValue, Unanswered>,
        failed_at: Option<&FailedAt>,
    ) -> Result<AnswerValue, Failed> {
        let (trouble, at_least) = match &answer {
            // The lookup was not asked: another question is asked in its place.
            Err(Unanswered::NotGranted(_)) => return answer.map_err(Failed::from),
            Ok(_) | Err(Unanswered::Permanent(_)) => {
                self.is_used = true;
                self.gate.answered(name);
                return answer.map_err(Failed::from);
            }
            Err(Unanswered::Transient { retry_after, .. }) => {
                (Trouble::Message(hash(key)), *retry_after)
            }
            Err(Unanswered::Unavailable { retry_after, .. }) => (Trouble::Sink, *retry_after),
        };
        self.is_used = true;
        let mut state = lock(&self.gate.state);
        // While the lookup is down, failures say something about it and not about the questions.
        let is_of_lookup = trouble == Trouble::Sink || state.breaker.open().is_some();
        let others_work =
            failed_at.is_some_and(|failed| failed.lookup == name && failed.answers < state.answers);
        let opened = state.breaker.failed(Instant::now(), trouble, at_least, hash(key));
        if let Err(unanswered) = &answer {
            state.reason = unanswered.to_string();
        }
        if opened {
            tracing::warn!(
                lookup = name, reason = %state.reason,
                "the lookup is down; events that need it wait, and it is asked now and then"
            );
        }
        let charge = match is_of_lookup && !others_work {
            false => Charge::Attempt,
            true => Charge::Lookup {
                failed_at: FailedAt { lookup: name.to_owned(), answers: state.answers },
                until: state.breaker.open().map(|(_, until)| until),
            },
        };
        drop(state);
        self.gate.changed.send_replace(());
        answer.map_err(|unanswered| Failed { unanswered, charge })
    }
}

impl Gate {
    fn answered(&self, name: &str) {
        let mut state = lock(&self.state);
        state.answers += 1;
        if state.breaker.is_proven() {
            return;
        }
        if state.breaker.answered() {
            tracing::info!(lookup = name, "the lookup answers again");
        }
        drop(state);
        self.changed.send_replace(());
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            lock(&self.gate.state).breaker.abandon(self.is_probe);
            self.gate.changed.send_replace(());
        }
    }
}

/// The same in each run, so that a seed repeats everything.
fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
