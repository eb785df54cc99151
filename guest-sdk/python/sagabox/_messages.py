"""Events, commands, timers and settings: dataclasses with a name for the outside."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, TypeVar, overload

from . import _wire as wire
from ._compile import OPTIONS, Options, codec_of, record_of
from ._containers import Record
from ._json import Json, dump, load
from ._time import parse_time
from .errors import DataError, DeclarationError

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[Any], Any]:
        return lambda decorated: decorated


T = TypeVar("T")
_META = "__sagabox_message__"
JSON_TYPE = "application/json"


class Message:
    """What ``@event``, ``@command`` or ``@timer`` says of a class."""

    def __init__(self, cls: type, kind: str, name: str, subject: str | None) -> None:
        self.cls, self.kind, self.name, self.subject = cls, kind, name, subject
        self._record: Record | None = None
        self._failing = f"`{name}` cannot be sent"

    @property
    def record(self) -> Record:
        """Compiled at the first use: then all classes of the module are known."""
        if self._record is None:
            self._record = record_of(self.cls)
        return self._record

    def read(self, data: bytes | str) -> Any:
        return load(self.record, data, f"the data of `{self.name}`")

    def written(self, value: Any) -> bytes:
        return dump(self.record, value, self._failing)

    def outgoing(self, value: Any) -> wire.Message:
        """What the host gets of an object of the class."""
        data = dump(self.record, value, self._failing)
        subject = None if self.subject is None else getattr(value, self.subject)
        if subject.__class__ is not str or not subject.isascii():
            subject = _subject(self.name, self.subject_of(value))
        return wire.Message(self.name, subject, JSON_TYPE, [], data)

    def subject_of(self, value: Any) -> str | None:
        if self.subject is None:
            return None
        subject = getattr(value, self.subject)
        return None if subject is None else str(subject)


def message_of(cls: Any, kind: str) -> Message:
    """What is said of a class. Raises ``DeclarationError`` if it is of another kind."""
    message = getattr(cls, "__dict__", {}).get(_META)
    if not isinstance(message, Message) or message.kind != kind:
        name = getattr(cls, "__name__", repr(cls))
        raise DeclarationError(f"`{name}` is no {kind}: put @{kind} on the class")
    return message


def message_of_value(value: Any, kind: str) -> Message:
    """The same of an instance. Raises ``DeclarationError``."""
    if isinstance(value, type) and isinstance(value.__dict__.get(_META), Message):
        name = value.__name__
        raise DeclarationError(f"`{name}` is the class: pass an instance of it, {name}(…)")
    return message_of(type(value), kind)


@overload
@dataclass_transform(field_specifiers=(field,))
def event(cls: type[T], /) -> type[T]: ...
@overload
def event(
    *,
    type: str | None = None,
    subject: str | None = None,
    camel_case: bool = True,
    frozen: bool = False,
    kw_only: bool = False,
) -> Callable[[type[T]], type[T]]: ...


def event(cls: Any = None, /, **options: Any) -> Any:
    """Makes a class an event: a dataclass, whose name is the CloudEvents type.

    ``type`` gives it another CloudEvents type, ``subject`` names the field that is its CloudEvents
    subject. Fields are camelCase in JSON, unless ``camel_case=False``. ``frozen`` and ``kw_only`` are
    those of ``dataclasses.dataclass``.
    """
    return _decorated("event", cls, options)


@overload
@dataclass_transform(field_specifiers=(field,))
def command(cls: type[T], /) -> type[T]: ...
@overload
def command(
    *,
    type: str | None = None,
    subject: str | None = None,
    camel_case: bool = True,
    frozen: bool = False,
    kw_only: bool = False,
) -> Callable[[type[T]], type[T]]: ...


def command(cls: Any = None, /, **options: Any) -> Any:
    """Makes a class a command. The options are those of ``event``."""
    return _decorated("command", cls, options)


@overload
@dataclass_transform(field_specifiers=(field,))
def timer(cls: type[T], /) -> type[T]: ...
@overload
def timer(
    *, name: str | None = None, camel_case: bool = True, frozen: bool = False, kw_only: bool = False
) -> Callable[[type[T]], type[T]]: ...


def timer(cls: Any = None, /, **options: Any) -> Any:
    """Makes a class a timer. Its fields come back when it fires.

    Its name is that of the class in kebab-case, as in ``payment-deadline``, or ``name``.
    """
    return _decorated("timer", cls, options)


@overload
@dataclass_transform(field_specifiers=(field,))
def data(cls: type[T], /) -> type[T]: ...
@overload
def data(
    *, camel_case: bool = True, frozen: bool = False, kw_only: bool = False
) -> Callable[[type[T]], type[T]]: ...


def data(cls: Any = None, /, **options: Any) -> Any:
    """Makes a class a dataclass, as ``dataclasses.dataclass`` does, for a state or a part of an
    event. It is needed for ``camel_case=False`` alone.
    """
    return _decorated("data", cls, options)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def config(cls: type[T], /) -> type[T]:
    """Makes a class the plugin's section in the host's configuration: a frozen dataclass.

    Fields are called as in the file. A member that the class does not have is refused.
    """
    _check_class("config", cls)
    if "__dataclass_fields__" not in cls.__dict__:
        cls = dataclass(frozen=True)(cls)
    setattr(cls, OPTIONS, Options(camel_case=False, strict=True))
    return cls


def _decorated(kind: str, cls: Any, options: dict[str, Any]) -> Any:
    def decorate(cls: Any) -> Any:
        _check_class(kind, cls)
        if "__dataclass_fields__" not in cls.__dict__:
            given = {name: options.get(name, False) for name in ("frozen", "kw_only")}
            cls = dataclass(**given)(cls)
        setattr(cls, OPTIONS, Options(camel_case=options.get("camel_case", True)))
        if kind != "data":
            setattr(cls, _META, _message(kind, cls, options))
        return cls

    return decorate if cls is None else decorate(cls)


def _check_class(kind: str, cls: Any) -> None:
    if not isinstance(cls, type):
        raise DeclarationError(f"@{kind} stands on a class")


def _message(kind: str, cls: type, options: dict[str, Any]) -> Message:
    subject = options.get("subject")
    names = [known.name for known in dataclasses.fields(cls)]
    if subject is not None and subject not in names:
        text = ", ".join(names) or "no fields"
        raise DeclarationError(f"`{cls.__name__}` has no field `{subject}`; it has {text}")
    if kind == "timer":
        name = options.get("name") or _kebab(cls.__name__)
    else:
        name = options.get("type") or cls.__name__
    return Message(cls, kind, name, subject)


def _kebab(name: str) -> str:
    """``PaymentDeadline`` is ``payment-deadline``."""
    letters = [f"-{letter.lower()}" if letter.isupper() else letter for letter in name]
    return "".join(letters).removeprefix("-")


@dataclass
class RawEvent:
    """An event as it came: its attributes, and its data byte for byte."""

    type: str
    data: bytes = b""
    subject: str | None = None
    id: str = "event"
    source: str = "test"
    #: RFC 3339, as the sender wrote it.
    time: str | None = None
    datacontenttype: str = JSON_TYPE
    dataschema: str | None = None
    extensions: dict[str, str] = field(default_factory=dict)

    @property
    def event_time(self) -> datetime | None:
        """When it happened, by its sender; ``None`` if that is not known."""
        try:
            return None if self.time is None else parse_time(self.time)
        except ValueError:
            return None

    def parse(self, cls: typing.Type[T]) -> T | None:
        """The event as a class; ``None`` if it is of another type.

        Raises ``DataError`` if its data does not fit.
        """
        message = message_of(cls, "event")
        if message.name != self.type:
            return None
        return typing.cast(T, message.read(self.data))

    def json(self) -> Any:
        """The data as dict, list, str … Raises ``DataError`` if it is not JSON."""
        return load(codec_of(Any), self.data, f"the data of `{self.type}`")


def raw_event(event: Any) -> RawEvent:
    """From what the host gives."""
    return RawEvent(
        type=event.type,
        data=event.data,
        subject=event.subject,
        id=event.id,
        source=event.source,
        time=event.time,
        datacontenttype=event.datacontenttype,
        dataschema=event.dataschema,
        extensions={extension.name: extension.value for extension in event.extensions},
    )


@dataclass
class RawMessage:
    """A command or an event to send that no class describes: its data byte for byte."""

    type: str
    data: bytes = b""
    subject: str | None = None
    datacontenttype: str = JSON_TYPE
    extensions: dict[str, str] = field(default_factory=dict)


@dataclass
class Undeliverable:
    """A command of this instance that became a dead letter."""

    id: str
    type: str
    #: Why it cannot be delivered.
    reason: str
    #: How often the host tried.
    attempts: int
    #: The command as it was sent, a CloudEvent.
    command: Json

    def parse(self, cls: typing.Type[T]) -> T | None:
        """The command as a class; ``None`` if it is of another type.

        Raises ``DataError`` if its data is no JSON or does not fit.
        """
        message = message_of(cls, "command")
        if message.name != self.type:
            return None
        sent = load(record_of(_Sent), self.command.text, "the command")
        if sent.data is None:
            raise DataError(f"the data of `{self.type}` is not JSON")
        return typing.cast(T, message.read(sent.data.text))


@dataclass
class _Sent:
    data: typing.Optional[Json] = None


@dataclass
class Cancelled:
    """Who asks an instance to end, and why."""

    by: str = ""
    reason: str = ""


def outgoing(
    value: Any, kind: str, subject: str | None, extensions: dict[str, str] | None
) -> wire.Message:
    """What the host gets of a message."""
    if isinstance(value, RawMessage):
        return wire.Message(
            text(value.type, "the type of a message"),
            _subject(value.type, value.subject if subject is None else subject),
            value.datacontenttype,
            _extensions(value.type, {**value.extensions, **(extensions or {})}),
            bytes(value.data),
        )
    message = message_of_value(value, kind)
    made = message.outgoing(value)
    if subject is not None:
        made.subject = _subject(message.name, subject)
    if extensions is not None:
        made.extensions = _extensions(message.name, extensions)
    return made


def _subject(name: str, subject: str | None) -> str | None:
    return None if subject is None else text(subject, f"the subject of `{name}`")


def _extensions(name: str, extensions: dict[str, str]) -> list[wire.Extension]:
    what = f"an extension of `{name}`"
    return [wire.Extension(text(key, what), text(value, what)) for key, value in extensions.items()]


def text(value: Any, what: str) -> str:
    """A text that the host takes: it has no half of a surrogate pair."""
    if not isinstance(value, str):
        raise DataError(f"{what} is no str: {value!r}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise DataError(f"{what} has half of a surrogate pair: {value!a}") from None
    return value


