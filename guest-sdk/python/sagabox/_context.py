"""What a handler has in hand: ``Context``."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Iterable, Mapping, NoReturn, TypeVar, overload

from . import _log
from . import _wire as wire
from ._compile import codec_of
from ._json import load
from ._messages import RawEvent, RawMessage, message_of, message_of_value, outgoing, raw_event, text
from ._time import due_after, due_at, parse_time, time_of_millis
from .errors import DataError, DeclarationError, Suspended

if TYPE_CHECKING:
    from ._plugin import Plugin

T = TypeVar("T")
if TYPE_CHECKING:
    import typing_extensions

    #: The class of the plugin's settings. A plain ``Context`` says nothing of it.
    C = typing_extensions.TypeVar("C", default=Any)
else:
    C = TypeVar("C")


@dataclass(frozen=True)
class RawAnswer:
    """The answer of a lookup as it came, for ``ctx.lookup(name, key, RawAnswer)``."""

    content_type: str
    data: bytes


@dataclass(frozen=True)
class Lookup:
    """A question for ``Context.ask``: what a lookup knows under a key."""

    name: str
    key: Any
    kind: Any = Any


@dataclass(frozen=True)
class Stream:
    """A question for ``Context.ask``: the events of a subject before this one."""

    subject: str


class Context(Generic[C]):
    """The call: what is known, and what shall happen.

    ``Context[Settings]`` says of which class ``ctx.config`` is.
    """

    __slots__ = (
        "_answers", "_plugin", "_random", "_raw", "_raw_event", "commands", "completed", "events",
        "keys", "questions", "timers",
    )

    def __init__(self, plugin: Plugin, event: Any, raw: Any) -> None:
        self._plugin = plugin
        self._raw_event = event
        self._raw = raw
        self._answers: dict[tuple[str, ...], Any] | None = None
        self._random: random.Random | None = None
        self.commands: list[wire.Message] = []
        self.events: list[wire.Message] = []
        self.timers: list[Any] = []
        self.keys: list[Any] = []
        self.questions: list[tuple[str, ...]] = []
        self.completed = False

    # ---- what shall happen

    def send(
        self,
        command: object,
        *,
        subject: str | None = None,
        extensions: Mapping[str, str] | None = None,
    ) -> None:
        """Sends a command: an object of a ``@command`` class, or a ``RawMessage``.

        Raises ``DataError`` if it has no JSON form.
        """
        known = self._plugin.commands_by_class.get(command.__class__)
        if known is not None and subject is None and extensions is None:
            self.commands.append(known.outgoing(command))
            return
        message = self._outgoing(command, "command", subject, extensions)
        if message.type not in self._plugin.commands:
            self._undeclared(command, message.type, "send", "sends")
        self.commands.append(message)

    def emit(
        self,
        event: object,
        *,
        subject: str | None = None,
        extensions: Mapping[str, str] | None = None,
    ) -> None:
        """Emits an event: an object of an ``@event`` class, or a ``RawMessage``.

        Raises ``DataError`` if it has no JSON form.
        """
        known = self._plugin.events_by_class.get(event.__class__)
        if known is not None and subject is None and extensions is None:
            self.events.append(known.outgoing(event))
            return
        message = self._outgoing(event, "event", subject, extensions)
        if message.type not in self._plugin.events:
            self._undeclared(event, message.type, "emit", "emits")
        self.events.append(message)

    def _outgoing(
        self, value: Any, kind: str, subject: str | None, extensions: Mapping[str, str] | None
    ) -> wire.Message:
        return outgoing(value, kind, subject, None if extensions is None else dict(extensions))

    def _undeclared(self, value: Any, name: str, verb: str, option: str) -> NoReturn:
        added = repr(name) if isinstance(value, RawMessage) else type(value).__name__
        raise DeclarationError(
            f"`{self._plugin.cls.__name__}` does not declare that it {verb}s `{name}`: "
            f"add {added} to {option}=[…]"
        )

    def set_timer(
        self, timer: object, after: timedelta | None = None, *, at: datetime | None = None
    ) -> None:
        """Sets a timer, or sets it anew: its ``@on_timer`` handler is called when it is due.

        It is due ``after`` a duration, or ``at`` a time.
        """
        message = message_of_value(timer, "timer")
        if message.name not in self._plugin.timers:
            name, own = type(timer).__name__, self._plugin.cls.__name__
            raise DeclarationError(
                f"`{own}` has no handler for the timer `{name}`: add @on_timer({name})"
            )
        if (after is None) == (at is None):
            raise DeclarationError("a timer is due `after` a duration or `at` a time")
        for given, kind in ((after, timedelta), (at, datetime)):
            if given is not None and not isinstance(given, kind):
                raise DeclarationError(
                    f"the timer `{message.name}` cannot be set to {given!r:.100}: `after` is a timedelta, and "
                    "`at` a datetime"
                )
        try:
            due: Any
            if after is not None:
                due = wire.Due_After(due_after(after))
            else:
                assert at is not None
                due = wire.Due_At(due_at(at))
        except ValueError as error:
            raise DataError(f"the timer `{message.name}`: {error}") from None
        data = message.written(timer) if message.record.members else b""
        self.timers.append(wire.TimerChange_Set(wire.Timer(message.name, due, data)))

    def cancel_timer(self, timer: type) -> None:
        """The timer does not fire, if it is set: ``ctx.cancel_timer(Deadline)``."""
        self.timers.append(wire.TimerChange_Cancel(message_of(timer, "timer").name))

    def claim(self, key: object) -> None:
        """From now on, events with this key reach the instance too."""
        self.keys.append(wire.KeyChange_Claim(text(str(key), "a claimed key")))

    def release(self, key: object) -> None:
        """Events with this key no longer reach the instance."""
        self.keys.append(wire.KeyChange_Release(text(str(key), "a released key")))

    def complete(self) -> None:
        """The process is complete: what still comes for it is ignored."""
        self.completed = True

    # ---- questions

    @overload
    def lookup(self, name: str, key: object, kind: type[T]) -> T | None: ...
    @overload
    def lookup(self, name: str, key: object, kind: Any = Any) -> Any: ...

    def lookup(self, name: str, key: object, kind: Any = Any) -> Any:
        """What a lookup knows under a key, as ``kind``; ``None`` if it knows nothing.

        Leaves the handler until the host has the answer; then the handler runs again from its
        beginning. Raises ``DataError`` if the answer does not fit.
        """
        return self.ask(Lookup(name, key, kind))[0]

    @overload
    def lookups(self, name: str, keys: Iterable[object], kind: type[T]) -> list[T | None]: ...
    @overload
    def lookups(self, name: str, keys: Iterable[object], kind: Any = Any) -> list[Any]: ...

    def lookups(self, name: str, keys: Iterable[object], kind: Any = Any) -> list[Any]:
        """Several keys of one lookup, asked at once. The answers come in the order of the keys."""
        return self.ask(*(Lookup(name, key, kind) for key in keys))

    @overload
    def stream(self, subject: str) -> list[RawEvent]: ...
    @overload
    def stream(self, subject: str, *kinds: type[T]) -> list[T]: ...

    def stream(self, subject: str, *kinds: Any) -> list[Any]:
        """The events of a subject before this one, in the order of the log.

        With event classes, the events of these types alone, as objects of their classes.
        """
        events: list[RawEvent] = self.ask(Stream(subject))[0]
        if not kinds:
            return events
        by_type = {message_of(kind, "event").name: kind for kind in kinds}
        return [event.parse(by_type[event.type]) for event in events if event.type in by_type]

    def ask(self, *questions: Lookup | Stream) -> list[Any]:
        """Several questions at once; the answers come in their order."""
        found = [self._answer(question) for question in questions]
        if self.questions:
            raise Suspended
        return [
            self._read(question, answer) for question, answer in zip(questions, found)
        ]

    def _answer(self, question: Lookup | Stream) -> Any:
        if self._answers is None:
            self._answers = {_asked(answer.question): answer.value for answer in self._raw.answers}
        if isinstance(question, Lookup):
            asked: tuple[str, ...] = (
                text(question.name, "the name of a lookup"),
                text(str(question.key), f"the key for the lookup `{question.name}`"),
            )
        else:
            asked = (text(question.subject, "the subject of a stream"),)
        answer = self._answers.get(asked)
        if answer is None and asked not in self.questions:
            self.questions.append(asked)
        return answer

    @staticmethod
    def _read(question: Lookup | Stream, answer: Any) -> Any:
        if isinstance(question, Stream):
            is_stream = answer.__class__ is wire.AnswerValue_Events
            return [raw_event(event) for event in answer.value] if is_stream else []
        if answer.__class__ is not wire.AnswerValue_Found:
            return None
        payload = answer.value
        if question.kind is RawAnswer:
            return RawAnswer(payload.content_type, payload.data)
        what = f"the answer of the lookup `{question.name}`"
        return load(codec_of(question.kind), payload.data, what)

    # ---- what is known

    @property
    def now(self) -> datetime:
        """The host's clock, in UTC: the same in every call for this event, and in every replay."""
        return time_of_millis(self._raw.now)

    @property
    def event_time(self) -> datetime | None:
        """When the event happened, by its sender; ``None`` if that is not known."""
        try:
            return None if self._raw_event.time is None else parse_time(self._raw_event.time)
        except ValueError:
            return None

    @property
    def event(self) -> RawEvent:
        """The event's attributes and its data."""
        return raw_event(self._raw_event)

    @property
    def key(self) -> str:
        """The correlation key; the instance's own, for a process manager."""
        return self._raw.key  # type: ignore[no-any-return]

    @property
    def attempt(self) -> int:
        """1 for the first attempt."""
        return self._raw.attempt  # type: ignore[no-any-return]

    @property
    def config(self) -> C:
        """The plugin's section of the host's configuration, as the class of ``config=…``."""
        return self._plugin.settings(self._raw.configuration)  # type: ignore[no-any-return]

    @property
    def seed(self) -> int:
        """128 bits that differ from event to event, and are the same in every retry of one event."""
        first, second, third, fourth = self._raw.seed
        return first << 96 | second << 64 | third << 32 | fourth  # type: ignore[no-any-return]

    @property
    def random(self) -> random.Random:
        """A generator seeded with ``seed``: the same numbers in every retry and replay."""
        if self._random is None:
            self._random = random.Random(self.seed)
        return self._random

    def uuid(self) -> uuid.UUID:
        """A random UUID of version 4, the same in every retry and replay; each call gives a new one."""
        return uuid.UUID(int=self.random.getrandbits(128), version=4)

    def log(self, message: object, level: str = "info") -> None:
        """Writes a line to the host's log, which adds the plugin, the key and the event.

        Levels are ``trace``, ``debug``, ``info``, ``warn`` and ``error``. ``print`` and the module
        ``logging`` write there as well.
        """
        _log.write(level, str(message))


def _asked(question: Any) -> tuple[str, ...]:
    value = question.value
    return (value,) if question.__class__ is wire.Question_Stream else (value.name, value.key)


def question(asked: tuple[str, ...]) -> Any:
    """What the host gets of a question."""
    if len(asked) == 1:
        return wire.Question_Stream(asked[0])
    return wire.Question_Lookup(wire.Lookup(*asked))
