//! How to write a plugin: a section for each subject, with an example that runs.

/// Four roles, and what each may do.
///
/// | role | has | may |
/// |---|---|---|
/// | [`#[saga]`](macro@crate::saga) | no state | send commands |
/// | [`#[process_manager]`](macro@crate::process_manager) | one state per correlation key | send commands, emit events, set timers, claim keys |
/// | [`#[reactor]`](macro@crate::reactor) | no state | send commands, emit events |
/// | [`#[enricher]`](macro@crate::enricher) | no state | emit events that leave the host |
///
/// The attribute stands at an `impl` block, and declares what the plugin does: `sends(…)`,
/// `emits(…)`, `lookups("…")`, `streams`, `config = …`. The plugin's name is that of its package,
/// or `name = "…"`.
///
/// A handler is a pure function: it decides, and the host commits the whole decision, or nothing
/// of it. So a handler may be called again for the same event, and never needs to be idempotent.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// #[event]
/// struct OrderPaid {
///     order_id: String,
/// }
///
/// #[event(subject = order_id)]
/// struct OrderClosed {
///     order_id: String,
/// }
///
/// struct Closer;
///
/// #[reactor(emits(OrderClosed))]
/// impl Closer {
///     #[on(key = "/orderId")]
///     fn paid(event: OrderPaid, ctx: &mut Ctx<Self>) -> Result {
///         ctx.emit(OrderClosed { order_id: event.order_id })
///     }
/// }
///
/// sagabox_sdk::testing::given::<Closer>()
///     .when(OrderPaid { order_id: "o-1".into() })
///     .sends([OrderClosed { order_id: "o-1".into() }]);
/// ```
pub mod roles {}

/// Events, commands, and what is in them.
///
/// [`#[event]`](macro@crate::event) and [`#[command]`](macro@crate::command) stand at a struct.
/// Its name is the CloudEvents type, or `type = "…"`; `subject = field` names the CloudEvents
/// subject. Fields are camelCase in JSON; `#[serde(…)]` changes that.
/// [`#[data]`](macro@crate::data) is for everything within them, and for states.
/// [`events!`](crate::events) and [`commands!`](crate::commands) declare several, a line each.
///
/// `serde_json`, `json!` and `Value` are in the prelude.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// #[data]
/// enum Size {
///     Small,
///     Large,
/// }
///
/// #[event(type = "order placed", subject = order_id)]
/// struct OrderPlaced {
///     order_id: String,
///     #[serde(default)]
///     size: Option<Size>,
/// }
///
/// let event: OrderPlaced = serde_json::from_value(json!({"orderId": "o-1", "size": "large"})).unwrap();
/// assert_eq!(event, OrderPlaced { order_id: "o-1".into(), size: Some(Size::Large) });
/// assert_eq!((OrderPlaced::TYPE, event.subject().unwrap()), ("order placed", "o-1".to_owned()));
/// ```
pub mod types {}

/// Which events a handler takes, and by which key.
///
/// `#[on(key = …)]` says where the correlation key is: `"/orderId"`, a JSON Pointer into the data
/// (an array there names every key in it), `subject`, or `attribute("name")`. The events of one
/// key come one after the other, in the order of the log.
///
/// `source = "/shop"` or `source = prefix("/shop/")` takes the events of these senders alone; others
/// are ignored, and counted.
///
/// One event type has one handler, but one handler may take several types:
/// [`#[one_of]`](macro@crate::one_of) makes an enum of them, and `types("…")` names them where
/// the data does not matter.
///
/// `unhandled = ignore` at the `impl` ignores what no handler takes, such as a timer that an older
/// version has set; without it, that becomes a dead letter.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// events! {
///     OrderPaid { order_id: String }
///     OrderSent { order_id: String, parcels: u32 }
/// }
/// commands! {
///     Notify(subject = order_id) { order_id: String, text: String }
/// }
///
/// #[one_of]
/// enum Progress {
///     Paid(OrderPaid),
///     Sent(OrderSent),
/// }
///
/// struct Notifier;
///
/// #[saga(sends(Notify), unhandled = ignore)]
/// impl Notifier {
///     #[on(key = "/orderId", source = prefix("/shop"))]
///     fn progress(event: Progress, ctx: &mut Ctx<Self>) -> Result {
///         let (order_id, text) = match event {
///             Progress::Paid(paid) => (paid.order_id, "paid".to_owned()),
///             Progress::Sent(sent) => (sent.order_id, format!("{} parcels", sent.parcels)),
///         };
///         ctx.send(Notify { order_id, text })
///     }
///
///     #[on(key = subject, types("order archived", "order deleted"))]
///     fn gone(event: RawEvent, ctx: &mut Ctx<Self>) -> Result {
///         let order_id = event.subject.unwrap_or_default();
///         ctx.send(Notify { order_id, text: event.event_type })
///     }
/// }
///
/// use sagabox_sdk::testing::given;
/// let notify = |text: &str| Notify { order_id: "o-1".into(), text: text.into() };
/// given::<Notifier>()
///     .when(OrderSent { order_id: "o-1".into(), parcels: 2 })
///     .sends([notify("2 parcels")])
///     .done()
///     .when_raw(RawEvent {
///         event_type: "order deleted".into(),
///         subject: Some("o-1".into()),
///         ..RawEvent::default()
///     })
///     .sends([notify("order deleted")])
///     .done()
///     .when_raw(RawEvent { event_type: "of an older version".into(), ..RawEvent::default() })
///     .sends_nothing();
/// ```
pub mod handlers {}

