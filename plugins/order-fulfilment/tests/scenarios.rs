use order_fulfilment::*;
use sagabox_sdk::testing::{Given, given};

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).into()).collect()
}

/// An order with two items, of which `i-1` leads package `p-1`.
fn packed() -> Given<OrderFulfilment> {
    let place =
        PlaceOrder { orders: ids(&["o"]), items: ids(&["i-1", "i-2"]), ..Default::default() };
    let first = CreatePackage {
        items: ids(&["i-1", "x-9"]),
        packages: ids(&["p-1"]),
        ..Default::default()
    };
    let second = CreatePackage {
        items: ids(&["x-8", "i-2"]),
        packages: ids(&["p-2"]),
        ..Default::default()
    };
    given::<OrderFulfilment>()
        .key("o")
        .when(place)
        .claims(["i-1", "i-2"])
        .done()
        .when(first)
        .claims(["p-1"])
        .done()
        .when(second)
        .claims(["p-2"])
        .done()
}

fn delivered(package: &str) -> PackageDelivered {
    PackageDelivered { packages: ids(&[package]), ..Default::default() }
}

fn failed(package: &str) -> FailedDelivery {
    FailedDelivery { packages: ids(&[package]), ..Default::default() }
}

fn paid() -> PayOrder {
    PayOrder { orders: ids(&["o"]), ..Default::default() }
}

#[test]
fn an_order_is_closed_when_it_is_paid_and_every_item_delivered() {
    let close = || CloseOrder { order_id: "o".into(), reminders: 1, failed_deliveries: 0 };
    let reminder = || PaymentReminder { orders: ids(&["o"]), ..Default::default() };
    packed()
        .event(delivered("p-1"))
        .event(reminder())
        .when(delivered("p-2"))
        .sends_nothing()
        .goes_on()
        .done()
        .when(paid())
        .sends([close()])
        .completes();
    packed()
        .event(reminder())
        .event(paid())
        .event(delivered("p-2"))
        .when(delivered("p-1"))
        .sends([close()])
        .completes();
}

#[test]
fn a_failed_delivery_is_retried_by_the_order_that_leads_the_package() {
    packed()
        .when(failed("p-1"))
        .sends([RetryDelivery { package_id: "p-1".into(), order_id: "o".into() }])
        .done()
        .when(failed("p-2"))
        .sends_nothing();
}
