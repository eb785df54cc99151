//! Writing to the host's log.
//!
//! `ctx.log(…)`, the macros of the crate `log`, and `println!` in a handler write lines to which the
//! host adds the plugin, the key and the event. What a plugin writes has no effect on what it
//! decides. In functions that are no handlers, say `use sagabox_sdk::println;` first: the
//! standard library's own goes nowhere in wasm.
//!
//! A panic is written as well, with its file and line, and is part of the dead letter's reason
//! with what the call wrote before.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! events! {
//!     OrderPlaced { order_id: String, items: Vec<String> }
//! }
//!
//! struct Logger;
//!
//! #[saga()]
//! impl Logger {
//!     #[on(key = "/orderId")]
//!     fn placed(event: OrderPlaced, ctx: &mut Ctx<Self>) -> Result {
//!         ctx.log(format!("{} items", event.items.len()));
//!         if event.items.is_empty() {
//!             ctx.log_at(Level::Warn, "nothing was ordered");
//!         }
//!         println!("attempt {}", dbg!(ctx.attempt()));
//!         Ok(())
//!     }
//! }
//!
//! sagabox_sdk::testing::given::<Logger>()
//!     .when(OrderPlaced { order_id: "o-1".into(), items: vec![] })
//!     .sends_nothing();
//! ```
