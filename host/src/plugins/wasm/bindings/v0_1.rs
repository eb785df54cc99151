//! The bindings of `sagabox:plugin@0.1`, and the conversions to the engine's
//! types. The only file that names the generated types of this version.

use std::sync::Arc;
use std::time::Duration;

use sagabox_engine::model as m;
use sagabox_engine::seams::handler::{Call, Reply};
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use super::Interface;
use super::Version;
use crate::plugins::wasm::call_state::CallState;
use crate::plugins::wasm::optional::check_size;
use crate::plugins::wasm::wasi;

mod saga {
    wasmtime::component::bindgen!({
        path: "../wit/0.1",
        world: "saga",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

mod process_manager {
    wasmtime::component::bindgen!({
        path: "../wit/0.1",
        world: "process-manager",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "sagabox:plugin/types": super::saga::sagabox::plugin::types,
            "sagabox:plugin/logging": super::saga::sagabox::plugin::logging,
        },
    });
}

mod reactor {
    wasmtime::component::bindgen!({
        path: "../wit/0.1",
        world: "reactor",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "sagabox:plugin/types": super::saga::sagabox::plugin::types,
            "sagabox:plugin/logging": super::saga::sagabox::plugin::logging,
        },
    });
}

mod enricher {
    wasmtime::component::bindgen!({
        path: "../wit/0.1",
        world: "enricher",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "sagabox:plugin/types": super::saga::sagabox::plugin::types,
            "sagabox:plugin/logging": super::saga::sagabox::plugin::logging,
        },
    });
}

use process_manager::exports::sagabox::plugin::process_manager_handler as pm;
use saga::sagabox::plugin::{logging, types};

const fn interface(role: m::Role, name: &'static str) -> Interface {
    Interface { role, name, version: Version::V0_1 }
}

/// The interfaces whose export makes a component play a role.
pub(super) const INTERFACES: [Interface; 4] = [
    interface(m::Role::Saga, "sagabox:plugin/saga-handler@0.1.0"),
    interface(m::Role::ProcessManager, "sagabox:plugin/process-manager-handler@0.1.0"),
    interface(m::Role::Reactor, "sagabox:plugin/reactor-handler@0.1.0"),
    interface(m::Role::Enricher, "sagabox:plugin/enricher-handler@0.1.0"),
];

/// The imports that a component may have.
pub(super) const IMPORTS: [&str; 2] =
    ["sagabox:plugin/logging@0.1.0", "sagabox:plugin/types@0.1.0"];

impl types::Host for CallState {}

impl logging::Host for CallState {
    fn log(&mut self, level: logging::Level, message: String) {
        let level = match level {
            logging::Level::Trace => tracing::Level::TRACE,
            logging::Level::Debug => tracing::Level::DEBUG,
            logging::Level::Info => tracing::Level::INFO,
            logging::Level::Warn => tracing::Level::WARN,
            logging::Level::Error => tracing::Level::ERROR,
        };
        self.log.write(level, &message);
    }
}

/// A component proven to play a role: its exports and imports have the world's types.
#[derive(Clone)]
pub(crate) enum Program {
    Saga(saga::SagaPre<CallState>),
    ProcessManager(process_manager::ProcessManagerPre<CallState>),
    Reactor(reactor::ReactorPre<CallState>),
    Enricher(enricher::EnricherPre<CallState>),
}

/// A running instance of it.
pub(crate) enum PluginInstance {
    Saga(saga::Saga),
    ProcessManager(process_manager::ProcessManager),
    Reactor(reactor::Reactor),
    Enricher(enricher::Enricher),
}

type Called<T> = wasmtime::Result<Result<T, m::Failure>>;

