use reservation::*;
use sagabox_sdk::hours;
use sagabox_sdk::testing::{Given, given, message};

fn placed(quantity: u32) -> OrderPlaced {
    OrderPlaced { order_id: "o-1".into(), customer_id: "ann".into(), sku: "mug".into(), quantity }
}

fn reserve() -> ReserveStock {
    ReserveStock { order_id: "o-1".into(), sku: "mug".into(), quantity: 2 }
}

fn release() -> ReleaseStock {
    ReleaseStock { order_id: "o-1".into(), sku: "mug".into(), quantity: 2 }
}

fn reject(reason: &str) -> RejectOrder {
    RejectOrder { order_id: "o-1".into(), reason: reason.into() }
}

fn lapsed() -> ReservationLapsed {
    ReservationLapsed { customer_id: "ann".into(), order_id: "o-1".into() }
}

fn given_stock(available: u32) -> Given<Reservation> {
    given::<Reservation>().answer("stock", "mug", Stock { available, counting: false })
}

#[test]
fn an_order_that_is_paid_in_time_is_shipped() {
    given_stock(5)
        .when(placed(2))
        .sends([reserve()])
        .sets_timer(Deadline, hours(24))
        .done()
        .when(OrderPaid { order_id: "o-1".into() })
        .sends([ShipOrder { order_id: "o-1".into() }])
        .cancels_timer::<Deadline>()
        .done()
        .when(OrderShipped { order_id: "o-1".into() })
        .sends_nothing()
        .completes();
}

#[test]
fn the_stock_is_released_when_the_time_is_over() {
    given_stock(5)
        .event(placed(2))
        .when_time_passes(hours(23))
        .sends_nothing()
        .done()
        .when_time_passes(hours(1))
        .sends_all([message(&release()), message(&lapsed())])
        .completes();
}

#[test]
fn a_customer_who_let_a_reservation_lapse_has_an_hour() {
    given_stock(5).in_stream("ann", lapsed()).when(placed(2)).sets_timer(Deadline, hours(1));
}

#[test]
fn what_is_not_in_stock_is_rejected() {
    given_stock(1).when(placed(2)).sends([reject("sold out")]).completes();
    given::<Reservation>()
        .missing("stock", "mug")
        .when(placed(2))
        .sends([reject("sold out")])
        .completes();
}

#[test]
fn a_reservation_that_the_warehouse_does_not_take_is_rejected() {
    given_stock(5)
        .event(placed(2))
        .when_undeliverable(reserve(), "the warehouse is closed")
        .sends([reject("the warehouse is closed")])
        .completes();
}

#[test]
fn a_cancelled_order_is_released() {
    given_stock(5).event(placed(2)).when_cancelled().sends([release()]).completes();
}

#[test]
fn an_order_without_a_quantity_fails_and_a_count_is_waited_for() {
    given::<Reservation>().when(placed(0)).fails("order o-1 has no quantity");
    given::<Reservation>()
        .answer("stock", "mug", Stock { available: 5, counting: true })
        .when(placed(2))
        .fails("the stock of mug is being counted");
}
