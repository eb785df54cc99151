//! Testing handlers natively.
//!
//! [`testing::given`](crate::testing::given) plays events to a plugin without wasm and without a
//! host, under `cargo test`. It keeps the state, the timers and a clock from event to event.
//!
//! - What is so: `key`, `now`, `event_time`, `source`, `config`, `state`, `answer`, `in_stream`.
//! - What happens: `when(event)`, `when_time_passes(hours(2))`, `when_timer`, `when_undeliverable`,
//!   `when_cancelled`; `event` and `wait` are the same, and do not look at what is sent.
//! - What must follow: `sends`, `sends_all`, `sends_nothing`, `state_is`, `state`, `sets_timer`,
//!   `cancels_timer`, `claims`, `releases`, `completes`, `goes_on`, `fails`.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//! use sagabox_sdk::testing::given;
//!
//! events! {
//!     OrderPlaced { order_id: String }
//! }
//! commands! {
//!     CancelOrder(subject = order_id) { order_id: String }
//! }
//!
//! #[timer]
//! struct Deadline;
//!
//! #[data]
//! struct Order {
//!     order_id: String,
//!     placed_at: Timestamp,
//! }
//!
//! struct Orders;
//!
//! #[process_manager(state = Order, sends(CancelOrder))]
//! impl Orders {
//!     #[on(start, key = "/orderId")]
//!     fn placed(event: OrderPlaced, ctx: &mut Ctx<Self>) -> Result<Order> {
//!         ctx.set_timer_at(Deadline, ctx.now() + hours(24))?;
//!         Ok(Order { order_id: event.order_id, placed_at: ctx.now() })
//!     }
//!
//!     #[on_timer]
//!     fn late(order: &mut Order, _: Deadline, ctx: &mut Ctx<Self>) -> Result {
//!         ctx.complete();
//!         ctx.send(CancelOrder { order_id: order.order_id.clone() })
//!     }
//! }
//!
//! let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
//! given::<Orders>()
//!     .now("2026-03-01T12:00:00Z")
//!     .when(OrderPlaced { order_id: "o-1".into() })
//!     .state_is(&Order { order_id: "o-1".into(), placed_at: noon })
//!     .sets_timer(Deadline, noon + hours(24))
//!     .done()
//!     .when_time_passes(hours(23))
//!     .sends_nothing()
//!     .goes_on()
//!     .done()
//!     .when_time_passes(hours(1))
//!     .sends([CancelOrder { order_id: "o-1".into() }])
//!     .completes();
//! ```