impl Program {
    pub(crate) fn new(role: m::Role, component: &Component) -> wasmtime::Result<Self> {
        let mut linker = Linker::<CallState>::new(component.engine());
        wasi::link(&mut linker, component)?;
        saga::Saga::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |state| {
            state
        })?;
        let ready = linker.instantiate_pre(component)?;
        Ok(match role {
            m::Role::Saga => Self::Saga(saga::SagaPre::new(ready)?),
            m::Role::ProcessManager => {
                Self::ProcessManager(process_manager::ProcessManagerPre::new(ready)?)
            }
            m::Role::Reactor => Self::Reactor(reactor::ReactorPre::new(ready)?),
            m::Role::Enricher => Self::Enricher(enricher::EnricherPre::new(ready)?),
        })
    }

    pub(crate) fn start(&self, store: &mut Store<CallState>) -> wasmtime::Result<PluginInstance> {
        Ok(match self {
            Self::Saga(program) => PluginInstance::Saga(program.instantiate(store)?),
            Self::ProcessManager(program) => {
                PluginInstance::ProcessManager(program.instantiate(store)?)
            }
            Self::Reactor(program) => PluginInstance::Reactor(program.instantiate(store)?),
            Self::Enricher(program) => PluginInstance::Enricher(program.instantiate(store)?),
        })
    }
}

impl PluginInstance {
    pub(crate) fn describe(
        &self,
        store: &mut Store<CallState>,
    ) -> wasmtime::Result<Result<m::Manifest, String>> {
        Ok(match self {
            Self::Saga(saga) => {
                manifest(saga.sagabox_plugin_saga_handler().call_describe(store)?, m::Role::Saga)
            }
            Self::ProcessManager(manager) => manifest(
                manager.sagabox_plugin_process_manager_handler().call_describe(store)?,
                m::Role::ProcessManager,
            ),
            Self::Reactor(reactor) => manifest(
                reactor.sagabox_plugin_reactor_handler().call_describe(store)?,
                m::Role::Reactor,
            ),
            Self::Enricher(enricher) => manifest(
                enricher.sagabox_plugin_enricher_handler().call_describe(store)?,
                m::Role::Enricher,
            ),
        })
    }

    pub(crate) fn handle(
        &self,
        store: &mut Store<CallState>,
        call: &Call,
        configuration: &str,
    ) -> Called<Reply> {
        // The bindings borrow everything, and copy it once, into the guest.
        let extensions = extensions_out(&call.event);
        let event = event_out(&call.event, &extensions);
        let streams: Vec<_> = call.answers.iter().map(|answer| stream_extensions(answer)).collect();
        let streams: Vec<_> = call.answers.iter().zip(&streams).map(stream_out).collect();
        let answers: Vec<_> = call.answers.iter().zip(&streams).map(answer_out).collect();
        let context = types::Context {
            now: call.now.0,
            attempt: call.attempt,
            key: call.key.as_str(),
            answers: &answers,
            configuration,
            seed: seed(call.seed),
        };
        Ok(match self {
            Self::Saga(saga) => saga
                .sagabox_plugin_saga_handler()
                .call_handle(store, event, context)?
                .map(outcome)
                .map_err(failure),
            Self::Reactor(reactor) => reactor
                .sagabox_plugin_reactor_handler()
                .call_handle(store, event, context)?
                .map(outcome)
                .map_err(failure),
            Self::Enricher(enricher) => enricher
                .sagabox_plugin_enricher_handler()
                .call_enrich(store, event, context)?
                .map(enrichment)
                .map_err(failure),
            Self::ProcessManager(manager) => {
                let state = call.state.as_ref().map(state_out);
                manager
                    .sagabox_plugin_process_manager_handler()
                    .call_handle(store, event, state, context)?
                    .map(step)
                    .map_err(failure)
            }
        })
    }

    pub(crate) fn migrate(
        &self,
        store: &mut Store<CallState>,
        state: &m::State,
        to: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        match self {
            Self::ProcessManager(manager) => manager
                .sagabox_plugin_process_manager_handler()
                .call_migrate(store, state_out(state), to),
            _ => Ok(Err("the role has no state".to_owned())),
        }
    }
}

// ---- to the guest ----------------------------------------------------------

fn seed(seed: u128) -> (u32, u32, u32, u32) {
    let part = |from: u32| u32::try_from(seed >> from & u128::from(u32::MAX)).unwrap_or_default();
    (part(96), part(64), part(32), part(0))
}

fn event_out<'e>(
    event: &'e m::Event,
    extensions: &'e [types::ExtensionParam<'e>],
) -> types::Event<'e> {
    types::Event {
        id: &event.id,
        source: &event.source,
        type_: &event.event_type,
        subject: event.subject.as_deref(),
        time: event.time.as_deref(),
        datacontenttype: event.content_type(),
        dataschema: event.dataschema.as_deref(),
        extensions,
        data: &event.data,
    }
}

