"""The reservation of an order: the stock is reserved when the order is placed, shipped when it is
paid, and released when it is not paid in time."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sagabox import (
    Context,
    PermanentError,
    TransientError,
    Undeliverable,
    command,
    event,
    hold,
    migrate,
    on,
    on_cancel,
    on_timer,
    on_undeliverable,
    process_manager,
    start,
    timer,
)


@event
class OrderPlaced:
    order_id: str
    customer_id: str
    sku: str
    quantity: int


@event
class OrderPaid:
    order_id: str


@event
class OrderShipped:
    order_id: str


@event(subject="customer_id")
class ReservationLapsed:
    customer_id: str
    order_id: str


@command(subject="order_id")
class ReserveStock:
    order_id: str
    sku: str
    quantity: int


@command(subject="order_id")
class ReleaseStock:
    order_id: str
    sku: str
    quantity: int


@command(subject="order_id")
class ShipOrder:
    order_id: str


@command(subject="order_id")
class RejectOrder:
    order_id: str
    reason: str


@dataclass
class Stock:
    """The answer of the lookup ``stock``."""

    available: int
    #: The stock is being counted, and the number is not reliable now.
    counting: bool


@timer
class Deadline:
    """The order was not paid in time."""


@dataclass
class Order:
    """The state of a process: one for each order."""

    order_id: str
    customer_id: str
    sku: str
    quantity: int
    status: Literal["reserved", "paid"] = "reserved"


@process_manager(
    state=Order,
    state_version=2,
    sends=[ReserveStock, ReleaseStock, ShipOrder, RejectOrder],
    emits=[ReservationLapsed],
    lookups=["stock"],
    streams=True,
)
class Reservation:
    @start(OrderPlaced, key="/orderId")
    def placed(self, event: OrderPlaced, ctx: Context) -> Order:
        if event.quantity == 0:
            raise PermanentError(f"order {event.order_id} has no quantity")
        stock = ctx.lookup("stock", event.sku, Stock)
        if stock is not None and stock.counting:
            raise TransientError(f"the stock of {event.sku} is being counted")
        order = Order(event.order_id, event.customer_id, event.sku, event.quantity)
        if stock is None or stock.available < order.quantity:
            self.reject(order, "sold out", ctx)
            return order
        ctx.send(ReserveStock(order.order_id, order.sku, order.quantity))
        ctx.set_timer(Deadline(), self.time_to_pay(order, ctx))
        return order

    @on(OrderPaid, key="/orderId", absent=hold("10m"))
    def paid(self, order: Order, event: OrderPaid, ctx: Context) -> None:
        order.status = "paid"
        ctx.cancel_timer(Deadline)
        ctx.send(ShipOrder(order.order_id))

    @on(OrderShipped, key="/orderId")
    def shipped(self, order: Order, event: OrderShipped, ctx: Context) -> None:
        ctx.complete()

    @on_timer(Deadline)
    def too_late(self, order: Order, timer: Deadline, ctx: Context) -> None:
        ctx.emit(ReservationLapsed(order.customer_id, order.order_id))
        self.release(order, ctx)

    @on_undeliverable
    def undeliverable(self, order: Order, command: Undeliverable, ctx: Context) -> None:
        if command.parse(ReserveStock) is not None:
            self.reject(order, command.reason, ctx)

    @on_cancel
    def cancelled(self, order: Order, ctx: Context) -> None:
        self.release(order, ctx)

    @migrate(1, to=2)
    def paid_to_status(self, state: dict[str, Any]) -> dict[str, Any]:
        """Version 1 had ``paid`` (true or false) in place of ``status``."""
        state["status"] = "paid" if state.pop("paid") else "reserved"
        return state

    @migrate(2, to=1)
    def status_to_paid(self, state: dict[str, Any]) -> dict[str, Any]:
        state["paid"] = state.pop("status") == "paid"
        return state

    def time_to_pay(self, order: Order, ctx: Context) -> timedelta:
        """A customer who let a reservation lapse before has an hour, others have a day."""
        lapsed = ctx.stream(order.customer_id, ReservationLapsed)
        return timedelta(hours=1 if lapsed else 24)

    def reject(self, order: Order, reason: str, ctx: Context) -> None:
        ctx.complete()
        ctx.send(RejectOrder(order.order_id, reason))

    def release(self, order: Order, ctx: Context) -> None:
        ctx.complete()
        ctx.send(ReleaseStock(order.order_id, order.sku, order.quantity))
