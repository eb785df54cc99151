# Written by `sagabox types`. Needs Python 3.11.

from __future__ import annotations

from typing import Any, Final, Literal, NotRequired, TypeAlias, TypedDict

PAID_TYPE: Final = "Paid"
ORDER_PLACED_TYPE: Final = "order placed"
PAY_NOW_TYPE: Final = "pay.now"


# Event `Paid`, taken by shop.
Paid: TypeAlias = Literal["fully", "in part"]


# A customer has placed an order.
# */ """ \ `end`
#
# Event `order placed`, sent by shop, taken by bank.
OrderPlaced = TypedDict(
    "OrderPlaced",
    {
        "balance": "int | None",
        "count": "NotRequired[int]",
        "extra": "NotRequired[Any]",
        "fee": "NotRequired[float | str]",
        "is-gift": "NotRequired[bool]",
        "lines": "list[Line]",
        "note": "NotRequired[Note | None]",
        # Unique in the shop.
        "orderId": "str",
        "payment": "Payment",
        "place": "list[Any]",
        "prices": "NotRequired[dict[str, float]]",
        "total": "NotRequired[float]",
        "type": "OrderPlacedType2",
    },
)


Line = TypedDict(
    "Line",
    {
        "class": "str",
        "sku": "str",
    },
)


class Note(TypedDict):
    others: NotRequired[list[Note]]
    reply: NotRequired[Note | None]
    text: str


# How it is paid.
Payment: TypeAlias = "PaymentCard | PaymentCash | str"


class PaymentCard(TypedDict):
    by: PaymentCardBy
    number: str


PaymentCardBy: TypeAlias = Literal["card"]


class PaymentCash(TypedDict):
    by: PaymentCashBy


PaymentCashBy: TypeAlias = Literal["cash"]


OrderPlacedType2: TypeAlias = Literal["online", "in store", "2nd", "Self"]


# Command `pay.now`, sent by shop.
PayNow: TypeAlias = "list[Line]"
