"""Given, when, then: handlers tested natively, without WebAssembly and without a host.

    from sagabox.testing import given

    def test_a_placed_order_is_paid() -> None:
        given(OrderSaga).when(OrderPlaced("o-1")).sends(RequestPayment("o-1"))

``given`` makes a plugin without a past, or an instance that does not exist yet. Methods of ``Given`` say
what is so and let something happen. ``Then`` checks what the plugin decided, and has it as attributes
for plain ``assert`` statements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Mapping

from . import _wire as wire
from ._compile import record_of
from ._containers import Record
from ._context import Context, question
from ._json import Json, dump, scan
from ._messages import (
    JSON_TYPE,
    Message,
    RawEvent,
    RawMessage,
    message_of,
    outgoing,
)
from ._plugin import CANCELLED, TIMER_FIRED, UNDELIVERABLE, Failed, Plugin, plugin_of
from ._scalars import ANYTHING, plain
from ._states import read
from ._time import due_after, due_at, format_span, format_time, millis_of_span, millis_of_time, parse_time

#: A handler that asks this often in one call asks for ever.
ROUNDS_MAX = 16
#: A plugin whose timers set each other anew without end is stopped after so many.
TIMERS_MAX = 10_000

_MISSING = wire.AnswerValue_Missing()


@dataclass
class Decision:
    """What one or several calls decided, in the shapes of the host."""

    state: bytes | None = None
    commands: list[wire.Message] = field(default_factory=list)
    events: list[wire.Message] = field(default_factory=list)
    timers: list[Any] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    complete: bool = False

    def extend(self, other: Decision) -> None:
        self.state = other.state if other.state is not None else self.state
        self.commands += other.commands
        self.events += other.events
        self.timers += other.timers
        self.keys += other.keys
        self.complete = other.complete


def given(
    plugin: type,
    *,
    now: str | datetime | None = None,
    key: str = "key",
    config: object | None = None,
    state: object | None = None,
) -> Given:
    """The beginning of a test: a plugin without a past.

    ``now`` is the host's clock, ``key`` the correlation key, ``config`` the settings (an object of the
    ``@config`` class, or a dict as in ``sagabox.toml``), ``state`` the state of an existing instance.
    """
    made = Given(plugin_of(plugin))
    made._key = key
    if now is not None:
        made.now(now)
    if config is not None:
        made.config(config)
    if state is not None:
        made.state(state)
    return made


class Given:
    """What is so before the next event. Each method returns the object itself, or a ``Then``."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        self._state: bytes | None = None
        self._answers: dict[tuple[str, ...], Any] = {}
        self._configuration = "{}"
        self._now = 1_800_000_000_000
        self._event_time: str | None = None
        self._source = "test"
        self._key = "key"
        self._attempt = 1
        #: When each is due, and its data.
        self._timers: dict[str, tuple[int, bytes]] = {}
        self._complete = False

    # ---- what is so

    def answer(self, lookup: str, key: object, value: object) -> Given:
        """What a lookup knows: a value with a JSON form."""
        data = dump(ANYTHING, value, "the answer")
        found = wire.AnswerValue_Found(wire.Payload(JSON_TYPE, data))
        self._answers[lookup, str(key)] = found
        return self

    def missing(self, lookup: str, key: object) -> Given:
        """A lookup knows nothing under a key."""
        self._answers[lookup, str(key)] = _MISSING
        return self

    def in_stream(self, subject: str, *events: object) -> Given:
        """Events of the stream of a subject, behind those that are there."""
        stream = self._answers.setdefault((subject,), wire.AnswerValue_Events([]))
        stream.value.extend(self._event(event) for event in events)
        return self

    def config(self, config: object) -> Given:
        """The plugin's section of the host's configuration."""
        codec: Any = ANYTHING if isinstance(config, dict) else record_of(type(config))
        self._configuration = dump(codec, config, "the configuration").decode()
        return self

    def state(self, state: object) -> Given:
        """A state that an instance has, instead of the events that led to it."""
        self._state = dump(self._record(), state, "the state")
        return self

    def key(self, key: str) -> Given:
        """The correlation key of the events to come."""
        self._key = key
        return self

    def source(self, source: str) -> Given:
        """The source of the events to come."""
        self._source = source
        return self

    def attempt(self, attempt: int) -> Given:
        """The attempt of the events to come."""
        self._attempt = attempt
        return self

    def now(self, now: str | datetime) -> Given:
        """The host's clock: ``now("2026-03-01T12:00:00Z")``. No timer fires."""
        self._now = millis_of_time(parse_time(now) if isinstance(now, str) else now)
        return self

    def event_time(self, time: str | datetime) -> Given:
        """The attribute ``time`` of the events to come."""
        self._event_time = time if isinstance(time, str) else format_time(time)
        return self

    def event(self, event: object) -> Given:
        """An event that was handled before; what it sent is not looked at."""
        return self.when(event).then

    def wait(self, time: timedelta) -> Given:
        """As ``when_time_passes``; what was sent meanwhile is not looked at."""
        return self.when_time_passes(time).then

    # ---- what happens

    def when(self, event: object) -> Then:
        """An event comes: an object of an ``@event`` class, or a ``RawEvent``."""
        raw = self._event(event)
        self._check_key(raw)
        return self._happens(raw)

    def when_timer(self, timer: object) -> Then:
        """A timer fires, whether it is set or not."""
        message = message_of(type(timer), "timer")
        self._timers.pop(message.name, None)
        return self._happens(_of_host(TIMER_FIRED, message.name, _timer_data(message, timer)))

    def when_time_passes(self, time: timedelta) -> Then:
        """Time passes. The timers that become due fire one after the other, each at its time."""
        until = self._now + millis_of_span(time)
        whole = Decision(complete=self._complete)
        for _ in range(TIMERS_MAX):
            due = min(((due, name) for name, (due, _) in self._timers.items()), default=None)
            if due is None or due[0] > until:
                self._now = until
                return Then(self, whole, None)
            data = self._timers.pop(due[1])[1]
            self._now = max(self._now, due[0])
            then = self._happens(_of_host(TIMER_FIRED, due[1], data))
            if then.failure is not None:
                return then
            whole.extend(then._decision)
        raise AssertionError(f"more than {TIMERS_MAX} timers fire in this time")

    def when_undeliverable(self, command: object, reason: str, attempts: int = 1) -> Then:
        """A command that the instance sent becomes a dead letter."""
        sent = outgoing(command, "command", None, None)
        is_json = sent.datacontenttype == JSON_TYPE and sent.data
        sent_as = {"id": "command", "type": sent.type, "subject": sent.subject}
        whole = {
            "id": "command", "type": sent.type, "reason": reason, "attempts": attempts,
            "command": {**sent_as, "data": Json(sent.data.decode())} if is_json else sent_as,
        }
        return self._happens(_of_host(UNDELIVERABLE, None, dump(ANYTHING, whole, "the event")))

    def when_cancelled(self, by: str = "operator", reason: str = "a test") -> Then:
        """An operator asks for cancellation."""
        data = dump(ANYTHING, {"by": by, "reason": reason}, "the event")
        return self._happens(_of_host(CANCELLED, None, data))

    # ---- how it happens

    def _happens(self, event: wire.Event) -> Then:
        try:
            decision = self._handle(event)
        except Failed as failed:
            return Then(self, Decision(), failed)
        self._apply(decision)
        return Then(self, decision, None)

    def _handle(self, event: wire.Event) -> Decision:
        """Asks the plugin as the host does: again and again, until it has all answers."""
        context = wire.Context(
            self._now, self._attempt, self._key, [], self._configuration, (0, 0, 0, 1)
        )
        for _ in range(ROUNDS_MAX):
            state, ctx = self._plugin.handle(event, self._state, context)
            if not ctx.questions:
                return _decision(state, ctx)
            for asked in ctx.questions:
                answer = self._answers.get(asked, _MISSING)
                context.answers.append(wire.Answer(question(asked), answer))
        raise Failed("asked too often", transient=False)

    def _apply(self, decision: Decision) -> None:
        if decision.state is not None:
            self._state = decision.state
        for change in decision.timers:
            if isinstance(change, wire.TimerChange_Cancel):
                self._timers.pop(change.value, None)
                continue
            timer = change.value
            is_after = isinstance(timer.due, wire.Due_After)
            due = timer.due.value + (self._now if is_after else 0)
            self._timers[timer.name] = (due, timer.data)
        self._complete = decision.complete
        if decision.complete:
            self._timers.clear()

    def _event(self, event: Any) -> wire.Event:
        if isinstance(event, RawEvent):
            extensions = [wire.Extension(*pair) for pair in event.extensions.items()]
            return wire.Event(
                event.id, event.source, event.type, event.subject, event.time,
                event.datacontenttype, event.dataschema, extensions, event.data,
            )
        message = message_of(type(event), "event")
        return wire.Event(
            "event", self._source, message.name, message.subject_of(event), self._event_time,
            JSON_TYPE, None, [], message.written(event),
        )

    def _check_key(self, event: wire.Event) -> None:
        """A host could not know which instance the event is for."""
        own = [one for one in self._plugin.manifest.subscriptions if one.type == event.type]
        if not own or not isinstance(own[0].key, str):
            return
        value = scan(event.data.decode()) if event.data else None
        for part in own[0].key.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            members = dict(value) if isinstance(value, tuple) else {}
            if isinstance(value, list) and name.isdigit() and int(name) < len(value):
                members = {name: value[int(name)]}
            if name not in members:
                has = ", ".join(members) or "no members"
                raise AssertionError(
                    f"the key \"{own[0].key}\" leads to nothing in `{event.type}`, which has {has}"
                )
            value = members[name]

    def _record(self) -> Record:
        if self._plugin.state is None:
            raise AssertionError(f"`{self._plugin.cls.__name__}` has no state")
        return self._plugin.state


