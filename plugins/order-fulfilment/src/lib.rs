//! Order fulfilment: one process per order of a real event log, in which most
//! events do not name the order. The process claims its items, and later the
//! packages that they travel in, as additional keys.
//!
//! The events of an order may come in any order: what comes before its order is
//! placed is held until then.

use std::collections::BTreeMap;

use sagabox_sdk::prelude::*;

/// An event of the log; each names some objects.
macro_rules! activities {
    ($($name:ident = $activity:literal),* $(,)?) => {$(
        #[event(type = $activity)]
        #[derive(Default)]
        pub struct $name {
            #[serde(default)]
            pub orders: Vec<String>,
            #[serde(default)]
            pub items: Vec<String>,
            #[serde(default)]
            pub packages: Vec<String>,
        }
    )*};
}

activities! {
    PlaceOrder = "place order",
    ConfirmOrder = "confirm order",
    PayOrder = "pay order",
    PaymentReminder = "payment reminder",
    PickItem = "pick item",
    ItemOutOfStock = "item out of stock",
    ReorderItem = "reorder item",
    CreatePackage = "create package",
    SendPackage = "send package",
    FailedDelivery = "failed delivery",
    PackageDelivered = "package delivered",
}

/// Asks for another attempt. Of the orders in a package, the one with its first item asks.
#[command(subject = package_id)]
pub struct RetryDelivery {
    pub package_id: String,
    pub order_id: String,
}

#[command(subject = order_id)]
pub struct CloseOrder {
    pub order_id: String,
    pub reminders: u32,
    pub failed_deliveries: u32,
}

#[data]
pub struct Order {
    order_id: String,
    confirmed: bool,
    paid: bool,
    reminders: u32,
    failed_deliveries: u32,
    items: BTreeMap<String, Item>,
    packages: BTreeMap<String, Package>,
}

#[data]
#[derive(Default)]
pub struct Item {
    picked: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    out_of_stock: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    reordered: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    package: Option<String>,
}

#[data]
#[derive(Default)]
pub struct Package {
    /// Whether this order speaks for the package.
    leads: bool,
    sent: bool,
    delivered: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

pub struct OrderFulfilment;

#[process_manager(state = Order, sends(RetryDelivery, CloseOrder))]
impl OrderFulfilment {
    #[on(start, key = "/orders")]
    fn placed(event: PlaceOrder, ctx: &mut Ctx<Self>) -> Result<Order> {
        let order_id = ctx.key().to_owned();
        for item in &event.items {
            ctx.claim(item.as_str());
        }
        Ok(Order {
            order_id,
            confirmed: false,
            paid: false,
            reminders: 0,
            failed_deliveries: 0,
            items: event.items.into_iter().map(|item| (item, Item::default())).collect(),
            packages: BTreeMap::new(),
        })
    }

    #[on(key = "/orders", absent = hold("10m"))]
    fn confirmed(order: &mut Order, _: ConfirmOrder, _: &mut Ctx<Self>) -> Result {
        order.confirmed = true;
        Ok(())
    }

    #[on(key = "/orders", absent = hold("10m"))]
    fn paid(order: &mut Order, _: PayOrder, ctx: &mut Ctx<Self>) -> Result {
        order.paid = true;
        close_if_done(order, ctx)
    }

    #[on(key = "/orders", absent = hold("10m"))]
    fn reminded(order: &mut Order, _: PaymentReminder, _: &mut Ctx<Self>) -> Result {
        order.reminders += 1;
        Ok(())
    }

    #[on(key = "/items", absent = hold("10m"))]
    fn picked(order: &mut Order, event: PickItem, _: &mut Ctx<Self>) -> Result {
        each_of(order, &event.items, |item| item.picked = true);
        Ok(())
    }

    #[on(key = "/items", absent = hold("10m"))]
    fn out_of_stock(order: &mut Order, event: ItemOutOfStock, _: &mut Ctx<Self>) -> Result {
        each_of(order, &event.items, |item| item.out_of_stock += 1);
        Ok(())
    }

    #[on(key = "/items", absent = hold("10m"))]
    fn reordered(order: &mut Order, event: ReorderItem, _: &mut Ctx<Self>) -> Result {
        each_of(order, &event.items, |item| item.reordered += 1);
        Ok(())
    }

    #[on(key = "/items", absent = hold("10m"))]
    fn packed(order: &mut Order, event: CreatePackage, ctx: &mut Ctx<Self>) -> Result {
        let leads = event.items.first().is_some_and(|first| order.items.contains_key(first));
        for package in &event.packages {
            ctx.claim(package.as_str());
            order.packages.entry(package.clone()).or_default().leads = leads;
            each_of(order, &event.items, |item| item.package = Some(package.clone()));
        }
        Ok(())
    }

    #[on(key = "/packages", absent = hold("10m"))]
    fn sent(order: &mut Order, event: SendPackage, _: &mut Ctx<Self>) -> Result {
        for package in &event.packages {
            order.packages.entry(package.clone()).or_default().sent = true;
        }
        Ok(())
    }

    #[on(key = "/packages", absent = hold("10m"))]
    fn not_delivered(order: &mut Order, event: FailedDelivery, ctx: &mut Ctx<Self>) -> Result {
        order.failed_deliveries += 1;
        for package_id in event.packages {
            let package = order.packages.get(&package_id);
            if package.is_some_and(|package| package.leads && !package.delivered) {
                ctx.send(RetryDelivery { package_id, order_id: order.order_id.clone() })?;
            }
        }
        Ok(())
    }

    #[on(key = "/packages", absent = hold("10m"))]
    fn delivered(order: &mut Order, event: PackageDelivered, ctx: &mut Ctx<Self>) -> Result {
        for package in &event.packages {
            order.packages.entry(package.clone()).or_default().delivered = true;
        }
        close_if_done(order, ctx)
    }
}

fn each_of(order: &mut Order, items: &[String], change: impl Fn(&mut Item)) {
    for item in items {
        if let Some(item) = order.items.get_mut(item) {
            change(item);
        }
    }
}

fn close_if_done(order: &Order, ctx: &mut Ctx<OrderFulfilment>) -> Result {
    let is_delivered = |item: &Item| {
        let package = item.package.as_ref().and_then(|package| order.packages.get(package));
        package.is_some_and(|package| package.delivered)
    };
    if !order.paid || !order.items.values().all(is_delivered) {
        return Ok(());
    }
    ctx.complete();
    ctx.send(CloseOrder {
        order_id: order.order_id.clone(),
        reminders: order.reminders,
        failed_deliveries: order.failed_deliveries,
    })
}
