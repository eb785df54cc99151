//! Changing the shape of a state.
//!
//! A process manager's state has a version: 1, or `version = …`. You can add fields that are
//! `Option` or have `#[serde(default)]` without a new one. To rename or remove a field, raise the
//! version and say with `migrate = …` how states of other versions are converted: older ones, and
//! back, for a rollback.
//!
//! Before a version serves, the host has it read the state of every live instance, whatever its
//! version. A state of its own version is refused if it does not fit, or if something in it would
//! be dropped: so a shape that changed without a new version is found before it does harm.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//! # use sagabox_sdk::raw::{Plugin, State};
//!
//! events! {
//!     Ordered { order_id: String }
//! }
//!
//! #[data]
//! struct Order {
//!     items: Vec<String>,
//! }
//!
//! struct Orders;
//!
//! #[process_manager(state = Order, version = 2, migrate = migrate)]
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
//!
//! assert_eq!(migrate(1, 2, json!({"item": "mug"})).unwrap(), json!({"items": ["mug"]}));
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
