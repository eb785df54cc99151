//! What goes wrong: in a handler, behind a command, or because an operator says so.
//!
//! A handler that returns [`Error::permanent`](crate::Error::permanent) makes the event a dead
//! letter, behind which the other events of its key wait; so does every error that `?` passes on,
//! and a panic, whose message, file and line are part of the reason.
//! [`Error::transient`](crate::Error::transient) makes the host try again later.
//!
//! `#[on_undeliverable]` gets a command of this instance that the host could not deliver, and may
//! compensate; also when the instance is complete. `#[on_cancel]` is called when an operator asks
//! the instance to end; it may take [`Cancelled`](crate::Cancelled) as well.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! events! {
//!     OrderPlaced { order_id: String, amount: u32 }
//! }
//! commands! {
//!     ChargeCard(subject = order_id) { order_id: String, amount: u32 }
//!     CancelOrder(subject = order_id) { order_id: String, reason: String }
//! }
//!
//! #[data]
//! struct Order {
//!     order_id: String,
//! }
//!
//! struct Orders;
//!
//! #[process_manager(state = Order, sends(ChargeCard, CancelOrder))]
//! impl Orders {
//!     #[on(start, key = "/orderId")]
//!     fn placed(event: OrderPlaced, ctx: &mut Ctx<Self>) -> Result<Order> {
//!         let OrderPlaced { order_id, amount } = event;
//!         if amount == 0 {
//!             return Err(Error::permanent("an order of nothing"));
//!         }
//!         ctx.send(ChargeCard { order_id: order_id.clone(), amount })?;
//!         Ok(Order { order_id })
//!     }
//!
//!     #[on_undeliverable]
//!     fn undeliverable(order: &mut Order, command: Undeliverable, ctx: &mut Ctx<Self>) -> Result {
//!         if let Some(charge) = command.parse::<ChargeCard>()? {
//!             let reason = format!("{} not charged: {}", charge.amount, command.reason);
//!             ctx.complete();
//!             ctx.send(CancelOrder { order_id: order.order_id.clone(), reason })?;
//!         }
//!         Ok(())
//!     }
//!
//!     #[on_cancel]
//!     fn cancelled(order: &mut Order, cancelled: Cancelled, ctx: &mut Ctx<Self>) -> Result {
//!         ctx.complete();
//!         let reason = format!("{}: {}", cancelled.by, cancelled.reason);
//!         ctx.send(CancelOrder { order_id: order.order_id.clone(), reason })
//!     }
//! }
//!
//! use sagabox_sdk::testing::given;
//! let placed = |amount| OrderPlaced { order_id: "o-1".into(), amount };
//! let cancel = |reason: &str| CancelOrder { order_id: "o-1".into(), reason: reason.into() };
//! given::<Orders>().when(placed(0)).fails("an order of nothing");
//! given::<Orders>()
//!     .event(placed(7))
//!     .when_undeliverable(ChargeCard { order_id: "o-1".into(), amount: 7 }, "no such card")
//!     .sends([cancel("7 not charged: no such card")])
//!     .completes();
//! given::<Orders>()
//!     .event(placed(7))
//!     .when_cancelled_by("ada", "a test order")
//!     .sends([cancel("ada: a test order")]);
//! ```