class Then:
    """What an event led to. ``then`` goes on to the next event."""

    def __init__(self, given: Given, decision: Decision, failed: Failed | None) -> None:
        self._given, self._decision, self._failed = given, decision, failed
        self._state = given._state

    # ---- to look at

    @property
    def then(self) -> Given:
        """On to the next event."""
        self._decided()
        return self._given

    @property
    def sent(self) -> list[Any]:
        """The commands, and behind them the events: objects of their classes, or ``RawMessage``."""
        decision, plugin = self._decided(), self._given._plugin
        classes = {**plugin.emits, **plugin.sends}
        return [
            _sent(message, classes.get(message.type))
            for message in [*decision.commands, *decision.events]
        ]

    @property
    def state(self) -> Any:
        """The state after the event; ``None`` if there is no instance."""
        self._decided()
        return None if self._state is None else read(self._given._record(), self._state)

    @property
    def timers(self) -> dict[str, timedelta | datetime | None]:
        """The timers that are set, with when they are due, and those that are cancelled: ``None``."""
        found: dict[str, timedelta | datetime | None] = {}
        for change in self._decided().timers:
            is_set = isinstance(change, wire.TimerChange_Set)
            found[change.value.name if is_set else change.value] = (
                _due(change.value.due) if is_set else None
            )
        return found

    @property
    def claimed(self) -> list[str]:
        """The keys that the instance claims by this event."""
        return [one.value for one in self._decided().keys if isinstance(one, wire.KeyChange_Claim)]

    @property
    def released(self) -> list[str]:
        """The keys that the instance releases by this event."""
        return [one.value for one in self._decided().keys if isinstance(one, wire.KeyChange_Release)]

    @property
    def completed(self) -> bool:
        """Whether the process is complete."""
        return self._decided().complete

    @property
    def failure(self) -> str | None:
        """Why the handler failed; ``None`` if it did not."""
        return None if self._failed is None else self._failed.reason

    @property
    def is_transient(self) -> bool:
        """Whether the handler failed so that the host retries."""
        return self._failed is not None and self._failed.transient

    # ---- to check

    def sends(self, *expected: object) -> Then:
        """Exactly these commands and events, in this order, and nothing else."""
        decision = self._decided()
        sent = [_Message(message) for message in [*decision.commands, *decision.events]]
        wanted = [_Message(outgoing(one, _kind(one), None, None)) for one in expected]
        assert sent == wanted, _difference(wanted, sent)
        return self

    def sends_nothing(self) -> Then:
        """Nothing is sent."""
        return self.sends()

    def fails(self, reason: str = "", *, transient: bool | None = None) -> Then:
        """The handler fails, for a reason that contains this text."""
        assert self._failed is not None, f"expected the failure `{reason}`, but it decided"
        found = self._failed.reason
        assert reason in found, f"expected the failure `{reason}`, not `{found}`"
        if transient is not None:
            kind = "transient" if self._failed.transient else "permanent"
            assert self._failed.transient == transient, f"the failure is {kind}: {found}"
        return self

    def state_is(self, expected: object) -> Then:
        """The state after the event is this."""
        state = self.state
        assert state == expected, f"another state than expected\nexpected: {expected}\nis:       {state}"
        return self

    def completes(self) -> Then:
        """The process is complete."""
        assert self.completed, "the process is not complete"
        return self

    def goes_on(self) -> Then:
        """The process is not complete."""
        assert not self.completed, "the process is complete"
        return self

    def claims(self, *expected: str) -> Then:
        """The instance claims these keys, and no others."""
        assert self.claimed == list(expected), f"other keys are claimed: {self.claimed}"
        return self

    def releases(self, *expected: str) -> Then:
        """The instance releases these keys, and no others."""
        assert self.released == list(expected), f"other keys are released: {self.released}"
        return self

    def sets_timer(
        self, timer: object, after: timedelta | None = None, *, at: str | datetime | None = None
    ) -> Then:
        """The event sets this timer, due then: ``sets_timer(Deadline(), timedelta(hours=24))``."""
        message = message_of(type(timer), "timer")
        due: timedelta | datetime | None = parse_time(at) if isinstance(at, str) else at
        if due is None and after is not None:
            due = _due(wire.Due_After(due_after(after)))
        elif isinstance(due, datetime):
            due = _due(wire.Due_At(due_at(due)))
        wanted = _described(message.name, due, _timer_data(message, timer))
        changes = self._decided().timers
        found = [
            _described(one.value.name, _due(one.value.due), one.value.data)
            for one in changes
            if isinstance(one, wire.TimerChange_Set)
        ]
        lines = "\n  ".join(found) or "no timer"
        assert wanted in found, (
            f"another timer is set than expected\nexpected:\n  {wanted}\nset:\n  {lines}"
        )
        return self

    def cancels_timer(self, timer: type) -> Then:
        """The event cancels this timer."""
        name = message_of(timer, "timer").name
        assert self.timers.get(name, 0) is None, f"the timer `{name}` is not cancelled: {self.timers}"
        return self

    def sets_no_timer(self) -> Then:
        """No timer is set or cancelled."""
        assert not self.timers, f"timers are set or cancelled: {self.timers}"
        return self

    def _decided(self) -> Decision:
        assert self._failed is None, f"the handler failed: {self._failed.reason}"
        return self._decision


