//! Write sagas, process managers, reactors and enrichers for Sagabox: types, and
//! one function per event type.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! #[event]
//! struct PaymentFailed {
//!     order_id: String,
//! }
//!
//! #[command(subject = order_id)]
//! struct CancelOrder {
//!     order_id: String,
//!     reason: String,
//! }
//!
//! struct OrderSaga;
//!
//! #[saga(sends(CancelOrder))]
//! impl OrderSaga {
//!     #[on(key = "/orderId")]
//!     fn payment_failed(event: PaymentFailed, ctx: &mut Ctx<Self>) -> Result {
//!         ctx.send(CancelOrder { order_id: event.order_id, reason: "payment failed".into() })
//!     }
//! }
//!
//! // Handlers are tested natively:
//! use sagabox_sdk::testing::given;
//! given::<OrderSaga>()
//!     .when(PaymentFailed { order_id: "o-1".into() })
//!     .sends([CancelOrder { order_id: "o-1".into(), reason: "payment failed".into() }]);
//! ```
//!
//! The [`guide`] has a section with an example for everything else:
//!
//! | to | read |
//! |---|---|
//! | choose a role | [`guide::roles`] |
//! | declare events, commands and states | [`guide::types`] |
//! | handle events: their keys, sources, and several types at once | [`guide::handlers`] |
//! | start a process, continue it, complete it | [`guide::processes`] |
//! | act when time has passed | [`guide::timers`] |
//! | reach an instance by further keys | [`guide::claims`] |
//! | ask for something from outside, or for the events of a subject | [`guide::questions`] |
//! | compensate what cannot be delivered, end when an operator asks | [`guide::failures`] |
//! | read settings | [`guide::configuration`] |
//! | calculate with money, moments and durations | [`guide::exactness`] |
//! | write to the log | [`guide::logging`] |
//! | change the shape of a state | [`guide::versions`] |
//! | test handlers | [`guide::tests`] |
//! | see what the host learns of the types | [`guide::manifest`] |
//!
//! # Features
//!
//! Both are on by default. `schemas` puts the JSON Schemas of the plugin's types into its
//! manifest; without it the component is smaller. `decimal` has the type [`Decimal`].
#![deny(missing_docs)]

#[doc(hidden)]
pub mod context;
#[cfg(feature = "decimal")]
mod decimal;
mod exact;
mod finite;
pub mod guide;
pub mod logging;
#[doc(hidden)]
pub mod message;
#[doc(hidden)]
pub mod raw;
#[doc(hidden)]
#[allow(missing_docs, reason = "the macros alone use it")]
pub mod schema;
#[doc(hidden)]
#[allow(missing_docs, reason = "the macros alone use it")]
pub mod state;
pub mod testing;
mod time;

#[cfg(feature = "schemas")]
#[doc(hidden)]
pub use schemars;
#[doc(hidden)]
pub use {serde, serde_json, wit_bindgen};

pub use context::{Cancelled, Ctx, Error, Result, Undeliverable};
#[cfg(feature = "decimal")]
pub use decimal::{Decimal, DecimalError};
pub use exact::Json;
pub use logging::Level;
pub use message::{
    Command, Config, Configured, Emits, Event, HandlesTimer, Incoming, Message, Sends, Timer,
};
pub use raw::{RawEvent, RawMessage};
pub use sagabox_sdk_macros::{
    command, config, data, enricher, event, one_of, process_manager, reactor, saga, timer,
};
pub use time::{Span, TimeError, Timestamp, days, hours, minutes, seconds};

/// What a plugin needs in scope.
pub mod prelude {
    #[cfg(feature = "decimal")]
    pub use crate::Decimal;
    pub use crate::{
        Cancelled, Command, Config, Ctx, Error, Event, Incoming, Json, Level, Message, RawEvent,
        RawMessage, Result, Span, Timer, Timestamp, Undeliverable, command, commands, config, data,
        days, enricher, event, events, hours, minutes, one_of, process_manager, reactor, saga,
        seconds, timer,
    };
    pub use core::time::Duration;
    pub use serde_json::{self, Value, json};
}

/// Several events, a line each: `Name { field: Type, … }`, or with the options of
/// `#[event]`, `Name(subject = field) { … }`.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// events! {
///     OrderPlaced(subject = order_id) { order_id: String, total_price: Decimal }
///     OrderPaid(type = "order paid") { order_id: String }
/// }
/// assert_eq!(OrderPaid::TYPE, "order paid");
/// ```
#[macro_export]
macro_rules! events {
    ($($name:ident $(($($options:tt)*))? { $($field:ident : $type:ty),* $(,)? })*) => {$(
        #[$crate::event($($($options)*)?)]
        pub struct $name { $(pub $field: $type),* }
    )*};
}

/// Several commands, written as in [`events!`].
#[macro_export]
macro_rules! commands {
    ($($name:ident $(($($options:tt)*))? { $($field:ident : $type:ty),* $(,)? })*) => {$(
        #[$crate::command($($($options)*)?)]
        pub struct $name { $(pub $field: $type),* }
    )*};
}
