"""The conformance reactor: questions and answers, commands and events."""

from dataclasses import dataclass

from sagabox import Context, Int64, PermanentError, RawMessage, command, event, on, reactor


@dataclass
class Stock:
    available: Int64
    substitute: str | None = None


@event
class Check:
    id: str
    skus: list[str]


@event
class Substitute:
    id: str
    sku: str


@event
class History:
    id: str


@event
class Added:
    id: str
    count: Int64


@event
class Announce:
    id: str
    text: str


@command(subject="id")
class Reserve:
    id: str
    sku: str
    available: Int64


@event(subject="id")
class OutOfStock:
    id: str
    sku: str


@event(subject="id")
class Counted:
    id: str
    types: list[str]
    sum: Int64


@reactor(
    sends=[Reserve], emits=[OutOfStock, Counted, "Announced"], lookups=["stock"], streams=True
)
class ConformanceReactor:
    @on(Check, key="/id")
    def check(self, event: Check, ctx: Context) -> None:
        for sku, stock in zip(event.skus, ctx.lookups("stock", event.skus, Stock)):
            if stock is None:
                ctx.emit(OutOfStock(event.id, sku))
            else:
                ctx.send(Reserve(event.id, sku, stock.available))

    @on(Substitute, key="/id")
    def substitute(self, event: Substitute, ctx: Context) -> None:
        sku, stock = event.sku, find(event.sku, ctx)
        while stock.substitute is not None:
            sku = stock.substitute
            stock = find(sku, ctx)
        ctx.send(Reserve(event.id, sku, stock.available))

    @on(History, key="/id")
    def history(self, event: History, ctx: Context) -> None:
        events = ctx.stream(event.id)
        added = [one.count for past in events if (one := past.parse(Added)) is not None]
        ctx.emit(Counted(event.id, [past.type for past in events], sum(added)))

    @on(Announce, key="/id")
    def announce(self, event: Announce, ctx: Context) -> None:
        data = event.text.encode()
        ctx.emit(RawMessage("Announced", data, event.id, "text/plain", {"language": "en"}))


def find(sku: str, ctx: Context) -> Stock:
    stock = ctx.lookup("stock", sku, Stock)
    if stock is None:
        raise PermanentError(f"no stock of {sku}")
    return stock