/// Instances: how they start, go on, and end.
///
/// - `#[on(start, …)] fn f(event, ctx) -> Result<State>` starts the instance of the event's key.
///   An instance that is there already ignores the event.
/// - `#[on(start_or_handle, …)] fn f(state, event, ctx) -> Result` starts it with the state's
///   [`Default`], or goes on with the one that is there: for events whose order is not known.
/// - `#[on(…)] fn f(state, event, ctx) -> Result` goes on. If there is no instance, `absent` decides:
///   `ignore` (as without it), `fail` (a dead letter), or `hold("10m")`, which keeps the event so
///   long, in case the instance starts.
/// - `ctx.complete()` ends it: its timers are cancelled, and what still comes is ignored.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// events! {
///     ItemPicked { order_id: String }
///     OrderClosed { order_id: String }
/// }
/// commands! {
///     Report(subject = order_id) { order_id: String, picked: u32 }
/// }
///
/// #[data]
/// #[derive(Default)]
/// struct Order {
///     picked: u32,
/// }
///
/// struct Picking;
///
/// #[process_manager(state = Order, sends(Report))]
/// impl Picking {
///     #[on(start_or_handle, key = "/orderId")]
///     fn picked(order: &mut Order, _: ItemPicked, _: &mut Ctx<Self>) -> Result {
///         order.picked += 1;
///         Ok(())
///     }
///
///     #[on(key = "/orderId", absent = hold("10m"))]
///     fn closed(order: &mut Order, event: OrderClosed, ctx: &mut Ctx<Self>) -> Result {
///         ctx.complete();
///         ctx.send(Report { order_id: event.order_id, picked: order.picked })
///     }
/// }
///
/// use sagabox_sdk::testing::given;
/// given::<Picking>()
///     .event(ItemPicked { order_id: "o-1".into() })
///     .event(ItemPicked { order_id: "o-1".into() })
///     .when(OrderClosed { order_id: "o-1".into() })
///     .sends([Report { order_id: "o-1".into(), picked: 2 }])
///     .completes();
/// ```
pub mod processes {}

