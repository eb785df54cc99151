//! Instances: how they start, go on, and end.
//!
//! - `#[on(start, …)] fn f(event, ctx) -> Result<State>` starts the instance of the event's key.
//!   An instance that is there already ignores the event.
//! - `#[on(start_or_handle, …)] fn f(state, event, ctx) -> Result` starts it with the state's
//!   [`Default`], or goes on with the one that is there: for events whose order is not known.
//! - `#[on(…)] fn f(state, event, ctx) -> Result` goes on. If there is no instance, `absent` decides:
//!   `ignore` (as without it), `fail` (a dead letter), or `hold("10m")`, which keeps the event so
//!   long, in case the instance starts.
//! - `ctx.complete()` ends it: its timers are cancelled, and what still comes is ignored.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! events! {
//!     ItemPicked { order_id: String }
//!     OrderClosed { order_id: String }
//! }
//! commands! {
//!     Report(subject = order_id) { order_id: String, picked: u32 }
//! }
//!
//! #[data]
//! #[derive(Default)]
//! struct Order {
//!     picked: u32,
//! }
//!
//! struct Picking;
//!
//! #[process_manager(state = Order, sends(Report))]
//! impl Picking {
//!     #[on(start_or_handle, key = "/orderId")]
//!     fn picked(order: &mut Order, _: ItemPicked, _: &mut Ctx<Self>) -> Result {
//!         order.picked += 1;
//!         Ok(())
//!     }
//!
//!     #[on(key = "/orderId", absent = hold("10m"))]
//!     fn closed(order: &mut Order, event: OrderClosed, ctx: &mut Ctx<Self>) -> Result {
//!         ctx.complete();
//!         ctx.send(Report { order_id: event.order_id, picked: order.picked })
//!     }
//! }
//!
//! use sagabox_sdk::testing::given;
//! given::<Picking>()
//!     .event(ItemPicked { order_id: "o-1".into() })
//!     .event(ItemPicked { order_id: "o-1".into() })
//!     .when(OrderClosed { order_id: "o-1".into() })
//!     .sends([Report { order_id: "o-1".into(), picked: 2 }])
//!     .completes();
//! ```
