//! What the host learns of the plugin's types.
//!
//! With the feature `schemas`, which is on by default, the manifest contains, without a line in
//! the plugin:
//!
//! - the JSON Schema of each event that it takes or emits, and of each command that it sends;
//! - that of its configuration;
//! - as *fields* the members of the state that are one value (a text, a number, a boolean), by
//!   which instances can be listed and filtered; and a *summary* of the first of them.
//!
//! `fields(none)` leaves the fields out; `fields(paid = "/paid", city = "/address/city")` says which
//! there are instead, and `summary = "order {id}: {paid}"` how an instance is shown. Types within an
//! event need [`#[data]`](macro@crate::data), or `JsonSchema` of the crate `schemars`.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//! use sagabox_sdk::raw::Plugin;
//!
//! events! {
//!     OrderPlaced { order_id: String, total: Decimal }
//! }
//!
//! #[data]
//! struct Order {
//!     order_id: String,
//!     total: Decimal,
//!     items: Vec<String>,
//! }
//!
//! struct Orders;
//!
//! #[process_manager(state = Order, summary = "order {orderId} of {total}")]
//! impl Orders {
//!     #[on(start, key = "/orderId")]
//!     fn placed(event: OrderPlaced, _: &mut Ctx<Self>) -> Result<Order> {
//!         Ok(Order { order_id: event.order_id, total: event.total, items: Vec::new() })
//!     }
//! }
//!
//! let manifest = Orders::manifest();
//! let names: Vec<&str> = manifest.fields.iter().map(|(name, _)| name.as_str()).collect();
//! assert_eq!(names, ["orderId", "total"]);
//! assert_eq!(manifest.schemas[0].0, "OrderPlaced");
//! # let schema: Value = serde_json::from_str(&manifest.schemas[0].1).unwrap();
//! # assert_eq!(schema["properties"]["orderId"]["type"], "string");
//! # assert_eq!(schema["required"], json!(["orderId", "total"]));
//! ```
