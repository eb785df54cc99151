//! What crosses the border as a type: events that come in, commands and events that leave,
//! timers, and the configuration.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::raw::RawEvent;
use crate::{Error, Result};

/// Something that is sent: its CloudEvents type, and its subject.
pub trait Message: Serialize {
    /// The CloudEvents type.
    const TYPE: &'static str;

    /// The CloudEvents subject.
    fn subject(&self) -> Option<String> {
        None
    }

    /// The JSON Schema of its data.
    #[doc(hidden)]
    fn schema() -> Option<String> {
        None
    }
}

/// Made by [`#[event]`](macro@crate::event).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "put `#[event]` on the struct"
)]
pub trait Event: Message + DeserializeOwned {}

/// Made by [`#[command]`](macro@crate::command).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command",
    label = "put `#[command]` on the struct"
)]
pub trait Command: Message {}

/// What a handler takes: an event, or one of several. Made by
/// [`#[event]`](macro@crate::event) and [`#[one_of]`](macro@crate::one_of).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a handler can take",
    label = "put `#[event]` on the struct, or `#[one_of]` on an enum of events"
)]
pub trait Incoming: Sized {
    /// The CloudEvents types.
    const TYPES: &'static [&'static str];

    /// Reads the event's data.
    ///
    /// # Errors
    /// Permanent, naming the type, if the data does not fit.
    fn read(event: &RawEvent) -> Result<Self>;

    #[doc(hidden)]
    fn schemas() -> Vec<(&'static str, Option<String>)>;
}

/// A timer of a process manager, with the data that it brings back. Made by
/// [`#[timer]`](macro@crate::timer).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a timer",
    label = "put `#[timer]` on the struct"
)]
pub trait Timer: Serialize + DeserializeOwned {
    /// Unique among the timers of an instance.
    const NAME: &'static str;
}

/// The plugin's section in the host's configuration. Made by
/// [`#[config]`](macro@crate::config).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a configuration",
    label = "put `#[config]` on the struct"
)]
pub trait Config: Serialize + DeserializeOwned {
    #[doc(hidden)]
    fn schema() -> Option<String> {
        None
    }
}

/// The plugin declares that it sends the command. Made by the role's macro.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not declare that it sends `{C}`",
    label = "add `{C}` to `sends(…)` at the plugin's `impl`"
)]
pub trait Sends<C> {}

/// The plugin declares that it emits the event. Made by the role's macro.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not declare that it emits `{E}`",
    label = "add `{E}` to `emits(…)` at the plugin's `impl`"
)]
pub trait Emits<E> {}

/// The plugin has a handler for the timer. Made by the role's macro.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no handler for the timer `{T}`",
    label = "add `#[on_timer] fn …(state, timer: {T}, ctx)` to the plugin's `impl`"
)]
pub trait HandlesTimer<T> {}

/// The plugin declares its configuration. Made by the role's macro.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not declare a configuration",
    label = "add `config = MyConfig` to the attribute at the plugin's `impl`"
)]
pub trait Configured<C> {}

/// Declared by every plugin, as [`NothingElse`]: with two, the compiler never takes the only
/// command that is declared for the one that was meant, and says what is missing instead.
#[doc(hidden)]
pub struct Nothing;

/// See [`Nothing`].
#[doc(hidden)]
pub struct NothingElse;

/// The data of an event, as its handler's type.
#[doc(hidden)]
pub fn parse<E: Event>(event: &RawEvent) -> Result<E> {
    event.parse()?.ok_or_else(|| Error::permanent("the event is of another type"))
}

/// Fails to compile if a type is there twice.
#[doc(hidden)]
pub const fn assert_distinct(handlers: &[&[&str]]) {
    let mut one = 0;
    while one < handlers.len() {
        let mut other = one + 1;
        while other < handlers.len() {
            assert!(
                !overlap(handlers[one], handlers[other]),
                "two handlers take the same event type; one event type has one handler"
            );
            other += 1;
        }
        one += 1;
    }
}

const fn overlap(ones: &[&str], others: &[&str]) -> bool {
    let mut one = 0;
    while one < ones.len() {
        let mut other = 0;
        while other < others.len() {
            if same(ones[one].as_bytes(), others[other].as_bytes()) {
                return true;
            }
            other += 1;
        }
        one += 1;
    }
    false
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_of_other_types_do_not_overlap() {
        assert!(!overlap(&["a", "b"], &["c", "ab", ""]));
        assert!(overlap(&["a", "b"], &["c", "b"]));
    }
}
