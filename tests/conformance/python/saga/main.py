"""The conformance saga: types, numbers, times, payloads, attributes, settings, failures."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import nan

from sagabox import (
    Context,
    Int64,
    Json,
    PermanentError,
    RawEvent,
    RawMessage,
    TransientError,
    attribute,
    command,
    config,
    event,
    on,
    prefix,
    saga,
    subject,
)


@config
class Settings:
    greeting: str = "hello"
    limit: Int64 | None = None
    patience: timedelta = timedelta(hours=1)


@dataclass
class Members:
    """What an echo has, on its way in and out."""

    id: str
    text: str
    count: Int64
    weight: float
    price: Decimal
    at: datetime
    wait: timedelta | None = None
    note: str | None = None
    any: Json | None = None


@event
class Echo(Members):
    pass


@event
class FromShop:
    id: str


@event
class FromShops:
    id: str


@event
class First:
    id: str


@event
class Second:
    id: str
    count: Int64


@event
class Greet:
    id: str


@event
class Count:
    id: str
    to: Int64


@event
class Seed:
    id: str


@event
class When:
    id: str


@event
class Log:
    id: str


@event
class Fail:
    id: str
    how: str


@command(subject="id")
class Echoed(Members):
    pass


@command(kw_only=True)
class Told:
    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    content_type: str
    data_schema: str | None = None
    extensions: dict[str, str]
    key: str
    attempt: int
    now: datetime


@command
class Keyed:
    type: str
    key: str


@command(subject="id", kw_only=True)
class Greeted:
    id: str
    greeting: str
    limit: Int64 | None = None
    patience: timedelta


@command
class Numbered:
    number: Int64


@command
class Seeded:
    seed: str


@command
class Timed:
    now: datetime
    event: datetime | None = None


@command
class Weighed:
    weights: list[float]


class Refused(Exception):
    """The author's own error."""


@saga(
    sends=[Echoed, "Passed", Told, Keyed, Greeted, Numbered, Seeded, Timed, Weighed],
    config=Settings,
)
class ConformanceSaga:
    @on(Echo, key="/id")
    def echo(self, event: Echo, ctx: Context) -> None:
        ctx.send(
            Echoed(
                id=event.id,
                text=event.text + "!",
                count=event.count + 1,
                weight=event.weight,
                price=event.price + Decimal("0.10"),
                at=event.at + timedelta(hours=24),
                wait=None if event.wait is None else event.wait + timedelta(minutes=1),
                note=event.note,
                any=event.any,
            )
        )

    @on("Pass", key=subject)
    def pass_on(self, event: RawEvent, ctx: Context) -> None:
        extensions = {**event.extensions, "passed": "yes"}
        ctx.send(
            RawMessage("Passed", event.data, event.subject, event.datacontenttype, extensions)
        )

    @on("Tell", key=attribute("id"))
    def tell(self, event: RawEvent, ctx: Context) -> None:
        ctx.send(
            Told(
                id=event.id,
                source=event.source,
                type=event.type,
                subject=event.subject,
                time=event.time,
                content_type=event.datacontenttype,
                data_schema=event.dataschema,
                extensions=event.extensions,
                key=ctx.key,
                attempt=ctx.attempt,
                now=ctx.now,
            )
        )

    @on("KeyedBySubject", key=subject)
    def keyed_by_subject(self, event: RawEvent, ctx: Context) -> None:
        keyed(event.type, ctx)

    @on("KeyedByTenant", key=attribute("tenant"))
    def keyed_by_tenant(self, event: RawEvent, ctx: Context) -> None:
        keyed(event.type, ctx)

    @on("KeyedBySource", key=attribute("source"))
    def keyed_by_source(self, event: RawEvent, ctx: Context) -> None:
        keyed(event.type, ctx)

    @on("KeyedByPointer", key="/orders")
    def keyed_by_pointer(self, event: RawEvent, ctx: Context) -> None:
        keyed(event.type, ctx)

    @on(FromShop, key="/id", source="/shop")
    def from_shop(self, event: FromShop, ctx: Context) -> None:
        keyed("FromShop", ctx)

    @on(FromShops, key="/id", source=prefix("/shops/"))
    def from_shops(self, event: FromShops, ctx: Context) -> None:
        keyed("FromShops", ctx)

    @on(First, Second, key="/id")
    def first_or_second(self, event: First | Second, ctx: Context) -> None:
        match event:
            case First():
                keyed("First", ctx)
            case Second():
                keyed("Second", ctx)

    @on(Greet, key="/id")
    def greet(self, event: Greet, ctx: Context[Settings]) -> None:
        settings = ctx.config
        ctx.send(
            Greeted(
                id=event.id,
                greeting=settings.greeting,
                limit=settings.limit,
                patience=settings.patience,
            )
        )

    @on(Count, key="/id")
    def count(self, event: Count, ctx: Context) -> None:
        for number in range(1, event.to + 1):
            ctx.send(Numbered(number))

    @on(Seed, key="/id")
    def seed(self, event: Seed, ctx: Context) -> None:
        ctx.send(Seeded(f"{ctx.seed:032x}"))

    @on(When, key="/id")
    def when(self, event: When, ctx: Context) -> None:
        ctx.send(Timed(ctx.now, ctx.event_time))

    @on(Log, key="/id")
    def log(self, event: Log, ctx: Context) -> None:
        for level in ("trace", "debug", "info", "warn", "error"):
            ctx.log(f"{level} {event.id}", level)
        print(f"printed {event.id}")

    @on(Fail, key="/id")
    def fail(self, event: Fail, ctx: Context) -> None:
        match event.how:
            case "permanent":
                raise PermanentError(f"refused {event.id}")
            case "transient" if ctx.attempt == 1:
                raise TransientError(f"later {event.id}")
            case "transient":
                ctx.send(Numbered(ctx.attempt))
            case "returned":
                raise Refused(f"returned {event.id}")
            case "thrown":
                ctx.log(f"before {event.id}")
                throw(f"thrown {event.id}")
            case "after":
                ctx.send(Numbered(1))
                raise PermanentError(f"after {event.id}")
            case "nan":
                ctx.send(Weighed([1.0, nan]))


def keyed(type: str, ctx: Context) -> None:
    ctx.send(Keyed(type, ctx.key))


def throw(text: str) -> None:
    raise RuntimeError(text)
