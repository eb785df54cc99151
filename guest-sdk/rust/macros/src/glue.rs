//! The border to the host: bindings of the role's world, and conversions. Only
//! compiled for wasm; the author's crate stays plain Rust for tests.
//!
//! The bindings are generated in the author's crate, not in the SDK: a crate with
//! the bindings of several worlds would export all of them.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Type;

use crate::role::Role;

const TYPES: &str = include_str!("../../../../wit/0.1/types.wit");
const SAGA: &str = include_str!("../../../../wit/0.1/saga.wit");
const PROCESS_MANAGER: &str = include_str!("../../../../wit/0.1/process-manager.wit");
const REACTOR: &str = include_str!("../../../../wit/0.1/reactor.wit");
const ENRICHER: &str = include_str!("../../../../wit/0.1/enricher.wit");

/// A world with its types as one document: the package is named once.
fn document(world: &str) -> String {
    let without_package = |text: &str| text.split_once(';').map(|(_, rest)| rest.to_owned());
    format!("{TYPES}\n{}", without_package(world).unwrap_or_default())
}

pub(crate) fn component(plugin: &Type, role: Role) -> TokenStream {
    let (world, text) = match role {
        Role::Saga => ("saga", SAGA),
        Role::ProcessManager => ("process-manager", PROCESS_MANAGER),
        Role::Reactor => ("reactor", REACTOR),
        Role::Enricher => ("enricher", ENRICHER),
    };
    let inline = document(text);
    let guest = match role {
        Role::Saga => decider(quote!(saga_handler)),
        Role::Reactor => decider(quote!(reactor_handler)),
        Role::Enricher => enricher(),
        Role::ProcessManager => process_manager(),
    };
    let conversions = conversions();
    quote! {
        #[cfg(target_arch = "wasm32")]
        #[allow(warnings, clippy::all, clippy::pedantic)]
        mod __sagabox_component {
            ::sagabox_sdk::wit_bindgen::generate!({
                inline: #inline,
                world: #world,
                runtime_path: "::sagabox_sdk::wit_bindgen::rt",
            });
            use ::sagabox_sdk::raw;
            use sagabox::plugin::types as t;
            use ::std::{string::String, vec::Vec};
            type P = super::#plugin;
            struct Component;

            fn begin() {
                use ::sagabox_sdk::logging::Level;
                use sagabox::plugin::logging as host;
                ::sagabox_sdk::logging::install(|level, text| {
                    let level = match level {
                        Level::Trace => host::Level::Trace,
                        Level::Debug => host::Level::Debug,
                        Level::Info => host::Level::Info,
                        Level::Warn => host::Level::Warn,
                        Level::Error => host::Level::Error,
                    };
                    host::log(level, text);
                });
            }

            #conversions
            #guest
            export!(Component);
        }
    }
}

// One quotation.
#[allow(clippy::too_many_lines)]
fn conversions() -> TokenStream {
    quote! {
        fn event(e: t::Event) -> raw::RawEvent {
            raw::RawEvent {
                id: e.id,
                source: e.source,
                event_type: e.type_,
                subject: e.subject,
                time: e.time,
                datacontenttype: e.datacontenttype,
                dataschema: e.dataschema,
                extensions: e.extensions.into_iter().map(|x| (x.name, x.value)).collect(),
                data: e.data,
            }
        }

        fn question_in(q: t::Question) -> raw::Question {
            match q {
                t::Question::Lookup(l) => raw::Question::Lookup { name: l.name, key: l.key },
                t::Question::Stream(s) => raw::Question::Stream(s),
            }
        }

        fn questions(q: Vec<raw::Question>) -> Vec<t::Question> {
            q.into_iter()
                .map(|q| match q {
                    raw::Question::Lookup { name, key } => {
                        t::Question::Lookup(t::Lookup { name, key })
                    }
                    raw::Question::Stream(s) => t::Question::Stream(s),
                })
                .collect()
        }

        fn context(c: t::Context) -> raw::RawContext {
            let answer = |a: t::Answer| {
                let value = match a.value {
                    t::AnswerValue::Missing => raw::AnswerValue::Missing,
                    t::AnswerValue::Found(p) => {
                        raw::AnswerValue::Found { content_type: p.content_type, data: p.data }
                    }
                    t::AnswerValue::Events(e) => {
                        raw::AnswerValue::Events(e.into_iter().map(event).collect())
                    }
                };
                (question_in(a.question), value)
            };
            raw::RawContext {
                now: c.now,
                attempt: c.attempt,
                key: c.key,
                answers: c.answers.into_iter().map(answer).collect(),
                configuration: c.configuration,
                seed: seed(c.seed),
            }
        }

        fn seed(s: (u32, u32, u32, u32)) -> u128 {
            [s.0, s.1, s.2, s.3].into_iter().fold(0, |all, part| all << 32 | u128::from(part))
        }

        fn extensions(all: Vec<(String, String)>) -> Vec<t::Extension> {
            all.into_iter().map(|(name, value)| t::Extension { name, value }).collect()
        }

        fn commands(m: Vec<raw::Outgoing>) -> Vec<t::Command> {
            m.into_iter()
                .map(|m| t::Command {
                    type_: m.message_type,
                    subject: m.message.subject,
                    datacontenttype: m.message.datacontenttype,
                    extensions: extensions(m.message.extensions),
                    data: m.message.data,
                })
                .collect()
        }

        fn events(m: Vec<raw::Outgoing>) -> Vec<t::EmittedEvent> {
            m.into_iter()
                .map(|m| t::EmittedEvent {
                    type_: m.message_type,
                    subject: m.message.subject,
                    datacontenttype: m.message.datacontenttype,
                    extensions: extensions(m.message.extensions),
                    data: m.message.data,
                })
                .collect()
        }

        fn failure(f: raw::Failure) -> t::Failure {
            match f {
                raw::Failure::Permanent(r) => t::Failure::Permanent(r),
                raw::Failure::Transient(r) => t::Failure::Transient(r),
            }
        }

        fn manifest() -> t::Manifest {
            let m = <P as raw::Plugin>::manifest();
            let subscription = |s: raw::Subscription| t::Subscription {
                type_: s.event_type.into(),
                source: match s.source {
                    raw::Source::Any => t::Source::Any,
                    raw::Source::Exactly(source) => t::Source::Exactly(source.into()),
                    raw::Source::Prefix(prefix) => t::Source::Prefix(prefix.into()),
                },
                key: match s.key {
                    raw::Correlation::Subject => t::Correlation::Subject,
                    raw::Correlation::Attribute(n) => t::Correlation::Attribute(n.into()),
                    raw::Correlation::Pointer(p) => t::Correlation::Pointer(p.into()),
                    raw::Correlation::Instance => t::Correlation::Instance,
                },
                effect: match s.effect {
                    raw::Effect::Start => t::Effect::Start,
                    raw::Effect::StartOrHandle => t::Effect::StartOrHandle,
                    raw::Effect::Handle => t::Effect::Handle,
                },
                absent: match s.absent {
                    raw::Absent::Ignore => t::Absent::Ignore,
                    raw::Absent::Hold(millis) => t::Absent::Hold(millis),
                    raw::Absent::Fail => t::Absent::Fail,
                },
            };
            let strings = |v: Vec<&'static str>| v.into_iter().map(String::from).collect();
            t::Manifest {
                name: m.name.into(),
                version: m.version.into(),
                description: m.description.into(),
                subscriptions: m.subscriptions.into_iter().map(subscription).collect(),
                commands: strings(m.commands),
                events: strings(m.events),
                lookups: strings(m.lookups),
                streams: m.streams,
                state_version: m.state_version,
                schemas: m
                    .schemas
                    .into_iter()
                    .map(|(name, schema)| t::Schema { type_: name.into(), schema })
                    .collect(),
                configuration_schema: m.configuration_schema,
                fields: m
                    .fields
                    .into_iter()
                    .map(|(name, pointer)| t::Field { name, pointer })
                    .collect(),
                summary: m.summary,
            }
        }
    }
}