/// Acting when time has passed.
///
/// A timer is a type: [`#[timer]`](macro@crate::timer) at a struct, whose fields come back when it
/// fires. `#[on_timer]` is its handler; setting a timer without one does not compile. Setting it
/// again replaces it. It fires not before it is due, once, and survives restarts.
///
/// [`seconds`](crate::seconds), [`minutes`](crate::minutes), [`hours`](crate::hours) and
/// [`days`](crate::days) make durations; `set_timer_at` takes a [`Timestamp`](crate::Timestamp).
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// events! {
///     OrderPlaced { order_id: String }
///     OrderPaid { order_id: String }
/// }
/// commands! {
///     Remind(subject = order_id) { order_id: String, times: u32 }
/// }
///
/// #[timer]
/// struct PaymentReminder {
///     times: u32,
/// }
///
/// #[data]
/// struct Order {
///     order_id: String,
/// }
///
/// struct Payments;
///
/// #[process_manager(state = Order, sends(Remind))]
/// impl Payments {
///     #[on(start, key = "/orderId")]
///     fn placed(event: OrderPlaced, ctx: &mut Ctx<Self>) -> Result<Order> {
///         ctx.set_timer(PaymentReminder { times: 1 }, days(7))?;
///         Ok(Order { order_id: event.order_id })
///     }
///
///     #[on_timer]
///     fn remind(order: &mut Order, timer: PaymentReminder, ctx: &mut Ctx<Self>) -> Result {
///         ctx.set_timer(PaymentReminder { times: timer.times + 1 }, days(7))?;
///         ctx.send(Remind { order_id: order.order_id.clone(), times: timer.times })
///     }
///
///     #[on(key = "/orderId")]
///     fn paid(_: &mut Order, _: OrderPaid, ctx: &mut Ctx<Self>) -> Result {
///         ctx.cancel_timer::<PaymentReminder>();
///         Ok(())
///     }
/// }
///
/// use sagabox_sdk::testing::given;
/// let remind = |times| Remind { order_id: "o-1".into(), times };
/// given::<Payments>()
///     .when(OrderPlaced { order_id: "o-1".into() })
///     .sets_timer(PaymentReminder { times: 1 }, days(7))
///     .done()
///     .when_time_passes(days(15))
///     .sends([remind(1), remind(2)])
///     .done()
///     .event(OrderPaid { order_id: "o-1".into() })
///     .when_time_passes(days(100))
///     .sends_nothing();
/// ```
pub mod timers {}

/// Reaching an instance by keys that are not its own.
///
/// An order is known by its id, but a parcel's events name the parcel alone. `ctx.claim("p-1")`
/// says that events with that key reach this instance too, from now on; several instances may
/// claim the same key, and each of them gets the event. `ctx.release` takes it back. An event
/// that may come before the claim needs `absent = hold("…")`.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// events! {
///     OrderPacked { order_id: String, parcels: Vec<String> }
///     ParcelLost { parcel: String }
/// }
/// commands! {
///     Replace(subject = order_id) { order_id: String, parcel: String }
/// }
///
/// #[data]
/// struct Order {
///     order_id: String,
/// }
///
/// struct Parcels;
///
/// #[process_manager(state = Order, sends(Replace))]
/// impl Parcels {
///     #[on(start, key = "/orderId")]
///     fn packed(event: OrderPacked, ctx: &mut Ctx<Self>) -> Result<Order> {
///         event.parcels.into_iter().for_each(|parcel| ctx.claim(parcel));
///         Ok(Order { order_id: event.order_id })
///     }
///
///     #[on(key = "/parcel", absent = hold("1h"))]
///     fn lost(order: &mut Order, event: ParcelLost, ctx: &mut Ctx<Self>) -> Result {
///         ctx.release(event.parcel.as_str());
///         ctx.send(Replace { order_id: order.order_id.clone(), parcel: event.parcel })
///     }
/// }
///
/// use sagabox_sdk::testing::given;
/// given::<Parcels>()
///     .when(OrderPacked { order_id: "o-1".into(), parcels: vec!["p-1".into(), "p-2".into()] })
///     .claims(["p-1", "p-2"])
///     .done()
///     .when(ParcelLost { parcel: "p-1".into() })
///     .releases(["p-1"])
///     .sends([Replace { order_id: "o-1".into(), parcel: "p-1".into() }]);
/// ```
pub mod claims {}

