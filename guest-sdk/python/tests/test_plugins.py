"""Roles, handlers, questions, timers, failures: what a plugin decides."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from types import FunctionType
from typing import Any

import pytest

from sagabox import (
    Cancelled,
    Context,
    DeclarationError,
    Lookup,
    PermanentError,
    RawAnswer,
    RawEvent,
    RawMessage,
    Stream,
    TransientError,
    Undeliverable,
    attribute,
    command,
    config,
    enricher,
    event,
    hold,
    on,
    on_cancel,
    on_timer,
    on_undeliverable,
    prefix,
    process_manager,
    reactor,
    saga,
    start,
    start_or_handle,
    subject,
    timer,
)
from sagabox._plugin import plugin_of
from sagabox.testing import given

HOUR = timedelta(hours=1)


@event
class OrderPlaced:
    order_id: str
    amount: int = 1


@event(type="order paid", subject="order_id")
class OrderPaid:
    order_id: str


@event
class ItemAdded:
    sku: str


@event(subject="order_id")
class OrderClosed:
    order_id: str


@command(subject="order_id")
class ChargeCard:
    order_id: str
    amount: int = 1


@command
class CancelOrder:
    order_id: str
    reason: str


@timer
class PaymentReminder:
    times: int


@timer(name="end")
class Deadline:
    pass


@dataclass
class Stock:
    available: int


@config
class Settings:
    patience: timedelta = HOUR
    greeting_line: str | None = None


@saga(sends=[ChargeCard, "raw command"], config=Settings)
class Payments:
    @on(OrderPlaced, OrderPaid, key="/orderId", source=prefix("/shop/"))
    def placed(self, event: OrderPlaced | OrderPaid, ctx: Context[Settings]) -> None:
        match event:
            case OrderPlaced(order_id, amount):
                ctx.send(ChargeCard(order_id, amount), extensions={"tenant": "acme"})
            case OrderPaid():
                ctx.send(RawMessage("raw command", b"\x00", "s", "image/png", {"a": "b"}))

    @on("archived", "deleted", key=subject, source="/shop")
    def gone(self, event: RawEvent, ctx: Context[Settings]) -> None:
        line = ctx.config.greeting_line or f"{event.type} {event.extensions} {event.data!r}"
        ctx.log(f"{line} {ctx.key} {ctx.attempt} {ctx.config.patience}")

    @on("tenant changed", key=attribute("tenant"))
    def changed(self, event: RawEvent, ctx: Context[Settings]) -> None:
        raise KeyError(helper(event.type))


def helper(text: str) -> str:
    return text.upper()


def test_a_saga_sends_commands() -> None:
    then = given(Payments).when(OrderPlaced("o", 3)).sends(ChargeCard("o", 3))
    sent = then._decision.commands[0]
    assert (sent.type, sent.subject, sent.data) == ("ChargeCard", "o", b'{"orderId":"o","amount":3}')
    assert [(one.name, one.value) for one in sent.extensions] == [("tenant", "acme")]
    raw = RawMessage("raw command", b"\x00", "s", "image/png", {"a": "b"})
    assert then.then.when(OrderPaid("o")).sent == [raw]


def test_a_handler_of_several_names_takes_raw_events(capsys: Any) -> None:
    deleted = RawEvent("deleted", b"\xff", "o", extensions={"x": "y"})
    given(Payments, key="k").when(deleted).sends_nothing()
    assert capsys.readouterr().out == "deleted {'x': 'y'} b'\\xff' k 1 1:00:00\n"
    given(Payments, config=Settings(HOUR * 2, "hi")).attempt(2).when(deleted)
    assert capsys.readouterr().out == "hi key 2 2:00:00\n"
    given(Payments, config={"patience": "90s"}).when(deleted)
    assert "0:01:30" in capsys.readouterr().out


def test_settings_that_the_class_does_not_have_are_refused() -> None:
    wrong = given(Payments, config={"patienc": "1h"}).when(RawEvent("deleted"))
    wrong.fails("the plugin's configuration does not fit: unknown member `patienc`", transient=False)


def test_an_unexpected_error_is_permanent_with_its_place(capsys: Any) -> None:
    then = given(Payments).when(RawEvent("tenant changed", extensions={"tenant": "t"}))
    then.fails("KeyError: 'TENANT CHANGED' (", transient=False)
    assert then.failure is not None
    assert "test_plugins.py:" in then.failure
    assert "in changed)" in then.failure
    assert "KeyError: 'TENANT CHANGED'\n  at " in capsys.readouterr().out


def test_data_that_does_not_fit_is_a_permanent_failure_without_a_traceback(capsys: Any) -> None:
    then = given(Payments).when(RawEvent("OrderPlaced", b'{"orderId":"o","amount":"x"}'))
    then.fails("the data of `OrderPlaced` does not fit: `/amount`: expected an integer")
    assert capsys.readouterr().out == ""


def test_an_event_without_a_handler_is_a_dead_letter_or_ignored() -> None:
    given(Payments).when(RawEvent("other")).fails("the plugin has no handler for `other`")

    @saga(unhandled="ignore")
    class Ignoring:
        @on("a", key=subject)
        def a(self, event: RawEvent, ctx: Context) -> None: ...

    given(Ignoring).when(RawEvent("other")).sends_nothing()


@enricher(emits=[OrderClosed], lookups=["stock", "photo"], streams=True)
class Asking:
    calls = 0

    @on(OrderPlaced, key="/orderId")
    def placed(self, event: OrderPlaced, ctx: Context) -> None:
        Asking.calls += 1
        added = ctx.stream(event.order_id, ItemAdded)
        stocks = ctx.lookups("stock", [one.sku for one in added], Stock)
        if all(stock is not None and stock.available > 0 for stock in stocks):
            ctx.emit(OrderClosed(event.order_id))

    @on(OrderPaid, key="/orderId")
    def paid(self, event: OrderPaid, ctx: Context) -> None:
        try:
            stock, events = ctx.ask(Lookup("stock", 7, Stock), Stream("s"))
        except Exception as error:
            raise AssertionError("a question is no Exception") from error
        photo = ctx.lookup("photo", "p", RawAnswer)
        assert photo == RawAnswer("application/json", b'"x"')
        assert ctx.lookup("photo", "p") == "x"
        assert (stock, [one.type for one in events]) == (Stock(1), ["ItemAdded", "other"])
        assert events[0].parse(ItemAdded) == ItemAdded("a")
        assert events[0].parse(OrderPaid) is None
        assert events[0].json() == {"sku": "a"}
        ctx.emit(OrderClosed(event.order_id))


def test_questions_leave_the_handler_until_they_are_answered() -> None:
    Asking.calls = 0
    asking = given(Asking).in_stream("o", ItemAdded("a"), RawEvent("other"), ItemAdded("b"))
    asking.answer("stock", "a", Stock(1)).answer("stock", "b", {"available": 2})
    asking.when(OrderPlaced("o")).sends(OrderClosed("o"))
    assert Asking.calls == 3
    given(Asking).in_stream("o", ItemAdded("a")).missing("stock", "a").when(OrderPlaced("o")).sends()


def test_several_questions_are_asked_at_once() -> None:
    asking = given(Asking).answer("stock", 7, Stock(1)).answer("photo", "p", "x")
    asking.in_stream("s", ItemAdded("a"), RawEvent("other")).when(OrderPaid("o")).sends(OrderClosed("o"))


def test_an_answer_that_does_not_fit_is_a_failure() -> None:
    asking = given(Asking).in_stream("o", ItemAdded("a")).answer("stock", "a", {"available": "many"})
    asking.when(OrderPlaced("o")).fails("the answer of the lookup `stock` does not fit: `/available`")


@dataclass
class Order:
    order_id: str = ""
    notes: list[str] = field(default_factory=list)
    placed_at: datetime | None = None


@process_manager(
    state=Order, sends=[ChargeCard, CancelOrder], emits=[OrderClosed], lookups=["stock"],
    summary="order {orderId}",
)
class Orders:
    @start(OrderPlaced, key="/orderId")
    def placed(self, event: OrderPlaced, ctx: Context) -> Order:
        if event.amount == 0:
            raise PermanentError("an order of nothing")
        if event.amount == 13:
            raise TransientError("not today")
        ctx.set_timer(PaymentReminder(1), HOUR)
        ctx.set_timer(Deadline(), at=ctx.now + HOUR * 24)
        ctx.send(ChargeCard(event.order_id, event.amount))
        return Order(event.order_id, placed_at=ctx.event_time or ctx.now)

    @start_or_handle(ItemAdded, key="/sku")
    def added(self, order: Order, event: ItemAdded, ctx: Context) -> None:
        order.notes.append(event.sku)
        order.notes.append(str(ctx.lookup("stock", event.sku)))
        ctx.claim(event.sku)

    @on(OrderPaid, key="/orderId", absent=hold("10m"))
    def paid(self, order: Order, event: OrderPaid, ctx: Context) -> Order:
        ctx.cancel_timer(PaymentReminder)
        ctx.release("a")
        return replace(order, notes=["paid"])

    @on("closed", key=subject, absent="fail")
    def closed(self, order: Order, event: RawEvent, ctx: Context) -> None:
        ctx.complete()
        ctx.emit(OrderClosed(order.order_id))

    @on_timer(PaymentReminder)
    def remind(self, order: Order, timer: PaymentReminder, ctx: Context) -> None:
        ctx.send(CancelOrder(order.order_id, f"{timer.times}"))
        ctx.set_timer(PaymentReminder(timer.times + 1), HOUR)

    @on_timer(Deadline)
    def late(self, order: Order, timer: Deadline, ctx: Context) -> None:
        ctx.complete()

    @on_undeliverable
    def undeliverable(self, order: Order, failed: Undeliverable, ctx: Context) -> None:
        charge = failed.parse(ChargeCard)
        if charge is not None:
            ctx.complete()
            ctx.send(CancelOrder(order.order_id, f"{charge.amount}: {failed.reason} {failed.attempts}"))

    @on_cancel
    def cancelled(self, order: Order, cancelled: Cancelled, ctx: Context) -> None:
        ctx.complete()
        ctx.send(CancelOrder(order.order_id, f"{cancelled.by}: {cancelled.reason}"))


def test_an_instance_starts_goes_on_and_completes() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    then = given(Orders, now=noon).when(OrderPlaced("o")).sends(ChargeCard("o"))
    then.state_is(Order("o", placed_at=noon)).goes_on()
    then.sets_timer(PaymentReminder(1), HOUR).sets_timer(Deadline(), at="2026-03-02T12:00:00Z")
    assert then.timers == {"payment-reminder": HOUR, "end": noon + HOUR * 24}
    paid = then.then.when(OrderPaid("o")).cancels_timer(PaymentReminder).releases("a")
    paid.state_is(Order("o", ["paid"], noon))
    closed = paid.then.when(RawEvent("closed")).sends(OrderClosed("o")).completes()
    closed.then.when_time_passes(HOUR * 48).sends_nothing()


def test_timers_fire_one_after_the_other_at_their_times() -> None:
    then = given(Orders).event(OrderPlaced("o")).when_time_passes(timedelta(hours=2, minutes=30))
    then.sends(CancelOrder("o", "1"), CancelOrder("o", "2")).goes_on()
    then.then.wait(HOUR * 21).when_time_passes(HOUR).sends_nothing().completes()
    given(Orders, state=Order("o")).when_timer(PaymentReminder(7)).sends(CancelOrder("o", "7"))


def test_what_a_handler_changed_before_a_question_takes_effect_once() -> None:
    then = given(Orders, now="2026-03-01T12:00:00Z").answer("stock", "a", 5).when(ItemAdded("a"))
    then.state_is(Order(notes=["a", "5"])).claims("a")
    then.then.answer("stock", "b", 6).when(ItemAdded("b")).state_is(Order(notes=["a", "5", "b", "6"]))


def test_the_event_has_a_time_of_its_own() -> None:
    then = given(Orders).event_time("2026-03-01T12:00:00+01:00").when(OrderPlaced("o"))
    assert then.state.placed_at == datetime(2026, 3, 1, 11, tzinfo=timezone.utc)


def test_failures_undeliverable_commands_and_cancellation() -> None:
    given(Orders).when(OrderPlaced("o", 0)).fails("an order of nothing", transient=False)
    assert given(Orders).when(OrderPlaced("o", 13)).fails("not today").is_transient
    placed = given(Orders).event(OrderPlaced("o"))
    placed.when_undeliverable(CancelOrder("o", "x"), "gone").sends_nothing().goes_on()
    then = placed.when_undeliverable(ChargeCard("o", 7), "no card", attempts=3)
    then.sends(CancelOrder("o", "7: no card 3")).completes()
    cancelled = given(Orders).event(OrderPlaced("o")).when_cancelled("ada", "a test")
    cancelled.sends(CancelOrder("o", "ada: a test")).completes()


def test_a_timer_of_an_older_version_is_named() -> None:
    older = RawEvent("sagabox.timer.fired", subject="older")
    given(Orders, state=Order()).when(older).fails("no handler for the timer `older`")


@reactor(sends=[ChargeCard], emits=[OrderClosed])
class Wrong:
    @on(OrderPlaced, key="/orderId")
    def placed(self, event: OrderPlaced, ctx: Context) -> None:
        case = event.order_id
        if case == "undeclared":
            ctx.send(CancelOrder("o", "r"))
        elif case == "event":
            ctx.send(OrderClosed("o"))
        elif case == "class":
            ctx.send(ChargeCard)
        elif case == "subject":
            ctx.send(ChargeCard("cut \ud83d"))
        elif case == "attribute":
            self.last = event
        elif case == "config":
            ctx.config  # noqa: B018
        elif case == "exit":
            raise SystemExit(3)
        elif case == "surrogate":
            raise ValueError("cut \ud83d")
        elif case == "caught":
            try:
                ctx.lookup("stock", "a")
            except BaseException:
                ctx.send(ChargeCard("o"))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("undeclared", "`Wrong` does not declare that it sends `CancelOrder`: add CancelOrder to sends=[…]"),
        ("event", "`OrderClosed` is no command: put @command on the class"),
        ("class", "`ChargeCard` is the class: pass an instance of it, ChargeCard(…)"),
        ("subject", "the subject of `ChargeCard` has half of a surrogate pair"),
        ("attribute", "`Wrong.last` cannot be set"),
        ("config", "`Wrong` does not declare a configuration: add config=Settings"),
        ("exit", "SystemExit: 3 ("),
        ("surrogate", "ValueError: cut \\ud83d ("),
    ],
)
def test_a_mistake_in_a_handler_is_named(case: str, reason: str) -> None:
    given(Wrong).when(OrderPlaced(case)).fails(reason, transient=False)


def test_an_open_question_comes_before_what_was_decided_without_its_answer() -> None:
    plugin = plugin_of(Wrong)
    test = given(Wrong)
    raw = test._event(OrderPlaced("caught"))
    from sagabox import _wire as wire

    context = wire.Context(0, 1, "k", [], "{}", (0, 0, 0, 1))
    _, ctx = plugin.handle(raw, None, context)
    assert ctx.questions == [("stock", "a")]


def test_randomness_is_the_same_in_every_retry() -> None:
    from sagabox import _wire as wire

    def of(seed: tuple[int, int, int, int]) -> Context[Any]:
        raw = wire.Context(0, 1, "k", [], "{}", seed)
        return Context(plugin_of(Wrong), None, raw)

    one, again, other = of((1, 2, 3, 4)), of((1, 2, 3, 4)), of((1, 2, 3, 5))
    assert one.seed == 1 << 96 | 2 << 64 | 3 << 32 | 4
    assert one.uuid() == again.uuid() != other.uuid()
    assert one.random.random() == again.random.random()
    assert one.uuid().version == 4


def test_the_subscriptions_follow_from_the_handlers() -> None:
    found = {one.type: one for one in plugin_of(Payments).manifest.subscriptions}
    assert list(found) == ["OrderPlaced", "order paid", "archived", "deleted", "tenant changed"]
    assert (found["OrderPlaced"].key, found["OrderPlaced"].source) == ("/orderId", prefix("/shop/"))
    assert (found["archived"].key, found["archived"].source) == (subject, "/shop")
    assert found["tenant changed"].key == attribute("tenant")
    found = {one.type: one for one in plugin_of(Orders).manifest.subscriptions}
    effects = [(one.type, one.effect) for one in found.values()]
    assert effects == [
        ("OrderPlaced", "start"), ("ItemAdded", "start_or_handle"), ("order paid", "handle"),
        ("closed", "handle"), ("sagabox.timer.fired", "handle"),
        ("sagabox.command.undeliverable", "handle"), ("sagabox.instance.cancelled", "handle"),
    ]  # fmt: skip
    assert found["order paid"].absent == hold(timedelta(minutes=10))
    assert found["sagabox.timer.fired"].key is None


def test_the_module_logging_writes_as_well(caplog: Any) -> None:
    logging.getLogger("x").warning("as usual")
    assert "as usual" in caplog.text


def declared(make: Any) -> str:
    with pytest.raises(DeclarationError) as error:
        make()
    return str(error.value)


def plugin_with(decorate: Any, method: Any, role: Any = None) -> Any:
    def make() -> None:
        fresh = FunctionType(method.__code__, globals(), method.__name__)
        (role or saga())(type("Made", (), {method.__name__: decorate(fresh)}))

    return make


def plain(self: Any, event: Any, ctx: Any) -> None: ...


def stateful(self: Any, state: Any, event: Any, ctx: Any) -> None: ...


async def asynchronous(self: Any, event: Any, ctx: Any) -> None: ...


@dataclass
class Needs:
    value: int


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: saga()(type("Empty", (), {})), "`Empty` needs a handler"),
        (lambda: on(Stock, key="/a"), "`Stock` is no event: put @event on the class"),
        (lambda: on(key="/a"), "@on names its event"),
        (lambda: on(OrderPlaced, "x", key="/a"), "not both"),
        (lambda: on(OrderPlaced, key="orderId"), "a key is a JSON Pointer"),
        (lambda: on(OrderPlaced, key="/a~2"), "a key is a JSON Pointer"),
        (lambda: attribute("Tenant-Id"), "the name of an attribute"),
        (lambda: on(OrderPlaced, key=subject, source=""), 'a source is "/shop"'),
        (lambda: on(OrderPlaced, key=subject, absent="hold"), 'absent is "ignore"'),
        (lambda: hold("soon"), "no duration"),
        (lambda: on_timer(), "@on_timer names its timer"),
        (lambda: command(subject="id")(type("C", (), {})), "`C` has no field `id`; it has no fields"),
        (lambda: event(3), "@event stands on a class"),
        (plugin_with(on(OrderPlaced, key="/orderId"), stateful), "has the shape `def stateful(self, event, ctx)`"),
        (plugin_with(on(OrderPlaced, key="/orderId"), asynchronous), "no async"),
        (plugin_with(on(OrderPlaced, key="/orderID"), plain), "leads to nothing in `OrderPlaced`, which has orderId, amount"),
        (plugin_with(on(OrderPlaced, key="/orderId", absent="fail"), plain), "absent=… is for process managers"),
        (plugin_with(on_timer(Deadline), stateful), "@on_timer is for process managers"),
        (plugin_with(on(OrderPlaced, OrderPlaced, key="/orderId"), plain), "two handlers take `OrderPlaced`"),
        (
            plugin_with(start_or_handle(OrderPlaced, key="/orderId"), stateful, process_manager(state=Needs)),
            "give all fields a default",
        ),
        (lambda: process_manager(state=Order, state_version=0), "versions of a state count from 1"),
        (plugin_with(on(OrderPlaced, key="/orderId"), plain, saga(sends=ChargeCard)), "sends is a list: sends=[ChargeCard]"),
        (plugin_with(on(OrderPlaced, key="/orderId"), plain, saga(sends=[OrderPaid])), "`OrderPaid` is no command"),
        (plugin_with(on(OrderPlaced, key="/orderId"), plain, saga(sends=["a", "a"])), "sends names `a` twice"),
        (plugin_with(on(OrderPlaced, key="/orderId"), plain, saga(lookups="stock")), "lookups is a list"),
        (plugin_with(on(OrderPlaced, key="/orderId"), plain, saga(config=Stock)), "put @config on the class"),
        (plugin_with(on(OrderPlaced, key="/orderId"), plain, saga(unhandled="no")), "unhandled is 'fail' or 'ignore'"),
        (lambda: plugin_of(Stock), "`Stock` is no plugin"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused_with_what_is_right(make: Any, reason: str) -> None:
    assert reason in declared(make)


def test_a_start_returns_the_state() -> None:
    @process_manager(state=Order)
    class Forgetful:
        @start(OrderPlaced, key="/orderId")
        def placed(self, event: OrderPlaced, ctx: Context) -> None: ...

    given(Forgetful).when(OrderPlaced("o")).fails("`placed` returned None; it must return a Order")


def test_a_timer_is_due_after_or_at() -> None:
    ctx: Context[Any] = Context(plugin_of(Orders), None, None)
    for wrong in ({}, {"after": HOUR, "at": datetime.now(timezone.utc)}):
        with pytest.raises(DeclarationError, match="due `after` a duration or `at` a time"):
            ctx.set_timer(Deadline(), **wrong)
    with pytest.raises(ValueError, match="no time zone"):
        ctx.set_timer(Deadline(), at=datetime(2026, 3, 1))
    with pytest.raises(ValueError, match="negative"):
        ctx.set_timer(Deadline(), -HOUR)
    with pytest.raises(ValueError, match="before 1970"):
        ctx.set_timer(Deadline(), at=datetime(1969, 12, 31, 23, 59, 59, tzinfo=timezone.utc))
    ctx.set_timer(Deadline(), timedelta(microseconds=1001))
    ctx.set_timer(Deadline(), at=datetime(1970, 1, 1, 0, 0, 0, 1001, tzinfo=timezone.utc))
    assert [one.value.due.value for one in ctx.timers] == [2, 2], "a timer is never early"
    for wrong in ({"after": 5}, {"at": 5}):
        with pytest.raises(DeclarationError, match="cannot be set to 5: `after` is a timedelta"):
            ctx.set_timer(Deadline(), **wrong)
    with pytest.raises(DeclarationError, match="`Deadline` is the class"):
        ctx.set_timer(Deadline, HOUR)


def test_what_is_set_on_a_state_under_a_mistyped_name_is_not_lost_silently() -> None:
    @process_manager(state=Order)
    class Mistyped:
        @start(OrderPlaced, key="/orderId")
        def placed(self, event: OrderPlaced, ctx: Context) -> Order:
            order = Order(event.order_id)
            order._note = "not stored, on purpose"  # type: ignore[attr-defined]
            if event.amount == 2:
                order.amuont = 2  # type: ignore[attr-defined]
            return order

    given(Mistyped).when(OrderPlaced("o")).state_is(Order("o"))
    mistaken = given(Mistyped).when(OrderPlaced("o", 2))
    mistaken.fails("`amuont` was set on the state, and `Order` has no field of this name")