fn extensions_out(event: &m::Event) -> Vec<types::ExtensionParam<'_>> {
    event.extensions.iter().map(|(name, value)| types::ExtensionParam { name, value }).collect()
}

/// The extensions of each event in an answer; none if the answer is no stream.
fn stream_extensions(answer: &m::Answer) -> Vec<Vec<types::ExtensionParam<'_>>> {
    match &answer.value {
        m::AnswerValue::Events(events) => {
            events.iter().map(|event| extensions_out(event)).collect()
        }
        m::AnswerValue::Found { .. } | m::AnswerValue::Missing => Vec::new(),
    }
}

fn stream_out<'a>(
    (answer, extensions): (&'a m::Answer, &'a Vec<Vec<types::ExtensionParam<'a>>>),
) -> Vec<types::Event<'a>> {
    match &answer.value {
        m::AnswerValue::Events(events) => {
            let events = events.iter().zip(extensions);
            events.map(|(event, extensions)| event_out(event, extensions)).collect()
        }
        m::AnswerValue::Found { .. } | m::AnswerValue::Missing => Vec::new(),
    }
}

fn answer_out<'a>(
    (answer, stream): (&'a m::Answer, &'a Vec<types::Event<'a>>),
) -> types::Answer<'a> {
    let question = match &answer.question {
        m::Question::Lookup { name, key } => {
            types::QuestionParam::Lookup(types::LookupParam { name, key })
        }
        m::Question::Stream(subject) => types::QuestionParam::Stream(subject),
    };
    let value = match &answer.value {
        m::AnswerValue::Missing => types::AnswerValue::Missing,
        m::AnswerValue::Found { content_type, data } => {
            types::AnswerValue::Found(types::Payload { content_type, data })
        }
        m::AnswerValue::Events(_) => types::AnswerValue::Events(stream),
    };
    types::Answer { question, value }
}

fn state_out(state: &m::State) -> pm::State<'_> {
    pm::State { version: state.version, data: &state.data }
}

// ---- from the guest --------------------------------------------------------

fn failure(failure: types::Failure) -> m::Failure {
    match failure {
        types::Failure::Permanent(reason) => m::Failure::Permanent(reason),
        types::Failure::Transient(reason) => m::Failure::Transient(reason),
    }
}

fn outcome(outcome: types::Outcome) -> Reply {
    match outcome {
        types::Outcome::Need(questions) => need(questions),
        types::Outcome::Decided(decision) => Reply::Decided(m::Decision {
            messages: messages(decision.commands, decision.events),
            ..m::Decision::default()
        }),
    }
}

fn enrichment(
    enrichment: enricher::exports::sagabox::plugin::enricher_handler::Enrichment,
) -> Reply {
    use enricher::exports::sagabox::plugin::enricher_handler::Enrichment;
    match enrichment {
        Enrichment::Need(questions) => need(questions),
        Enrichment::Publish(events) => Reply::Decided(m::Decision {
            messages: messages(Vec::new(), events),
            ..m::Decision::default()
        }),
    }
}

fn step(step: pm::Step) -> Reply {
    let transition = match step {
        pm::Step::Need(questions) => return need(questions),
        pm::Step::Transit(transition) => transition,
    };
    let timer = |change| match change {
        pm::TimerChange::Cancel(name) => m::TimerChange::Cancel(name.into()),
        pm::TimerChange::Set(timer) => m::TimerChange::Set {
            name: timer.name.into(),
            due: match timer.due {
                pm::Due::After(millis) => m::Due::After(millis),
                pm::Due::At(at) => m::Due::At(m::Timestamp(at)),
            },
            data: timer.data.into(),
        },
    };
    let key = |change| match change {
        pm::KeyChange::Claim(key) => m::KeyChange::Claim(key.into()),
        pm::KeyChange::Release(key) => m::KeyChange::Release(key.into()),
    };
    Reply::Decided(m::Decision {
        state: transition.state.map(Into::into),
        messages: messages(transition.commands, transition.events),
        timers: transition.timers.into_iter().map(timer).collect(),
        keys: transition.keys.into_iter().map(key).collect(),
        complete: transition.complete,
    })
}

