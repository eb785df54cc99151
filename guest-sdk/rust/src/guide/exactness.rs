//! Numbers, moments and durations that are what was meant.
//!
//! - [`Decimal`](crate::Decimal) is for money: exact, to 28 digits.
//! - [`Json`](crate::Json) passes a value on byte for byte, whatever it is.
//! - An `f64` keeps its value when it is read and written; one that is not a number, or infinite,
//!   is an error that names the field, because JSON has no such number.
//! - [`Timestamp`](crate::Timestamp) is a moment in RFC 3339. `ctx.now()` is the host's clock, which
//!   says the same in every retry and replay; `ctx.event_time()` is what the event's sender says.
//! - [`Span`](crate::Span) is a duration in data: `"1h 30m"`.
//! - Integers that overflow panic, in the component as in tests: the profile of the templates says
//!   `overflow-checks = true`.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! #[event]
//! struct InvoiceSent {
//!     invoice_id: String,
//!     total: Decimal,
//!     weight: f64,
//! }
//!
//! #[command(subject = invoice_id)]
//! struct Collect {
//!     invoice_id: String,
//!     total: Decimal,
//!     due: Timestamp,
//!     weight_each: f64,
//! }
//!
//! struct Collection;
//!
//! #[saga(sends(Collect))]
//! impl Collection {
//!     #[on(key = "/invoiceId")]
//!     fn sent(event: InvoiceSent, ctx: &mut Ctx<Self>) -> Result {
//!         let due = ctx.event_time().unwrap_or(ctx.now()) + days(30);
//!         let total = (event.total * Decimal::new(102, 2)).round(2);
//!         let weight_each = event.weight / 2.0;
//!         ctx.send(Collect { invoice_id: event.invoice_id, total, due, weight_each })
//!     }
//! }
//!
//! use sagabox_sdk::testing::given;
//! let sent = |weight| InvoiceSent {
//!     invoice_id: "i-1".into(),
//!     total: "19.99".parse().unwrap(),
//!     weight,
//! };
//! given::<Collection>()
//!     .event_time("2026-03-01T12:00:00+01:00")
//!     .when(sent(3.0))
//!     .sends([Collect {
//!         invoice_id: "i-1".into(),
//!         total: "20.39".parse().unwrap(),
//!         due: "2026-03-31T11:00:00Z".parse().unwrap(),
//!         weight_each: 1.5,
//!     }]);
//! # let event = |weight: &str| RawEvent {
//! #     event_type: InvoiceSent::TYPE.into(),
//! #     data: format!(r#"{{"invoiceId":"i-1","total":1,"weight":{weight}}}"#).into(),
//! #     ..RawEvent::default()
//! # };
//! # given::<Collection>().when_raw(event("1e400")).fails("number out of range");
//! ```
