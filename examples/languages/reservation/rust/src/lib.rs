//! The reservation of an order: the stock is reserved when the order is placed, shipped when it is
//! paid, and released when it is not paid in time.

use sagabox_sdk::prelude::*;

#[event]
pub struct OrderPlaced {
    pub order_id: String,
    pub customer_id: String,
    pub sku: String,
    pub quantity: u32,
}

#[event]
pub struct OrderPaid {
    pub order_id: String,
}

#[event]
pub struct OrderShipped {
    pub order_id: String,
}

#[event(subject = customer_id)]
pub struct ReservationLapsed {
    pub customer_id: String,
    pub order_id: String,
}

#[command(subject = order_id)]
pub struct ReserveStock {
    pub order_id: String,
    pub sku: String,
    pub quantity: u32,
}

#[command(subject = order_id)]
pub struct ReleaseStock {
    pub order_id: String,
    pub sku: String,
    pub quantity: u32,
}

#[command(subject = order_id)]
pub struct ShipOrder {
    pub order_id: String,
}

#[command(subject = order_id)]
pub struct RejectOrder {
    pub order_id: String,
    pub reason: String,
}

/// The answer of the lookup `stock`.
#[data]
pub struct Stock {
    pub available: u32,
    /// The stock is being counted, and the number is not reliable now.
    pub counting: bool,
}

/// The order was not paid in time.
#[timer]
pub struct Deadline;

#[data]
pub enum Status {
    Reserved,
    Paid,
}

/// The state of a process: one for each order.
#[data]
pub struct Order {
    pub order_id: String,
    pub customer_id: String,
    pub sku: String,
    pub quantity: u32,
    pub status: Status,
}

pub struct Reservation;

#[process_manager(
    state = Order,
    version = 2,
    migrate = migrate,
    sends(ReserveStock, ReleaseStock, ShipOrder, RejectOrder),
    emits(ReservationLapsed),
    lookups("stock"),
    streams
)]
impl Reservation {
    #[on(start, key = "/orderId")]
    fn placed(event: OrderPlaced, ctx: &mut Ctx<Self>) -> Result<Order> {
        let OrderPlaced { order_id, customer_id, sku, quantity } = event;
        if quantity == 0 {
            return Err(Error::permanent(format!("order {order_id} has no quantity")));
        }
        let stock: Option<Stock> = ctx.lookup("stock", &sku)?;
        if stock.as_ref().is_some_and(|stock| stock.counting) {
            return Err(Error::transient(format!("the stock of {sku} is being counted")));
        }
        let order = Order { order_id, customer_id, sku, quantity, status: Status::Reserved };
        if stock.is_none_or(|stock| stock.available < quantity) {
            reject(&order, "sold out", ctx)?;
            return Ok(order);
        }
        ctx.send(ReserveStock {
            order_id: order.order_id.clone(),
            sku: order.sku.clone(),
            quantity,
        })?;
        let patience = time_to_pay(&order, ctx)?;
        ctx.set_timer(Deadline, patience)?;
        Ok(order)
    }

    #[on(key = "/orderId", absent = hold("10m"))]
    fn paid(order: &mut Order, _: OrderPaid, ctx: &mut Ctx<Self>) -> Result {
        order.status = Status::Paid;
        ctx.cancel_timer::<Deadline>();
        ctx.send(ShipOrder { order_id: order.order_id.clone() })
    }

    #[on(key = "/orderId")]
    fn shipped(_: &mut Order, _: OrderShipped, ctx: &mut Ctx<Self>) -> Result {
        ctx.complete();
        Ok(())
    }

    #[on_timer]
    fn too_late(order: &mut Order, _: Deadline, ctx: &mut Ctx<Self>) -> Result {
        ctx.emit(ReservationLapsed {
            customer_id: order.customer_id.clone(),
            order_id: order.order_id.clone(),
        })?;
        release(order, ctx)
    }

    #[on_undeliverable]
    fn undeliverable(order: &mut Order, command: Undeliverable, ctx: &mut Ctx<Self>) -> Result {
        if command.parse::<ReserveStock>()?.is_some() {
            reject(order, &command.reason, ctx)?;
        }
        Ok(())
    }

    #[on_cancel]
    fn cancelled(order: &mut Order, ctx: &mut Ctx<Self>) -> Result {
        release(order, ctx)
    }
}

/// A customer who let a reservation lapse before has an hour, others have a day.
fn time_to_pay(order: &Order, ctx: &mut Ctx<Reservation>) -> Result<Duration> {
    let past = ctx.stream(&order.customer_id)?;
    let has_lapsed = past.iter().any(|event| event.event_type == ReservationLapsed::TYPE);
    Ok(if has_lapsed { hours(1) } else { hours(24) })
}

fn reject(order: &Order, reason: &str, ctx: &mut Ctx<Reservation>) -> Result {
    ctx.complete();
    ctx.send(RejectOrder { order_id: order.order_id.clone(), reason: reason.to_owned() })
}

fn release(order: &Order, ctx: &mut Ctx<Reservation>) -> Result {
    ctx.complete();
    ctx.send(ReleaseStock {
        order_id: order.order_id.clone(),
        sku: order.sku.clone(),
        quantity: order.quantity,
    })
}

/// Version 1 had `paid` (true or false) in place of `status`.
fn migrate(from: u32, to: u32, mut state: Value) -> Result<Value> {
    match (from, to) {
        (1, 2) => state["status"] = json!(if state["paid"] == true { "paid" } else { "reserved" }),
        (2, 1) => state["paid"] = json!(state["status"] == "paid"),
        _ => return Err(Error::permanent(format!("no migration from version {from} to {to}"))),
    }
    let members = state.as_object_mut().ok_or_else(|| Error::permanent("no object"))?;
    members.remove(if to == 2 { "paid" } else { "status" });
    Ok(state)
}
