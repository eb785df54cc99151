//! Acting when time has passed.
//!
//! A timer is a type: [`#[timer]`](macro@crate::timer) at a struct, whose fields come back when it
//! fires. `#[on_timer]` is its handler; setting a timer without one does not compile. Setting it
//! again replaces it. It fires not before it is due, once, and survives restarts.
//!
//! [`seconds`](crate::seconds), [`minutes`](crate::minutes), [`hours`](crate::hours) and
//! [`days`](crate::days) make durations; `set_timer_at` takes a [`Timestamp`](crate::Timestamp).
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! events! {
//!     OrderPlaced { order_id: String }
//!     OrderPaid { order_id: String }
//! }
//! commands! {
//!     Remind(subject = order_id) { order_id: String, times: u32 }
//! }
//!
//! #[timer]
//! struct PaymentReminder {
//!     times: u32,
//! }
//!
//! #[data]
//! struct Order {
//!     order_id: String,
//! }
//!
//! struct Payments;
//!
//! #[process_manager(state = Order, sends(Remind))]
//! impl Payments {
//!     #[on(start, key = "/orderId")]
//!     fn placed(event: OrderPlaced, ctx: &mut Ctx<Self>) -> Result<Order> {
//!         ctx.set_timer(PaymentReminder { times: 1 }, days(7))?;
//!         Ok(Order { order_id: event.order_id })
//!     }
//!
//!     #[on_timer]
//!     fn remind(order: &mut Order, timer: PaymentReminder, ctx: &mut Ctx<Self>) -> Result {
//!         ctx.set_timer(PaymentReminder { times: timer.times + 1 }, days(7))?;
//!         ctx.send(Remind { order_id: order.order_id.clone(), times: timer.times })
//!     }
//!
//!     #[on(key = "/orderId")]
//!     fn paid(_: &mut Order, _: OrderPaid, ctx: &mut Ctx<Self>) -> Result {
//!         ctx.cancel_timer::<PaymentReminder>();
//!         Ok(())
//!     }
//! }
//!
//! use sagabox_sdk::testing::given;
//! let remind = |times| Remind { order_id: "o-1".into(), times };
//! given::<Payments>()
//!     .when(OrderPlaced { order_id: "o-1".into() })
//!     .sets_timer(PaymentReminder { times: 1 }, days(7))
//!     .done()
//!     .when_time_passes(days(15))
//!     .sends([remind(1), remind(2)])
//!     .done()
//!     .event(OrderPaid { order_id: "o-1".into() })
//!     .when_time_passes(days(100))
//!     .sends_nothing();
//! ```