/// Asking for what the event does not say.
///
/// `ctx.lookup("stock", sku)?` asks a lookup that the operator has configured; `ctx.lookups` asks
/// for several keys at once. `ctx.stream(subject)?` gives the events of a subject that came before
/// this one, in the order of the log. The plugin declares both: `lookups("stock")`, `streams`.
///
/// The `?` leaves the handler; the host finds the answer, and calls the handler again from its
/// beginning. Nothing that it has decided until then takes effect.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// events! {
///     CartConfirmed { cart_id: String }
///     ItemAdded { sku: String }
///     CartChecked(subject = cart_id) { cart_id: String, missing: Vec<String> }
/// }
///
/// #[data]
/// struct Stock {
///     available: u32,
/// }
///
/// struct Checker;
///
/// #[enricher(emits(CartChecked), lookups("stock"), streams)]
/// impl Checker {
///     #[on(key = "/cartId")]
///     fn confirmed(event: CartConfirmed, ctx: &mut Ctx<Self>) -> Result {
///         let mut skus = Vec::new();
///         for past in ctx.stream(&event.cart_id)? {
///             skus.extend(past.parse::<ItemAdded>()?.map(|added| added.sku));
///         }
///         let stocks: Vec<Option<Stock>> = ctx.lookups("stock", &skus)?;
///         let is_missing = |stock: &Option<Stock>| stock.as_ref().is_none_or(|s| s.available == 0);
///         let missing = skus.into_iter().zip(stocks).filter(|(_, stock)| is_missing(stock));
///         let missing = missing.map(|(sku, _)| sku).collect();
///         ctx.emit(CartChecked { cart_id: event.cart_id, missing })
///     }
/// }
///
/// use sagabox_sdk::testing::given;
/// given::<Checker>()
///     .in_stream("c-1", ItemAdded { sku: "mug".into() })
///     .in_stream("c-1", ItemAdded { sku: "hat".into() })
///     .answer("stock", "mug", Stock { available: 3 })
///     .missing("stock", "hat")
///     .when(CartConfirmed { cart_id: "c-1".into() })
///     .sends([CartChecked { cart_id: "c-1".into(), missing: vec!["hat".into()] }]);
/// ```
pub mod questions {}

/// What goes wrong: in a handler, behind a command, or because an operator says so.
///
/// A handler that returns [`Error::permanent`](crate::Error::permanent) makes the event a dead
/// letter, behind which the other events of its key wait; so does every error that `?` passes on,
/// and a panic, whose message, file and line are part of the reason.
/// [`Error::transient`](crate::Error::transient) makes the host try again later.
///
/// `#[on_undeliverable]` gets a command of this instance that the host could not deliver, and may
/// compensate; also when the instance is complete. `#[on_cancel]` is called when an operator asks
/// the instance to end; it may take [`Cancelled`](crate::Cancelled) as well.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// events! {
///     OrderPlaced { order_id: String, amount: u32 }
/// }
/// commands! {
///     ChargeCard(subject = order_id) { order_id: String, amount: u32 }
///     CancelOrder(subject = order_id) { order_id: String, reason: String }
/// }
///
/// #[data]
/// struct Order {
///     order_id: String,
/// }
///
/// struct Orders;
///
/// #[process_manager(state = Order, sends(ChargeCard, CancelOrder))]
/// impl Orders {
///     #[on(start, key = "/orderId")]
///     fn placed(event: OrderPlaced, ctx: &mut Ctx<Self>) -> Result<Order> {
///         let OrderPlaced { order_id, amount } = event;
///         if amount == 0 {
///             return Err(Error::permanent("an order of nothing"));
///         }
///         ctx.send(ChargeCard { order_id: order_id.clone(), amount })?;
///         Ok(Order { order_id })
///     }
///
///     #[on_undeliverable]
///     fn undeliverable(order: &mut Order, command: Undeliverable, ctx: &mut Ctx<Self>) -> Result {
///         if let Some(charge) = command.parse::<ChargeCard>()? {
///             let reason = format!("{} not charged: {}", charge.amount, command.reason);
///             ctx.complete();
///             ctx.send(CancelOrder { order_id: order.order_id.clone(), reason })?;
///         }
///         Ok(())
///     }
///
///     #[on_cancel]
///     fn cancelled(order: &mut Order, cancelled: Cancelled, ctx: &mut Ctx<Self>) -> Result {
///         ctx.complete();
///         let reason = format!("{}: {}", cancelled.by, cancelled.reason);
///         ctx.send(CancelOrder { order_id: order.order_id.clone(), reason })
///     }
/// }
///
/// use sagabox_sdk::testing::given;
/// let placed = |amount| OrderPlaced { order_id: "o-1".into(), amount };
/// let cancel = |reason: &str| CancelOrder { order_id: "o-1".into(), reason: reason.into() };
/// given::<Orders>().when(placed(0)).fails("an order of nothing");
/// given::<Orders>()
///     .event(placed(7))
///     .when_undeliverable(ChargeCard { order_id: "o-1".into(), amount: 7 }, "no such card")
///     .sends([cancel("7 not charged: no such card")])
///     .completes();
/// given::<Orders>()
///     .event(placed(7))
///     .when_cancelled_by("ada", "a test order")
///     .sends([cancel("ada: a test order")]);
/// ```
pub mod failures {}

