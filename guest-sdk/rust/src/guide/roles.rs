//! Four roles, and what each may do.
//!
//! | role | has | may |
//! |---|---|---|
//! | [`#[saga]`](macro@crate::saga) | no state | send commands |
//! | [`#[process_manager]`](macro@crate::process_manager) | one state per correlation key | send commands, emit events, set timers, claim keys |
//! | [`#[reactor]`](macro@crate::reactor) | no state | send commands, emit events |
//! | [`#[enricher]`](macro@crate::enricher) | no state | emit events that leave the host |
//!
//! The attribute stands at an `impl` block, and declares what the plugin does: `sends(…)`,
//! `emits(…)`, `lookups("…")`, `streams`, `config = …`. The plugin's name is that of its package,
//! or `name = "…"`.
//!
//! A handler is a pure function: it decides, and the host commits the whole decision, or nothing
//! of it. So a handler may be called again for the same event, and never needs to be idempotent.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! #[event]
//! struct OrderPaid {
//!     order_id: String,
//! }
//!
//! #[event(subject = order_id)]
//! struct OrderClosed {
//!     order_id: String,
//! }
//!
//! struct Closer;
//!
//! #[reactor(emits(OrderClosed))]
//! impl Closer {
//!     #[on(key = "/orderId")]
//!     fn paid(event: OrderPaid, ctx: &mut Ctx<Self>) -> Result {
//!         ctx.emit(OrderClosed { order_id: event.order_id })
//!     }
//! }
//!
//! sagabox_sdk::testing::given::<Closer>()
//!     .when(OrderPaid { order_id: "o-1".into() })
//!     .sends([OrderClosed { order_id: "o-1".into() }]);
//! ```
