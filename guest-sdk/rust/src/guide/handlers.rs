//! Which events a handler takes, and by which key.
//!
//! `#[on(key = …)]` says where the correlation key is: `"/orderId"`, a JSON Pointer into the data
//! (an array there names every key in it), `subject`, or `attribute("name")`. The events of one
//! key come one after the other, in the order of the log.
//!
//! `source = "/shop"` or `source = prefix("/shop/")` takes the events of these senders alone; others
//! are ignored, and counted.
//!
//! One event type has one handler, but one handler may take several types:
//! [`#[one_of]`](macro@crate::one_of) makes an enum of them, and `types("…")` names them where
//! the data does not matter.
//!
//! `unhandled = ignore` at the `impl` ignores what no handler takes, such as a timer that an older
//! version has set; without it, that becomes a dead letter.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! events! {
//!     OrderPaid { order_id: String }
//!     OrderSent { order_id: String, parcels: u32 }
//! }
//! commands! {
//!     Notify(subject = order_id) { order_id: String, text: String }
//! }
//!
//! #[one_of]
//! enum Progress {
//!     Paid(OrderPaid),
//!     Sent(OrderSent),
//! }
//!
//! struct Notifier;
//!
//! #[saga(sends(Notify), unhandled = ignore)]
//! impl Notifier {
//!     #[on(key = "/orderId", source = prefix("/shop"))]
//!     fn progress(event: Progress, ctx: &mut Ctx<Self>) -> Result {
//!         let (order_id, text) = match event {
//!             Progress::Paid(paid) => (paid.order_id, "paid".to_owned()),
//!             Progress::Sent(sent) => (sent.order_id, format!("{} parcels", sent.parcels)),
//!         };
//!         ctx.send(Notify { order_id, text })
//!     }
//!
//!     #[on(key = subject, types("order archived", "order deleted"))]
//!     fn gone(event: RawEvent, ctx: &mut Ctx<Self>) -> Result {
//!         let order_id = event.subject.unwrap_or_default();
//!         ctx.send(Notify { order_id, text: event.event_type })
//!     }
//! }
//!
//! use sagabox_sdk::testing::given;
//! let notify = |text: &str| Notify { order_id: "o-1".into(), text: text.into() };
//! given::<Notifier>()
//!     .when(OrderSent { order_id: "o-1".into(), parcels: 2 })
//!     .sends([notify("2 parcels")])
//!     .done()
//!     .when_raw(RawEvent {
//!         event_type: "order deleted".into(),
//!         subject: Some("o-1".into()),
//!         ..RawEvent::default()
//!     })
//!     .sends([notify("order deleted")])
//!     .done()
//!     .when_raw(RawEvent { event_type: "of an older version".into(), ..RawEvent::default() })
//!     .sends_nothing();
//! ```
