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
//! What a plugin may send is declared once; sending anything else does not compile:
//!
//! ```compile_fail
//! # use sagabox_sdk::prelude::*;
//! #[event]
//! struct PaymentFailed { order_id: String }
//! #[command]
//! struct CancelOrder { order_id: String }
//! struct OrderSaga;
//! #[saga(sends())]
//! impl OrderSaga {
//!     #[on(key = "/orderId")]
//!     fn payment_failed(event: PaymentFailed, ctx: &mut Ctx<Self>) -> Result {
//!         ctx.send(CancelOrder { order_id: event.order_id })
//!     }
//! }
//! ```
//!
//! One event type has one handler, and each says where the correlation key is:
//!
//! ```compile_fail
//! # use sagabox_sdk::prelude::*;
//! # #[event]
//! # struct Paid { order_id: String }
//! # struct S;
//! #[saga(sends())]
//! impl S {
//!     #[on(key = "/orderId")]
//!     fn first(event: Paid, ctx: &mut Ctx<Self>) -> Result { Ok(()) }
//!     #[on(key = "/orderId")]
//!     fn second(event: Paid, ctx: &mut Ctx<Self>) -> Result { Ok(()) }
//! }
//! ```
//!
//! ```compile_fail
//! # use sagabox_sdk::prelude::*;
//! # #[event]
//! # struct Paid { order_id: String }
//! # struct S;
//! #[saga(sends())]
//! impl S {
//!     #[on()]
//!     fn paid(event: Paid, ctx: &mut Ctx<Self>) -> Result { Ok(()) }
//! }
//! ```
//!
//! A process manager's state has a version. Raise it when the shape of the state changes, and
//! say how states of other versions are converted: older ones, and back, for a rollback.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//! # use sagabox_sdk::raw::{Plugin, State};
//! use sagabox_sdk::serde_json::{Value, json};
//!
//! #[event]
//! struct Ordered {
//!     order_id: String,
//! }
//!
//! #[data]
//! struct Order {
//!     items: Vec<String>,
//! }
//!
//! struct Orders;
//!
//! #[process_manager(state = Order, version = 2, migrate = migrate, sends())]
//! impl Orders {
//!     #[on(start, key = "/orderId")]
//!     fn ordered(event: Ordered, ctx: &mut Ctx<Self>) -> Result<Order> {
//!         Ok(Order { items: vec![event.order_id] })
//!     }
//! }
//!
//! /// In version 1 an order had one item.
//! fn migrate(from: u32, to: u32, state: Value) -> Result<Value> {
//!     match (from, to) {
//!         (1, 2) => Ok(json!({ "items": [state["item"]] })),
//!         (2, 1) => Ok(json!({ "item": state["items"][0] })),
//!         _ => Err(Error::permanent("no such version is known")),
//!     }
//! }
//! # let migrate = |version, data: &str, to| {
//! #     let migrated = Orders::migrate(State { version, data: data.into() }, to);
//! #     migrated.map(|data| String::from_utf8(data).unwrap())
//! # };
//! # assert_eq!(migrate(1, r#"{"item":"mug"}"#, 2).unwrap(), r#"{"items":["mug"]}"#);
//! # assert_eq!(migrate(2, r#"{"items":["mug"]}"#, 1).unwrap(), r#"{"item":"mug"}"#);
//! # assert_eq!(migrate(2, r#"{"items":["mug"]}"#, 2).unwrap(), r#"{"items":["mug"]}"#);
//! # assert!(migrate(2, r#"{"item":"mug"}"#, 2).unwrap_err().contains("missing field `items`"));
//! # assert!(migrate(1, "{}", 2).unwrap_err().contains("does not fit"));
//! # assert_eq!(migrate(3, "{}", 2).unwrap_err(), "no such version is known");
//! ```

#[doc(hidden)]
pub mod context;
mod exact;
pub mod raw;
#[doc(hidden)]
pub mod state;
pub mod testing;

#[doc(hidden)]
pub use {serde, serde_json, wit_bindgen};

pub use context::{Command, Ctx, Emits, Error, Event, Message, Result, Sends, Undeliverable};
pub use exact::Json;
pub use sagabox_sdk_macros::{command, data, enricher, event, process_manager, reactor, saga};

/// What a plugin needs in scope.
pub mod prelude {
    pub use crate::raw::RawEvent;
    pub use crate::{
        Command, Ctx, Error, Event, Json, Message, Result, Undeliverable, command, commands, data,
        enricher, event, events, process_manager, reactor, saga,
    };
}

/// Several events, a line each: `Name { field: Type, … }`, or with the options of
/// `#[event]`, `Name(subject = field) { … }`.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// events! {
///     OrderPlaced(subject = order_id) { order_id: String, total_price: f64 }
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