fn decider(interface: TokenStream) -> TokenStream {
    quote! {
        impl exports::sagabox::plugin::#interface::Guest for Component {
            fn describe() -> t::Manifest {
                begin();
                manifest()
            }

            fn handle(e: t::Event, c: t::Context) -> Result<t::Outcome, t::Failure> {
                begin();
                match <P as raw::Plugin>::handle(event(e), None, context(c)) {
                    Ok(raw::Reply::Need(q)) => Ok(t::Outcome::Need(questions(q))),
                    Ok(raw::Reply::Decided(d)) => Ok(t::Outcome::Decided(t::Decision {
                        commands: commands(d.commands),
                        events: events(d.events),
                    })),
                    Err(f) => Err(failure(f)),
                }
            }
        }
    }
}

fn enricher() -> TokenStream {
    quote! {
        use exports::sagabox::plugin::enricher_handler as h;

        impl h::Guest for Component {
            fn describe() -> t::Manifest {
                begin();
                manifest()
            }

            fn enrich(e: t::Event, c: t::Context) -> Result<h::Enrichment, t::Failure> {
                begin();
                match <P as raw::Plugin>::handle(event(e), None, context(c)) {
                    Ok(raw::Reply::Need(q)) => Ok(h::Enrichment::Need(questions(q))),
                    Ok(raw::Reply::Decided(d)) => Ok(h::Enrichment::Publish(events(d.events))),
                    Err(f) => Err(failure(f)),
                }
            }
        }
    }
}

fn process_manager() -> TokenStream {
    quote! {
        use exports::sagabox::plugin::process_manager_handler as h;

        fn transition(d: raw::Decision) -> h::Transition {
            let timer = |change| match change {
                raw::TimerChange::SetAfter { name, after, data } => {
                    h::TimerChange::Set(h::Timer { name, due: h::Due::After(after), data })
                }
                raw::TimerChange::SetAt { name, at, data } => {
                    h::TimerChange::Set(h::Timer { name, due: h::Due::At(at), data })
                }
                raw::TimerChange::Cancel(name) => h::TimerChange::Cancel(name),
            };
            let key = |change| match change {
                raw::KeyChange::Claim(key) => h::KeyChange::Claim(key),
                raw::KeyChange::Release(key) => h::KeyChange::Release(key),
            };
            h::Transition {
                state: d.state,
                commands: commands(d.commands),
                events: events(d.events),
                timers: d.timers.into_iter().map(timer).collect(),
                keys: d.keys.into_iter().map(key).collect(),
                complete: d.complete,
            }
        }

        impl h::Guest for Component {
            fn describe() -> t::Manifest {
                begin();
                manifest()
            }

            fn handle(
                e: t::Event,
                s: Option<h::State>,
                c: t::Context,
            ) -> Result<h::Step, t::Failure> {
                begin();
                let state = s.map(|s| raw::State { version: s.version, data: s.data });
                match <P as raw::Plugin>::handle(event(e), state, context(c)) {
                    Ok(raw::Reply::Need(q)) => Ok(h::Step::Need(questions(q))),
                    Ok(raw::Reply::Decided(d)) => Ok(h::Step::Transit(transition(d))),
                    Err(f) => Err(failure(f)),
                }
            }

            fn migrate(s: h::State, to: u32) -> Result<Vec<u8>, String> {
                begin();
                <P as raw::Plugin>::migrate(raw::State { version: s.version, data: s.data }, to)
            }
        }
    }
}