/// Settings from `sagabox.toml`.
///
/// [`#[config]`](macro@crate::config) at a struct makes it the plugin's section, and
/// `config = …` at the `impl` declares it. The fields are called as in the file:
///
/// ```toml
/// [plugin.reminders]
/// patience = "48h"
/// greeting_line = "Dear customer"
/// ```
///
/// A member that the struct does not have, or one that does not fit, is refused when the plugin is
/// loaded, and by `sagabox check`. A field needs `#[serde(default)]`, or an `Option`, if it may
/// be left out.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// #[config]
/// struct Settings {
///     /// How long it waits for a payment.
///     #[serde(default = "two_days")]
///     patience: Span,
///     greeting_line: Option<String>,
/// }
///
/// fn two_days() -> Span {
///     days(2).into()
/// }
///
/// events! {
///     OrderPlaced { order_id: String }
/// }
///
/// #[timer]
/// struct Patience;
///
/// #[data]
/// struct Order {
///     order_id: String,
/// }
///
/// struct Reminders;
///
/// #[process_manager(state = Order, config = Settings)]
/// impl Reminders {
///     #[on(start, key = "/orderId")]
///     fn placed(event: OrderPlaced, ctx: &mut Ctx<Self>) -> Result<Order> {
///         ctx.set_timer(Patience, ctx.config()?.patience)?;
///         Ok(Order { order_id: event.order_id })
///     }
///
///     #[on_timer]
///     fn over(_: &mut Order, _: Patience, ctx: &mut Ctx<Self>) -> Result {
///         ctx.complete();
///         Ok(())
///     }
/// }
///
/// use sagabox_sdk::testing::given;
/// let placed = || OrderPlaced { order_id: "o-1".into() };
/// given::<Reminders>().when(placed()).sets_timer(Patience, days(2));
/// given::<Reminders>()
///     .config(Settings { patience: hours(1).into(), greeting_line: None })
///     .when(placed())
///     .sets_timer(Patience, hours(1));
/// given::<Reminders>()
///     .configuration(&json!({"patienc": "1h"}))
///     .when(placed())
///     .fails("unknown field `patienc`");
/// ```
pub mod configuration {}

/// Numbers, moments and durations that are what was meant.
///
/// - [`Decimal`](crate::Decimal) is for money: exact, to 28 digits.
/// - [`Json`](crate::Json) passes a value on byte for byte, whatever it is.
/// - An `f64` keeps its value when it is read and written; one that is not a number, or infinite,
///   is an error that names the field, because JSON has no such number.
/// - [`Timestamp`](crate::Timestamp) is a moment in RFC 3339. `ctx.now()` is the host's clock, which
///   says the same in every retry and replay; `ctx.event_time()` is what the event's sender says.
/// - [`Span`](crate::Span) is a duration in data: `"1h 30m"`.
/// - Integers that overflow panic, in the component as in tests: the profile of the templates says
///   `overflow-checks = true`.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// #[event]
/// struct InvoiceSent {
///     invoice_id: String,
///     total: Decimal,
///     weight: f64,
/// }
///
/// #[command(subject = invoice_id)]
/// struct Collect {
///     invoice_id: String,
///     total: Decimal,
///     due: Timestamp,
///     weight_each: f64,
/// }
///
/// struct Collection;
///
/// #[saga(sends(Collect))]
/// impl Collection {
///     #[on(key = "/invoiceId")]
///     fn sent(event: InvoiceSent, ctx: &mut Ctx<Self>) -> Result {
///         let due = ctx.event_time().unwrap_or(ctx.now()) + days(30);
///         let total = (event.total * Decimal::new(102, 2)).round(2);
///         let weight_each = event.weight / 2.0;
///         ctx.send(Collect { invoice_id: event.invoice_id, total, due, weight_each })
///     }
/// }
///
/// use sagabox_sdk::testing::given;
/// let sent = |weight| InvoiceSent {
///     invoice_id: "i-1".into(),
///     total: "19.99".parse().unwrap(),
///     weight,
/// };
/// given::<Collection>()
///     .event_time("2026-03-01T12:00:00+01:00")
///     .when(sent(3.0))
///     .sends([Collect {
///         invoice_id: "i-1".into(),
///         total: "20.39".parse().unwrap(),
///         due: "2026-03-31T11:00:00Z".parse().unwrap(),
///         weight_each: 1.5,
///     }]);
/// # let event = |weight: &str| RawEvent {
/// #     event_type: InvoiceSent::TYPE.into(),
/// #     data: format!(r#"{{"invoiceId":"i-1","total":1,"weight":{weight}}}"#).into(),
/// #     ..RawEvent::default()
/// # };
/// # given::<Collection>().when_raw(event("1e400")).fails("number out of range");
/// ```
pub mod exactness {}

