//! The attribute macros of the Sagabox SDK; see `sagabox-sdk`.

mod glue;
mod role;
mod types;

use proc_macro::TokenStream;

/// A struct that comes in, or is emitted, as an event. Its name is the CloudEvents type,
/// or `#[event(type = "place order")]`; `subject = field` names the subject. Fields are camelCase in JSON.
#[proc_macro_attribute]
pub fn event(options: TokenStream, item: TokenStream) -> TokenStream {
    types::message(options.into(), item.into(), types::Kind::Event).into()
}

/// A struct that is sent as a command. Options as for `event`.
#[proc_macro_attribute]
pub fn command(options: TokenStream, item: TokenStream) -> TokenStream {
    types::message(options.into(), item.into(), types::Kind::Command).into()
}

/// A struct or enum within events, commands and states.
#[proc_macro_attribute]
pub fn data(_options: TokenStream, item: TokenStream) -> TokenStream {
    types::data(item.into()).into()
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
