//! Decides a recorded decision again: with the version that decided it, with another one, or with
//! another event. Replay does this for every decision, and an operator for one.
//!
//! A handler is a pure function, so nothing is committed or sent.

use std::collections::HashMap;
use std::sync::Arc;

use sagabox_engine::model::{
    Answer, AnswerValue, Decision, DecisionRecord, DecisionSummary, Event, Hops, Question,
    RecordedAnswer, RecordedValue, State,
};
use sagabox_engine::pure::identity::DecisionIdentity;
use sagabox_engine::seams::handler::{Call, Handler, Reply, as_read_by};

use crate::decisions::json::Difference;
use crate::decisions::kinds::Aspects;
use crate::decisions::recorded::{self, Messages, asks, failed};
use crate::plugins::factory::PluginFactory;
use crate::plugins::wasm::{self, Sandbox};
use crate::store::query::Queries;

/// The recorded inputs of a decision.
pub(crate) struct Inputs<'r> {
    pub record: &'r DecisionRecord,
    pub summary: &'r DecisionSummary,
    pub hops: Hops,
    pub event: Arc<Event>,
    /// The state before the decision.
    pub before: Option<&'r State>,
    pub answers: Vec<Answer>,
}

/// The outcome of the call.
pub(crate) enum Outcome {
    Decided { decision: Decision, before: Option<State> },
    Asks(Vec<Question>),
    Fails(String),
}

pub(crate) fn decide(handler: &dyn Handler, inputs: &Inputs<'_>) -> Outcome {
    let Inputs { record, hops, event, before, answers, .. } = inputs;
    let before = match before.map(|state| as_read_by(handler, state)).transpose() {
        Ok(before) => before,
        Err(why) => return Outcome::Fails(why),
    };
    let plugin = &handler.manifest().name;
    let call = Call {
        seed: DecisionIdentity::new(plugin, hops.origin(), event, &record.key).seed(),
        event: Arc::clone(event),
        state: before.clone(),
        now: record.decided_at,
        attempt: record.attempt,
        answers: answers.clone(),
        key: record.key.clone(),
    };
    match handler.handle(&call) {
        Ok(Reply::Decided(decision)) => Outcome::Decided { decision, before },
        Ok(Reply::Need(questions)) => Outcome::Asks(questions),
        Err(failure) => Outcome::Fails(failure.to_string()),
    }
}

/// The places at which the outcome differs from the record.
pub(crate) fn differences(
    handler: &dyn Handler,
    inputs: &Inputs<'_>,
    outcome: &Outcome,
    messages: &Messages,
    compare: Aspects,
) -> Vec<Difference> {
    let Inputs { record, summary, answers, .. } = inputs;
    let (decision, before) = match outcome {
        Outcome::Decided { decision, before } => (decision, before),
        Outcome::Asks(questions) => return vec![asks(questions, answers)],
        Outcome::Fails(why) => return vec![failed(why)],
    };
    let mut all = match compare.has_effects() {
        true => recorded::compare(summary, decision, record.key.as_str(), messages),
        false => Vec::new(),
    };
    if compare.has_state() && handler.manifest().role.has_instances() {
        let recorded = record.state.as_ref().or(inputs.before);
        match recorded.map(|state| as_read_by(handler, state)).transpose() {
            Ok(recorded) => {
                let before = before.as_ref().map(|state| state.data.clone());
                let decided = decision.state.clone().or(before);
                let recorded = recorded.map(|state| state.data);
                all.extend(recorded::compare_states(recorded.as_deref(), decided.as_deref()));
            }
            Err(why) => all.push(failed(&why)),
        }
    }
    all
}

/// The answers that a decision received. `stream` reads the events of a subject.
///
/// # Errors
/// Says why they are no longer known.
pub(crate) fn answers(
    summary: &DecisionSummary,
    mut stream: impl FnMut(&str, u64) -> Result<Vec<Arc<Event>>, String>,
) -> Result<Vec<Answer>, String> {
    let answers = summary.answers.iter().map(|RecordedAnswer { question, answer }| {
        let value = match answer {
            RecordedValue::Missing => AnswerValue::Missing,
            RecordedValue::Found { content_type, data } => {
                AnswerValue::Found { content_type: content_type.clone(), data: data.clone() }
            }
            RecordedValue::Stream(count) => {
                let Question::Stream(subject) = question else {
                    return Err("a recorded answer is invalid".to_owned());
                };
                AnswerValue::Events(stream(subject, *count)?)
            }
        };
        Ok(Answer { question: question.clone(), value })
    });
    answers.collect()
}

/// Loads versions that the store keeps, so that people can ask what they decide.
pub struct KeptVersions {
    pub sandbox: Sandbox,
    /// Each plugin's own settings, as JSON.
    pub configurations: HashMap<String, String>,
    pub queries: Arc<dyn Queries>,
}

impl KeptVersions {
    /// Loads versions as the factory loads files.
    pub fn of(factory: &PluginFactory) -> Self {
        Self {
            sandbox: factory.sandbox.clone(),
            configurations: factory.configurations.clone(),
            queries: Arc::clone(&factory.queries),
        }
    }

    /// The plugin of this name in the component with this digest. The component is compiled, which
    /// takes a while if the cache does not have it.
    ///
    /// # Errors
    /// If the store does not keep it, or it does not load.
    pub(crate) async fn load(
        &self,
        plugin: &str,
        digest: &str,
    ) -> Result<Arc<dyn Handler>, String> {
        let component = self.queries.component(digest).await.map_err(|error| error.to_string())?;
        let none = || format!("the store keeps no component with the digest {digest}");
        let component = component.ok_or_else(none)?;
        let (sandbox, configurations) = (self.sandbox.clone(), self.configurations.clone());
        let loading = tokio::task::spawn_blocking(move || {
            let bytes = component.unpack()?;
            let file = (component.file.as_str(), component.signature.as_deref());
            wasm::load_kept(file, &bytes, &sandbox, &configurations)
                .map_err(|unfit| unfit.to_string())
        });
        let loaded = loading.await.map_err(|error| error.to_string())??;
        let mut loaded = loaded.into_iter();
        let own = loaded.find(|own| own.handler.manifest().name.as_str() == plugin);
        let none = || format!("the component {digest} has no plugin `{plugin}`");
        own.map(|own| own.handler as Arc<dyn Handler>).ok_or_else(none)
    }
}