/// Writing to the host's log.
///
/// `ctx.log(…)`, the macros of the crate `log`, and `println!` in a handler write lines to which the
/// host adds the plugin, the key and the event. What a plugin writes has no effect on what it
/// decides. In functions that are no handlers, say `use sagabox_sdk::println;` first: the
/// standard library's own goes nowhere in wasm.
///
/// A panic is written as well, with its file and line, and is part of the dead letter's reason
/// with what the call wrote before.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// events! {
///     OrderPlaced { order_id: String, items: Vec<String> }
/// }
///
/// struct Logger;
///
/// #[saga()]
/// impl Logger {
///     #[on(key = "/orderId")]
///     fn placed(event: OrderPlaced, ctx: &mut Ctx<Self>) -> Result {
///         ctx.log(format!("{} items", event.items.len()));
///         if event.items.is_empty() {
///             ctx.log_at(Level::Warn, "nothing was ordered");
///         }
///         println!("attempt {}", dbg!(ctx.attempt()));
///         Ok(())
///     }
/// }
///
/// sagabox_sdk::testing::given::<Logger>()
///     .when(OrderPlaced { order_id: "o-1".into(), items: vec![] })
///     .sends_nothing();
/// ```
pub mod logging {}

/// Changing the shape of a state.
///
/// A process manager's state has a version: 1, or `version = …`. You can add fields that are
/// `Option` or have `#[serde(default)]` without a new one. To rename or remove a field, raise the
/// version and say with `migrate = …` how states of other versions are converted: older ones, and
/// back, for a rollback.
///
/// Before a version serves, the host has it read the state of every live instance, whatever its
/// version. A state of its own version is refused if it does not fit, or if something in it would
/// be dropped: so a shape that changed without a new version is found before it does harm.
///
/// ```
/// use sagabox_sdk::prelude::*;
/// # use sagabox_sdk::raw::{Plugin, State};
///
/// events! {
///     Ordered { order_id: String }
/// }
///
/// #[data]
/// struct Order {
///     items: Vec<String>,
/// }
///
/// struct Orders;
///
/// #[process_manager(state = Order, version = 2, migrate = migrate)]
/// impl Orders {
///     #[on(start, key = "/orderId")]
///     fn ordered(event: Ordered, ctx: &mut Ctx<Self>) -> Result<Order> {
///         Ok(Order { items: vec![event.order_id] })
///     }
/// }
///
/// /// In version 1 an order had one item.
/// fn migrate(from: u32, to: u32, state: Value) -> Result<Value> {
///     match (from, to) {
///         (1, 2) => Ok(json!({ "items": [state["item"]] })),
///         (2, 1) => Ok(json!({ "item": state["items"][0] })),
///         _ => Err(Error::permanent("no such version is known")),
///     }
/// }
///
/// assert_eq!(migrate(1, 2, json!({"item": "mug"})).unwrap(), json!({"items": ["mug"]}));
/// # let migrate = |version, data: &str, to| {
/// #     let migrated = Orders::migrate(State { version, data: data.into() }, to);
/// #     migrated.map(|data| String::from_utf8(data).unwrap())
/// # };
/// # assert_eq!(migrate(1, r#"{"item":"mug"}"#, 2).unwrap(), r#"{"items":["mug"]}"#);
/// # assert_eq!(migrate(2, r#"{"items":["mug"]}"#, 1).unwrap(), r#"{"item":"mug"}"#);
/// # assert_eq!(migrate(2, r#"{"items":["mug"]}"#, 2).unwrap(), r#"{"items":["mug"]}"#);
/// # assert!(migrate(2, r#"{"item":"mug"}"#, 2).unwrap_err().contains("missing field `items`"));
/// # assert!(migrate(1, "{}", 2).unwrap_err().contains("does not fit"));
/// # assert_eq!(migrate(3, "{}", 2).unwrap_err(), "no such version is known");
/// ```
pub mod versions {}