fn need(questions: Vec<types::QuestionResult>) -> Reply {
    let question = |question| match question {
        types::QuestionResult::Lookup(lookup) => {
            m::Question::Lookup { name: lookup.name, key: lookup.key }
        }
        types::QuestionResult::Stream(subject) => m::Question::Stream(subject),
    };
    Reply::Need(questions.into_iter().map(question).collect())
}

fn messages(commands: Vec<types::Command>, events: Vec<types::EmittedEvent>) -> Vec<m::Outgoing> {
    let commands = commands.into_iter().map(|command| m::Outgoing {
        kind: m::MessageKind::Command,
        event_type: command.type_,
        subject: command.subject,
        datacontenttype: command.datacontenttype,
        extensions: extensions(command.extensions),
        data: command.data.into(),
    });
    let events = events.into_iter().map(|event| m::Outgoing {
        kind: m::MessageKind::Event,
        event_type: event.type_,
        subject: event.subject,
        datacontenttype: event.datacontenttype,
        extensions: extensions(event.extensions),
        data: event.data.into(),
    });
    commands.chain(events).collect()
}

fn extensions(extensions: Vec<types::ExtensionResult>) -> Vec<(String, String)> {
    extensions.into_iter().map(|extension| (extension.name, extension.value)).collect()
}

/// Refuses text that is no JSON, and members that occur twice, because the engine's type cannot
/// hold them.
fn optional(
    schemas: Vec<types::Schema>,
    configuration_schema: Option<String>,
    fields: Vec<types::Field>,
    summary: Option<String>,
) -> Result<m::OptionalPart, String> {
    let parse = |what: &str, text: &str| {
        serde_json::from_str(text).map_err(|error| format!("{what} is no JSON: {error}"))
    };
    let texts = schemas.iter().map(|schema| &schema.schema).chain(&configuration_schema);
    check_size(texts.map(String::len).sum())?;
    let mut part = m::OptionalPart { summary, ..m::OptionalPart::default() };
    for types::Schema { type_, schema } in schemas {
        let schema = parse(&format!("schemas: that of `{type_}`"), &schema)?;
        if part.schemas.contains_key(&type_) {
            return Err(format!("schemas: there are two of `{type_}`; a type has one"));
        }
        part.schemas.insert(type_, schema);
    }
    if let Some(schema) = configuration_schema {
        part.configuration_schema = Some(parse("configuration-schema: it", &schema)?);
    }
    let field = |field: types::Field| m::Field { name: field.name, pointer: field.pointer };
    part.fields = fields.into_iter().map(field).collect();
    Ok(part)
}

fn manifest(manifest: types::Manifest, role: m::Role) -> Result<m::Manifest, String> {
    let subscription = |subscription: types::Subscription| m::Subscription {
        event_type: subscription.type_,
        source: match subscription.source {
            types::Source::Any => m::Source::Any,
            types::Source::Exactly(source) => m::Source::Exactly(source),
            types::Source::Prefix(prefix) => m::Source::Prefix(prefix),
        },
        key: match subscription.key {
            types::Correlation::Subject => m::Correlation::Subject,
            types::Correlation::Attribute(name) => m::Correlation::Attribute(name),
            types::Correlation::Pointer(pointer) => m::Correlation::Pointer(pointer),
            types::Correlation::Instance => m::Correlation::Instance,
        },
        effect: match subscription.effect {
            types::Effect::Start => m::Effect::Start,
            types::Effect::StartOrHandle => m::Effect::StartOrHandle,
            types::Effect::Handle => m::Effect::Handle,
        },
        absent: match subscription.absent {
            types::Absent::Ignore => m::Absent::Ignore,
            types::Absent::Hold(millis) => m::Absent::Hold(Duration::from_millis(millis)),
            types::Absent::Fail => m::Absent::Fail,
        },
    };
    Ok(m::Manifest {
        name: manifest.name.into(),
        role,
        version: Arc::from(manifest.version),
        description: manifest.description,
        subscriptions: manifest.subscriptions.into_iter().map(subscription).collect(),
        commands: manifest.commands.into_iter().collect(),
        events: manifest.events.into_iter().collect(),
        lookups: manifest.lookups.into_iter().collect(),
        streams: manifest.streams,
        state_version: manifest.state_version,
        optional: optional(
            manifest.schemas,
            manifest.configuration_schema,
            manifest.fields,
            manifest.summary,
        )?,
    })
}
