//! The attribute macros of the Sagabox SDK; see `sagabox-sdk`.
#![deny(missing_docs)]

mod dispatch;
mod glue;
mod handlers;
mod options;
mod print;
mod role;
mod types;

use proc_macro::TokenStream;

/// A struct that comes in, or is emitted, as an event. Its name is the CloudEvents type,
/// or `#[event(type = "place order")]`; `subject = field` names the subject. Fields are camelCase in JSON.
/// `raw` is for one that is sent with `emit_raw` alone: its struct says nothing of its data.
#[proc_macro_attribute]
pub fn event(options: TokenStream, item: TokenStream) -> TokenStream {
    types::message(options.into(), item.into(), types::Kind::Event).into()
}

/// A struct that is sent as a command. Options as for `event`.
#[proc_macro_attribute]
pub fn command(options: TokenStream, item: TokenStream) -> TokenStream {
    types::message(options.into(), item.into(), types::Kind::Command).into()
}

/// An enum of events, `Variant(Event)` each: one handler takes them all.
#[proc_macro_attribute]
pub fn one_of(_options: TokenStream, item: TokenStream) -> TokenStream {
    types::one_of(item.into()).into()
}

/// A struct or enum within events, commands and states.
#[proc_macro_attribute]
pub fn data(_options: TokenStream, item: TokenStream) -> TokenStream {
    types::data(item.into()).into()
}

/// A struct that is a timer, with the data that it brings back. It is called after the struct,
/// or `#[timer(name = "deadline")]`.
#[proc_macro_attribute]
pub fn timer(options: TokenStream, item: TokenStream) -> TokenStream {
    types::timer(options.into(), item.into()).into()
}

/// A struct that is the plugin's section in the host's configuration: its fields are called
/// there as they are here, and others are refused.
#[proc_macro_attribute]
pub fn config(_options: TokenStream, item: TokenStream) -> TokenStream {
    types::config(item.into()).into()
}

/// A stateless coordinator.
#[proc_macro_attribute]
pub fn saga(options: TokenStream, item: TokenStream) -> TokenStream {
    role::expand(options.into(), item.into(), role::Role::Saga).into()
}

/// A state machine over many events.
#[proc_macro_attribute]
pub fn process_manager(options: TokenStream, item: TokenStream) -> TokenStream {
    role::expand(options.into(), item.into(), role::Role::ProcessManager).into()
}

/// A participant in a choreography.
#[proc_macro_attribute]
pub fn reactor(options: TokenStream, item: TokenStream) -> TokenStream {
    role::expand(options.into(), item.into(), role::Role::Reactor).into()
}

/// Turns internal events into external ones.
#[proc_macro_attribute]
pub fn enricher(options: TokenStream, item: TokenStream) -> TokenStream {
    role::expand(options.into(), item.into(), role::Role::Enricher).into()
}
