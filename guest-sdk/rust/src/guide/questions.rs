//! Asking for what the event does not say.
//!
//! `ctx.lookup("stock", sku)?` asks a lookup that the operator has configured; `ctx.lookups` asks
//! for several keys at once. `ctx.stream(subject)?` gives the events of a subject that came before
//! this one, in the order of the log. The plugin declares both: `lookups("stock")`, `streams`.
//!
//! The `?` leaves the handler; the host finds the answer, and calls the handler again from its
//! beginning. Nothing that it has decided until then takes effect.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! events! {
//!     CartConfirmed { cart_id: String }
//!     ItemAdded { sku: String }
//!     CartChecked(subject = cart_id) { cart_id: String, missing: Vec<String> }
//! }
//!
//! #[data]
//! struct Stock {
//!     available: u32,
//! }
//!
//! struct Checker;
//!
//! #[enricher(emits(CartChecked), lookups("stock"), streams)]
//! impl Checker {
//!     #[on(key = "/cartId")]
//!     fn confirmed(event: CartConfirmed, ctx: &mut Ctx<Self>) -> Result {
//!         let mut skus = Vec::new();
//!         for past in ctx.stream(&event.cart_id)? {
//!             skus.extend(past.parse::<ItemAdded>()?.map(|added| added.sku));
//!         }
//!         let stocks: Vec<Option<Stock>> = ctx.lookups("stock", &skus)?;
//!         let is_missing = |stock: &Option<Stock>| stock.as_ref().is_none_or(|s| s.available == 0);
//!         let missing = skus.into_iter().zip(stocks).filter(|(_, stock)| is_missing(stock));
//!         let missing = missing.map(|(sku, _)| sku).collect();
//!         ctx.emit(CartChecked { cart_id: event.cart_id, missing })
//!     }
//! }
//!
//! use sagabox_sdk::testing::given;
//! given::<Checker>()
//!     .in_stream("c-1", ItemAdded { sku: "mug".into() })
//!     .in_stream("c-1", ItemAdded { sku: "hat".into() })
//!     .answer("stock", "mug", Stock { available: 3 })
//!     .missing("stock", "hat")
//!     .when(CartConfirmed { cart_id: "c-1".into() })
//!     .sends([CartChecked { cart_id: "c-1".into(), missing: vec!["hat".into()] }]);
//! ```
