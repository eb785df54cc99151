//! Events, commands, and what is in them.
//!
//! [`#[event]`](macro@crate::event) and [`#[command]`](macro@crate::command) stand at a struct.
//! Its name is the CloudEvents type, or `type = "…"`; `subject = field` names the CloudEvents
//! subject. Fields are camelCase in JSON; `#[serde(…)]` changes that.
//! [`#[data]`](macro@crate::data) is for everything within them, and for states.
//! [`events!`](crate::events) and [`commands!`](crate::commands) declare several, a line each.
//!
//! `serde_json`, `json!` and `Value` are in the prelude.
//!
//! A message of another content type, or with extension attributes, is a
//! [`RawMessage`](crate::RawMessage): `#[command(raw)] struct Print;` declares its type, and
//! `ctx.send_raw::<Print>(RawMessage::new("text/plain", text).extension("language", "en"))` sends it.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! #[data]
//! enum Size {
//!     Small,
//!     Large,
//! }
//!
//! #[event(type = "order placed", subject = order_id)]
//! struct OrderPlaced {
//!     order_id: String,
//!     #[serde(default)]
//!     size: Option<Size>,
//! }
//!
//! let event: OrderPlaced = serde_json::from_value(json!({"orderId": "o-1", "size": "large"})).unwrap();
//! assert_eq!(event, OrderPlaced { order_id: "o-1".into(), size: Some(Size::Large) });
//! assert_eq!((OrderPlaced::TYPE, event.subject().unwrap()), ("order placed", "o-1".to_owned()));
//! ```
