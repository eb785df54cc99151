from decimal import Decimal

from order_saga import (
    CancelOrder,
    CartFinalized,
    InitializeOrder,
    OrderInitialized,
    OrderSaga,
    PaymentCompleted,
    PaymentFailed,
    ProductItem,
    RequestPayment,
    SendPackage,
)
from sagabox.testing import given

PRICE = Decimal("99.5")
ITEMS = [ProductItem("shoes", quantity=2)]


def test_a_finalized_cart_becomes_an_order() -> None:
    given(OrderSaga).when(CartFinalized("c-1", "ann", ITEMS, PRICE)).sends(
        InitializeOrder("c-1", "ann", ITEMS, PRICE)
    )


def test_an_order_is_paid_before_it_is_sent() -> None:
    given(OrderSaga).when(OrderInitialized("o-1", PRICE)).sends(RequestPayment("o-1", PRICE))
    given(OrderSaga).when(PaymentCompleted("o-1", ITEMS)).sends(SendPackage("o-1", ITEMS))


def test_a_failed_payment_is_compensated_by_cancelling() -> None:
    given(OrderSaga).when(PaymentFailed("o-1")).sends(CancelOrder("o-1", "payment failed"))
