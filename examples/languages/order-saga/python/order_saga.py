"""The order saga: each step of an order leads to the command for the next."""

from dataclasses import dataclass
from decimal import Decimal

from sagabox import Context, command, event, on, saga


@dataclass
class ProductItem:
    product_id: str
    quantity: int


@event
class CartFinalized:
    cart_id: str
    client_id: str
    product_items: list[ProductItem]
    total_price: Decimal


@event
class OrderInitialized:
    order_id: str
    total_price: Decimal


@event
class PaymentCompleted:
    order_id: str
    product_items: list[ProductItem]


@event
class PaymentFailed:
    order_id: str


@command(subject="cart_id")
class InitializeOrder:
    cart_id: str
    client_id: str
    product_items: list[ProductItem]
    total_price: Decimal


@command(subject="order_id")
class RequestPayment:
    order_id: str
    total_price: Decimal


@command(subject="order_id")
class SendPackage:
    order_id: str
    product_items: list[ProductItem]


@command(subject="order_id")
class CancelOrder:
    order_id: str
    reason: str


@saga(sends=[InitializeOrder, RequestPayment, SendPackage, CancelOrder])
class OrderSaga:
    @on(CartFinalized, key="/cartId")
    def cart_finalized(self, event: CartFinalized, ctx: Context) -> None:
        ctx.send(
            InitializeOrder(event.cart_id, event.client_id, event.product_items, event.total_price)
        )

    @on(OrderInitialized, key="/orderId")
    def order_initialized(self, event: OrderInitialized, ctx: Context) -> None:
        ctx.send(RequestPayment(event.order_id, event.total_price))

    @on(PaymentCompleted, key="/orderId")
    def payment_completed(self, event: PaymentCompleted, ctx: Context) -> None:
        ctx.send(SendPackage(event.order_id, event.product_items))

    @on(PaymentFailed, key="/orderId")
    def payment_failed(self, event: PaymentFailed, ctx: Context) -> None:
        ctx.send(CancelOrder(event.order_id, reason="payment failed"))
