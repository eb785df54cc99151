//! Settings from `sagabox.toml`.
//!
//! [`#[config]`](macro@crate::config) at a struct makes it the plugin's section, and
//! `config = …` at the `impl` declares it. The fields are called as in the file:
//!
//! ```toml
//! [plugin.reminders]
//! patience = "48h"
//! greeting_line = "Dear customer"
//! ```
//!
//! A member that the struct does not have, or one that does not fit, is refused when the plugin is
//! loaded, and by `sagabox check`. A field needs `#[serde(default)]`, or an `Option`, if it may
//! be left out.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! #[config]
//! struct Settings {
//!     /// How long it waits for a payment.
//!     #[serde(default = "two_days")]
//!     patience: Span,
//!     greeting_line: Option<String>,
//! }
//!
//! fn two_days() -> Span {
//!     days(2).into()
//! }
//!
//! events! {
//!     OrderPlaced { order_id: String }
//! }
//!
//! #[timer]
//! struct Patience;
//!
//! #[data]
//! struct Order {
//!     order_id: String,
//! }
//!
//! struct Reminders;
//!
//! #[process_manager(state = Order, config = Settings)]
//! impl Reminders {
//!     #[on(start, key = "/orderId")]
//!     fn placed(event: OrderPlaced, ctx: &mut Ctx<Self>) -> Result<Order> {
//!         ctx.set_timer(Patience, ctx.config()?.patience)?;
//!         Ok(Order { order_id: event.order_id })
//!     }
//!
//!     #[on_timer]
//!     fn over(_: &mut Order, _: Patience, ctx: &mut Ctx<Self>) -> Result {
//!         ctx.complete();
//!         Ok(())
//!     }
//! }
//!
//! use sagabox_sdk::testing::given;
//! let placed = || OrderPlaced { order_id: "o-1".into() };
//! given::<Reminders>().when(placed()).sets_timer(Patience, days(2));
//! given::<Reminders>()
//!     .config(Settings { patience: hours(1).into(), greeting_line: None })
//!     .when(placed())
//!     .sets_timer(Patience, hours(1));
//! given::<Reminders>()
//!     .configuration(&json!({"patienc": "1h"}))
//!     .when(placed())
//!     .fails("unknown field `patienc`");
//! ```
