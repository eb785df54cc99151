from datetime import timedelta

from reservation import (
    Deadline,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    RejectOrder,
    ReleaseStock,
    Reservation,
    ReservationLapsed,
    ReserveStock,
    ShipOrder,
    Stock,
)
from sagabox.testing import Given, given

HOUR = timedelta(hours=1)
PLACED = OrderPlaced("o-1", "ann", "mug", 2)
RESERVE = ReserveStock("o-1", "mug", 2)
RELEASE = ReleaseStock("o-1", "mug", 2)
LAPSED = ReservationLapsed("ann", "o-1")


def given_stock(available: int, *, counting: bool = False) -> Given:
    return given(Reservation).answer("stock", "mug", Stock(available, counting))


def test_an_order_that_is_paid_in_time_is_shipped() -> None:
    placed = given_stock(5).when(PLACED).sends(RESERVE)
    paid = placed.sets_timer(Deadline(), 24 * HOUR).then.when(OrderPaid("o-1"))
    shipped = paid.sends(ShipOrder("o-1")).cancels_timer(Deadline).then.when(OrderShipped("o-1"))
    shipped.sends_nothing().completes()


def test_the_stock_is_released_when_the_time_is_over() -> None:
    waiting = given_stock(5).event(PLACED).when_time_passes(23 * HOUR).sends_nothing()
    waiting.then.when_time_passes(HOUR).sends(RELEASE, LAPSED).completes()


def test_a_customer_who_let_a_reservation_lapse_has_an_hour() -> None:
    given_stock(5).in_stream("ann", LAPSED).when(PLACED).sets_timer(Deadline(), HOUR)


def test_what_is_not_in_stock_is_rejected() -> None:
    given_stock(1).when(PLACED).sends(RejectOrder("o-1", "sold out")).completes()
    unknown = given(Reservation).missing("stock", "mug").when(PLACED)
    unknown.sends(RejectOrder("o-1", "sold out")).completes()


def test_a_reservation_that_the_warehouse_does_not_take_is_rejected() -> None:
    refused = given_stock(5).event(PLACED).when_undeliverable(RESERVE, "the warehouse is closed")
    refused.sends(RejectOrder("o-1", "the warehouse is closed")).completes()


def test_a_cancelled_order_is_released() -> None:
    given_stock(5).event(PLACED).when_cancelled().sends(RELEASE).completes()


def test_an_order_without_a_quantity_fails_and_a_count_is_waited_for() -> None:
    nothing = OrderPlaced("o-1", "ann", "mug", 0)
    given(Reservation).when(nothing).fails("order o-1 has no quantity", transient=False)
    counted = given_stock(5, counting=True).when(PLACED)
    counted.fails("the stock of mug is being counted", transient=True)
