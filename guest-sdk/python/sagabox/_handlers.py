"""The decorators of handlers: which events a method takes, by which key, and how."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Callable, Literal, TypeVar, Union

from ._messages import message_of
from ._time import millis_of_span, parse_span
from .errors import DeclarationError

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__sagabox_handler__"
#: RFC 6901, sections 3 and 4.
_POINTER = re.compile(r"(/([^~]|~[01])*)+", re.DOTALL)
#: Of CloudEvents 1.0.
_ATTRIBUTE = re.compile(r"[a-z0-9]+", re.ASCII)


@dataclass(frozen=True)
class Attribute:
    """A correlation key in an attribute or an extension of the event."""

    name: str


@dataclass(frozen=True)
class Prefix:
    """Sources that begin with a text."""

    text: str


@dataclass(frozen=True)
class Hold:
    """An event waits so long for an instance that claims its key."""

    millis: int


#: The correlation key is the event's subject: ``key=subject``.
subject = Attribute("subject")

Key = Union[str, Attribute]
Absent = Union[Hold, Literal["ignore", "fail"]]


def attribute(name: str) -> Attribute:
    """The correlation key is an attribute or an extension: ``key=attribute("tenant")``."""
    if not isinstance(name, str) or _ATTRIBUTE.fullmatch(name) is None:
        raise DeclarationError(f"the name of an attribute is of a-z and 0-9, not {name!r}")
    return Attribute(name)


def prefix(text: str) -> Prefix:
    """Events of the sources that begin so: ``source=prefix("/shop/")``."""
    return Prefix(text)


def hold(duration: timedelta | str) -> Hold:
    """An event without an instance waits so long: ``absent=hold("10m")``."""
    try:
        span = parse_span(duration) if isinstance(duration, str) else duration
        return Hold(millis_of_span(span))
    except ValueError as error:
        raise DeclarationError(str(error)) from None


@dataclass
class Handler:
    """A method, and what its decorator says."""

    kind: str
    #: Event or timer classes, or event types by name.
    takes: tuple[Any, ...]
    key: Key | None = None
    source: str | Prefix | None = None
    absent: Absent = "ignore"
    #: Makes the state with which an instance starts; without it, the state's class does.
    initial: Callable[[], Any] | None = None
    #: For a migration.
    versions: tuple[int, int] = (0, 0)
    name: str = ""
    parameters: int = 0


def on(
    *events: type | str,
    key: Key,
    source: str | Prefix | None = None,
    absent: Absent = "ignore",
) -> Callable[[F], F]:
    """Handles events: ``def name(self, event, ctx)``; in a process manager
    ``def name(self, state, event, ctx)``.

    ``key`` says where the correlation key is: a JSON Pointer such as ``"/orderId"``, ``subject``, or
    ``attribute("name")``. Events that are named by a str come as ``RawEvent``. ``source`` takes the
    events of one sender alone, or of those with a ``prefix``. ``absent`` says what becomes of an event
    without an instance: ``"ignore"``, ``"fail"`` or ``hold("10m")``.
    """
    return _event_handler("on", events, key, source, absent)


def start(
    *events: type | str, key: Key, source: str | Prefix | None = None
) -> Callable[[F], F]:
    """Starts an instance: ``def name(self, event, ctx)`` returns its state.

    An instance that exists ignores the event.
    """
    return _event_handler("start", events, key, source, "ignore")


def start_or_handle(
    *events: type | str,
    key: Key,
    source: str | Prefix | None = None,
    initial: Callable[[], Any] | None = None,
) -> Callable[[F], F]:
    """Handles an event of an instance: ``def name(self, state, event, ctx)``.

    If there is none, an instance starts with the state that ``initial`` makes: without it, the
    state's class without arguments.
    """
    return _event_handler("start_or_handle", events, key, source, "ignore", initial)


def on_timer(*timers: type) -> Callable[[F], F]:
    """Is called when a timer is due: ``def name(self, state, timer, ctx)``."""
    for timer in timers:
        message_of(timer, "timer")
    if not timers:
        raise DeclarationError("@on_timer names its timer: @on_timer(Deadline)")
    return lambda method: _mark(method, Handler("on_timer", timers))


def on_undeliverable(method: F) -> F:
    """Is called when a command of the instance became a dead letter:
    ``def name(self, state, command, ctx)`` with an ``Undeliverable``."""
    return _mark(method, Handler("on_undeliverable", ()))


def on_cancel(method: F) -> F:
    """Is called when an operator asks the instance to end: ``def name(self, state, ctx)``, or
    ``def name(self, state, cancelled, ctx)`` with a ``Cancelled``."""
    return _mark(method, Handler("on_cancel", ()))


def migrate(version: int, *, to: int) -> Callable[[F], F]:
    """Converts a state from one version to another: ``def name(self, state)`` gets and returns the
    JSON as a dict. Several steps are run one after the other."""
    for number in (version, to):
        if not isinstance(number, int) or number < 1:
            raise DeclarationError("versions of a state count from 1: @migrate(1, to=2)")
    return lambda method: _mark(method, Handler("migrate", (), versions=(version, to)))


def _event_handler(
    kind: str,
    events: tuple[Any, ...],
    key: Any,
    source: Any,
    absent: Any,
    initial: Any = None,
) -> Callable[[F], F]:
    if not events:
        raise DeclarationError(f"@{kind} names its event: @{kind}(OrderPlaced, key=\"/orderId\")")
    names = [event for event in events if isinstance(event, str)]
    if names and len(names) != len(events):
        raise DeclarationError("a handler takes event classes, or types by their names, not both")
    for event in events:
        if not isinstance(event, str):
            message_of(event, "event")
    if not isinstance(key, Attribute) and not (isinstance(key, str) and _POINTER.fullmatch(key)):
        raise DeclarationError(
            f"a key is a JSON Pointer such as \"/orderId\", subject, or attribute(\"name\"), not {key!r}"
        )
    if source is not None and not (isinstance(source, (str, Prefix)) and source):
        raise DeclarationError(f"a source is \"/shop\", or prefix(\"/shop/\"), not {source!r}")
    if not isinstance(absent, Hold) and absent not in ("ignore", "fail"):
        raise DeclarationError(f"absent is \"ignore\", \"fail\" or hold(\"10m\"), not {absent!r}")
    return lambda method: _mark(method, Handler(kind, events, key, source, absent, initial))


def _mark(method: F, handler: Handler) -> F:
    if not inspect.isfunction(method):
        raise DeclarationError(f"@{handler.kind} stands on a method of a plugin")
    if hasattr(method, _MARK):
        raise DeclarationError(
            f"`{method.__name__}` has two of these decorators; let it call another method"
        )
    if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
        raise DeclarationError(f"`{method.__name__}` is a plain function: no async, no yield")
    handler.name = method.__name__
    handler.parameters = len(inspect.signature(method).parameters)
    setattr(method, _MARK, handler)
    return method


def handlers_of(cls: type) -> list[Handler]:
    """In the order of the class's text, those of its base classes first."""
    found: dict[str, Handler] = {}
    for base in reversed(cls.__mro__):
        for name, method in base.__dict__.items():
            handler = getattr(method, _MARK, None)
            if isinstance(handler, Handler):
                found[name] = handler
            elif name in found:
                # A method of the same name without a decorator takes the place of a handler.
                del found[name]
    return list(found.values())


def check_shape(handler: Handler, has_state: bool) -> None:
    """Says what a handler must look like, if it looks different."""
    shapes = {
        "on": "self, state, event, ctx" if has_state else "self, event, ctx",
        "start": "self, event, ctx",
        "start_or_handle": "self, state, event, ctx",
        "on_timer": "self, state, timer, ctx",
        "on_undeliverable": "self, state, command, ctx",
        "on_cancel": "self, state, ctx",
        "migrate": "self, state",
    }
    if not has_state and handler.kind != "on":
        raise DeclarationError(
            f"`{handler.name}`: @{handler.kind} is for process managers: only they have instances"
        )
    if not has_state and handler.absent != "ignore":
        raise DeclarationError(f"`{handler.name}`: absent=… is for process managers")
    shape = shapes[handler.kind]
    counts = [len(shape.split(","))]
    if handler.kind == "on_cancel":
        counts.append(4)
    if handler.parameters not in counts:
        raise DeclarationError(f"this handler has the shape `def {handler.name}({shape})`")
