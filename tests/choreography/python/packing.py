from enum import Enum

from sagabox import Context, event, on, reactor


class Priority(Enum):
    NORMAL = "normal"
    EXPRESS = "express"


@event
class OrderPriced:
    order_id: str
    total: int
    priority: Priority


@event(subject="order_id")
class OrderPacked:
    order_id: str
    weight: float


@reactor(emits=[OrderPacked])
class Packing:
    @on(OrderPriced, key="/orderId")
    def priced(self, event: OrderPriced, ctx: Context) -> None:
        ctx.emit(OrderPacked(event.order_id, event.total / 10))