def _decision(state: bytes | None, ctx: Context[Any]) -> Decision:
    return Decision(state, ctx.commands, ctx.events, ctx.timers, ctx.keys, ctx.completed)


def _timer_data(message: Message, timer: Any) -> bytes:
    return message.written(timer) if message.record.members else b""


def _of_host(type: str, subject: str | None, data: bytes) -> wire.Event:
    return wire.Event("event", "/sagabox/test", type, subject, None, JSON_TYPE, None, [], data)


def _due(due: Any) -> timedelta | datetime:
    if isinstance(due, wire.Due_After):
        return timedelta(milliseconds=due.value)
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=due.value)


def _described(name: str, due: timedelta | datetime | None, data: bytes) -> str:
    when = f"at {format_time(due)}" if isinstance(due, datetime) else ""
    when = f"after {format_span(due)}" if isinstance(due, timedelta) else when
    return f"{name} {when} with {data.decode() or 'no data'}"


def _kind(message: object) -> str:
    known: Mapping[str, Any] = getattr(type(message), "__dict__", {})
    found = known.get("__sagabox_message__")
    return found.kind if isinstance(found, Message) else "command"


def _sent(message: wire.Message, known: Message | None) -> Any:
    if known is not None and message.datacontenttype == JSON_TYPE:
        return known.read(message.data)
    extensions = {one.name: one.value for one in message.extensions}
    return RawMessage(
        message.type, message.data, message.subject, message.datacontenttype, extensions
    )


class _Message:
    """A message that is equal to one that says the same: members in any order, 1 and 1.0 alike."""

    def __init__(self, message: wire.Message) -> None:
        self.type, self.text = message.type, message.data.decode(errors="backslashreplace")
        self.value: Any = message.data
        if message.datacontenttype == JSON_TYPE and message.data:
            self.value = plain(scan(message.data.decode(), exact=True), exact=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Message) and (self.type, self.value) == (other.type, other.value)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"  {self.type} {self.text}"


def _difference(wanted: list[_Message], sent: list[_Message]) -> str:
    def lines(messages: list[_Message]) -> str:
        return "\n".join(map(str, messages)) or "  nothing"

    return f"other messages than expected\nexpected:\n{lines(wanted)}\nsent:\n{lines(sent)}"


__all__ = ["Given", "Then", "given"]
