"""The conformance enricher: what it publishes is joined from a stream and a lookup."""

from dataclasses import dataclass

from sagabox import Context, Lookup, Stream, enricher, event, on


@dataclass
class Customer:
    name: str


@event
class Confirmed:
    id: str
    customer: str


@event
class ItemAdded:
    sku: str


@event
class Hidden:
    id: str


@event(subject="id", kw_only=True)
class Published:
    id: str
    name: str | None = None
    items: list[str]


@enricher(emits=[Published], lookups=["customers"], streams=True)
class ConformanceEnricher:
    @on(Confirmed, key="/id")
    def confirmed(self, event: Confirmed, ctx: Context) -> None:
        past, customer = ctx.ask(
            Stream(event.id), Lookup("customers", event.customer, Customer)
        )
        items = [added.sku for one in past if (added := one.parse(ItemAdded)) is not None]
        name = None if customer is None else customer.name
        ctx.emit(Published(id=event.id, name=name, items=items))

    @on(Hidden, key="/id")
    def hidden(self, event: Hidden, ctx: Context) -> None: ...