/// Testing handlers natively.
///
/// [`testing::given`](crate::testing::given) plays events to a plugin without wasm and without a
/// host, under `cargo test`. It keeps the state, the timers and a clock from event to event.
///
/// - What is so: `key`, `now`, `event_time`, `source`, `config`, `state`, `answer`, `in_stream`.
/// - What happens: `when(event)`, `when_time_passes(hours(2))`, `when_timer`, `when_undeliverable`,
///   `when_cancelled`; `event` and `wait` are the same, and do not look at what is sent.
/// - What must follow: `sends`, `sends_all`, `sends_nothing`, `state_is`, `state`, `sets_timer`,
///   `cancels_timer`, `claims`, `releases`, `completes`, `goes_on`, `fails`.
///
/// ```
/// use sagabox_sdk::prelude::*;
/// use sagabox_sdk::testing::given;
///
/// events! {
///     OrderPlaced { order_id: String }
/// }
/// commands! {
///     CancelOrder(subject = order_id) { order_id: String }
/// }
///
/// #[timer]
/// struct Deadline;
///
/// #[data]
/// struct Order {
///     order_id: String,
///     placed_at: Timestamp,
/// }
///
/// struct Orders;
///
/// #[process_manager(state = Order, sends(CancelOrder))]
/// impl Orders {
///     #[on(start, key = "/orderId")]
///     fn placed(event: OrderPlaced, ctx: &mut Ctx<Self>) -> Result<Order> {
///         ctx.set_timer_at(Deadline, ctx.now() + hours(24))?;
///         Ok(Order { order_id: event.order_id, placed_at: ctx.now() })
///     }
///
///     #[on_timer]
///     fn late(order: &mut Order, _: Deadline, ctx: &mut Ctx<Self>) -> Result {
///         ctx.complete();
///         ctx.send(CancelOrder { order_id: order.order_id.clone() })
///     }
/// }
///
/// let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
/// given::<Orders>()
///     .now("2026-03-01T12:00:00Z")
///     .when(OrderPlaced { order_id: "o-1".into() })
///     .state_is(&Order { order_id: "o-1".into(), placed_at: noon })
///     .sets_timer(Deadline, noon + hours(24))
///     .done()
///     .when_time_passes(hours(23))
///     .sends_nothing()
///     .goes_on()
///     .done()
///     .when_time_passes(hours(1))
///     .sends([CancelOrder { order_id: "o-1".into() }])
///     .completes();
/// ```
pub mod tests {}

/// What the host learns of the plugin's types.
///
/// With the feature `schemas`, which is on by default, the manifest contains, without a line in
/// the plugin:
///
/// - the JSON Schema of each event that it takes or emits, and of each command that it sends;
/// - that of its configuration;
/// - as *fields* the members of the state that are one value (a text, a number, a boolean), by
///   which instances can be listed and filtered; and a *summary* of the first of them.
///
/// `fields(none)` leaves the fields out; `fields(paid = "/paid", city = "/address/city")` says which
/// there are instead, and `summary = "order {id}: {paid}"` how an instance is shown. Types within an
/// event need [`#[data]`](macro@crate::data), or `JsonSchema` of the crate `schemars`.
///
/// ```
/// use sagabox_sdk::prelude::*;
/// use sagabox_sdk::raw::Plugin;
///
/// events! {
///     OrderPlaced { order_id: String, total: Decimal }
/// }
///
/// #[data]
/// struct Order {
///     order_id: String,
///     total: Decimal,
///     items: Vec<String>,
/// }
///
/// struct Orders;
///
/// #[process_manager(state = Order, summary = "order {orderId} of {total}")]
/// impl Orders {
///     #[on(start, key = "/orderId")]
///     fn placed(event: OrderPlaced, _: &mut Ctx<Self>) -> Result<Order> {
///         Ok(Order { order_id: event.order_id, total: event.total, items: Vec::new() })
///     }
/// }
///
/// let manifest = Orders::manifest();
/// let names: Vec<&str> = manifest.fields.iter().map(|(name, _)| name.as_str()).collect();
/// assert_eq!(names, ["orderId", "total"]);
/// assert_eq!(manifest.schemas[0].0, "OrderPlaced");
/// # let schema: Value = serde_json::from_str(&manifest.schemas[0].1).unwrap();
/// # assert_eq!(schema["properties"]["orderId"]["type"], "string");
/// # assert_eq!(schema["required"], json!(["orderId", "total"]));
/// ```
pub mod manifest {}
