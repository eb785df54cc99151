//! Reaching an instance by keys that are not its own.
//!
//! An order is known by its id, but a parcel's events name the parcel alone. `ctx.claim("p-1")`
//! says that events with that key reach this instance too, from now on; several instances may
//! claim the same key, and each of them gets the event. `ctx.release` takes it back. An event
//! that may come before the claim needs `absent = hold("…")`.
//!
//! ```
//! use sagabox_sdk::prelude::*;
//!
//! events! {
//!     OrderPacked { order_id: String, parcels: Vec<String> }
//!     ParcelLost { parcel: String }
//! }
//! commands! {
//!     Replace(subject = order_id) { order_id: String, parcel: String }
//! }
//!
//! #[data]
//! struct Order {
//!     order_id: String,
//! }
//!
//! struct Parcels;
//!
//! #[process_manager(state = Order, sends(Replace))]
//! impl Parcels {
//!     #[on(start, key = "/orderId")]
//!     fn packed(event: OrderPacked, ctx: &mut Ctx<Self>) -> Result<Order> {
//!         event.parcels.into_iter().for_each(|parcel| ctx.claim(parcel));
//!         Ok(Order { order_id: event.order_id })
//!     }
//!
//!     #[on(key = "/parcel", absent = hold("1h"))]
//!     fn lost(order: &mut Order, event: ParcelLost, ctx: &mut Ctx<Self>) -> Result {
//!         ctx.release(event.parcel.as_str());
//!         ctx.send(Replace { order_id: order.order_id.clone(), parcel: event.parcel })
//!     }
//! }
//!
//! use sagabox_sdk::testing::given;
//! given::<Parcels>()
//!     .when(OrderPacked { order_id: "o-1".into(), parcels: vec!["p-1".into(), "p-2".into()] })
//!     .claims(["p-1", "p-2"])
//!     .done()
//!     .when(ParcelLost { parcel: "p-1".into() })
//!     .releases(["p-1"])
//!     .sends([Replace { order_id: "o-1".into(), parcel: "p-1".into() }]);
//! ```
