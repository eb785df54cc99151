"""Codecs of types that are one JSON value. A codec reads a parsed value and writes JSON text."""

from __future__ import annotations

import base64
import binascii
import enum
import math
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Callable, Iterator

from ._json import Json, quote, shown
from ._time import format_span, format_time, parse_span, parse_time
from .errors import Mismatch

Schema = dict[str, Any]


class Codec:
    """How one type is read, written and described."""

    #: Numbers with a fraction must be parsed as ``Decimal``.
    exact = False
    #: A ``Json`` within needs its own piece of the text.
    raw = False
    is_json = False
    #: A field of this type may be absent; it is ``None`` then.
    optional = False

    def decode(self, value: Any) -> Any:
        raise NotImplementedError

    def encode(self, value: Any) -> str:
        raise NotImplementedError

    def accepts(self, value: Any) -> bool:
        """Whether a Python value is of this type, without a look inside."""
        raise NotImplementedError

    def schema(self, made: Any) -> Schema:
        """``made`` collects the definitions, and knows whether data is read or written."""
        raise NotImplementedError

    def children(self) -> Iterator[Codec]:
        return iter(())

    def member(self, name: str) -> Codec | None:
        """The codec of an object's member."""
        return None

    def element(self, index: int) -> Codec | None:
        """The codec of an array's element."""
        return None


def expected(what: str, value: Any) -> Mismatch:
    return Mismatch(f"expected {what}, found {shown(value)}")


class Text(Codec):
    def decode(self, value: Any) -> str:
        if value.__class__ is not str:
            raise expected("a string", value)
        return value

    def encode(self, value: Any) -> str:
        try:
            return quote(value)
        except TypeError:
            raise expected("a str", value) from None

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str)

    def schema(self, made: Any) -> Schema:
        return {"type": "string"}


def is_int(value: Any) -> bool:
    """Python counts a bool among the integers; JSON does not."""
    return isinstance(value, int) and value is not True and value is not False


class Boolean(Codec):
    def decode(self, value: Any) -> bool:
        if value is True or value is False:
            return value
        raise expected("true or false", value)

    def encode(self, value: Any) -> str:
        if value is True:
            return "true"
        if value is False:
            return "false"
        raise expected("a bool", value)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)

    def schema(self, made: Any) -> Schema:
        return {"type": "boolean"}


class Integer(Codec):
    def decode(self, value: Any) -> int:
        if value.__class__ is not int:
            raise expected("an integer", value)
        return value

    def encode(self, value: Any) -> str:
        if is_int(value):
            return number_text(value)
        raise expected("an int", value)

    def accepts(self, value: Any) -> bool:
        return is_int(value)

    def schema(self, made: Any) -> Schema:
        return {"type": "integer"}


class Float(Codec):
    def decode(self, value: Any) -> float:
        kind = value.__class__
        if kind is float or kind is int or kind is Decimal:
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if number - number == 0.0:
                return number
            raise Mismatch("the number is out of range")
        raise expected("a number", value)

    def encode(self, value: Any) -> str:
        if isinstance(value, float) or is_int(value):
            return number_text(value)
        raise expected("a float", value)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, float) or is_int(value)

    def schema(self, made: Any) -> Schema:
        return {"type": "number"}


class Exact(Codec):
    """``decimal.Decimal``, digit by digit; read from a number, or from a string with a number."""

    exact = True
    _NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)

    def decode(self, value: Any) -> Decimal:
        if isinstance(value, Decimal):
            return value
        kind = value.__class__
        if kind is int:
            return Decimal(value)
        if kind is str and self._NUMBER.fullmatch(value):
            return Decimal(value)
        raise expected("a decimal number", value)

    def encode(self, value: Any) -> str:
        if isinstance(value, Decimal) or is_int(value):
            return number_text(value)
        raise expected("a Decimal", value)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, Decimal)

    def schema(self, made: Any) -> Schema:
        return {"type": ["number", "string"] if made.is_read else "number"}


def number_text(value: Any) -> str:
    """A number as JSON, without a change of any digit."""
    if isinstance(value, int):
        try:
            return int.__repr__(value)
        except ValueError as error:
            raise Mismatch(f"the number is out of range: {error}") from None
    if isinstance(value, Decimal):
        if value.is_finite():
            return str(value)
    elif value - value == 0.0:
        return float.__repr__(value)
    raise Mismatch(f"is {value}, and JSON has no such number")


class Within(Codec):
    """A number in a range."""

    def __init__(self, inner: Codec, least: Any, most: Any) -> None:
        self.inner, self.least, self.most = inner, least, most
        self.exact = inner.exact

    def decode(self, value: Any) -> Any:
        return self._checked(self.inner.decode(value))

    def encode(self, value: Any) -> str:
        text = self.inner.encode(value)
        self._checked(value)
        return text

    def _checked(self, value: Any) -> Any:
        is_low = self.least is not None and value < self.least
        is_high = self.most is not None and value > self.most
        if is_low or is_high:
            bound = f"at least {self.least}" if is_low else f"at most {self.most}"
            raise expected(f"a number of {bound}", value)
        return value

    def accepts(self, value: Any) -> bool:
        return self.inner.accepts(value)

    def schema(self, made: Any) -> Schema:
        bounds = {"minimum": self.least, "maximum": self.most}
        given = {name: bound for name, bound in bounds.items() if bound is not None}
        return {**self.inner.schema(made), **given}

    def children(self) -> Iterator[Codec]:
        return iter((self.inner,))


class Null(Codec):
    optional = True

    def decode(self, value: Any) -> None:
        if value is not None:
            raise expected("null", value)

    def encode(self, value: Any) -> str:
        if value is not None:
            raise expected("None", value)
        return "null"

    def accepts(self, value: Any) -> bool:
        return value is None

    def schema(self, made: Any) -> Schema:
        return {"type": "null"}


class Written(Codec):
    """A type that JSON has as a string: a time, a duration, an id, bytes."""

    def __init__(
        self,
        kind: type,
        name: str,
        parse: Callable[[str], Any],
        write: Callable[[Any], str],
        schema: Schema,
    ) -> None:
        self.kind, self.name, self.parse, self.write = kind, name, parse, write
        self._schema: Schema = {"type": "string", **schema}

    def decode(self, value: Any) -> Any:
        if value.__class__ is not str:
            raise expected(self.name, value)
        try:
            return self.parse(value)
        except ValueError as error:
            raise Mismatch(str(error)) from None

    def encode(self, value: Any) -> str:
        if not self.accepts(value):
            raise expected(f"a {self.kind.__name__}", value)
        try:
            return quote(self.write(value))
        except ValueError as error:
            raise Mismatch(str(error)) from None

    def accepts(self, value: Any) -> bool:
        # A datetime is a date to Python, and not to JSON.
        is_other = self.kind is date and isinstance(value, datetime)
        return isinstance(value, self.kind) and not is_other

    def schema(self, made: Any) -> Schema:
        return dict(self._schema)


def _parse_date(text: str) -> date:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) is None:
        raise ValueError(f"`{text}` is no date such as 2026-03-01")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"`{text}` is no date: {error}") from None


def _parse_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the string is not base64") from None


def _write_bytes(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


SPAN_PATTERN = r"^\s*([0-9]+(ms|s|m|h|d)\s*)+$"

WRITTEN: dict[type, Written] = {
    datetime: Written(datetime, "a time", parse_time, format_time, {"format": "date-time"}),
    date: Written(date, "a date", _parse_date, date.isoformat, {"format": "date"}),
    timedelta: Written(
        timedelta, "a duration", parse_span, format_span,
        {"pattern": SPAN_PATTERN, "description": "a duration such as 24h, 90s or 1h 30m"},
    ),
    bytes: Written(
        bytes, "a base64 string", _parse_bytes, _write_bytes, {"contentEncoding": "base64"}
    ),
}


class Anything(Codec):
    """Whatever JSON has: dict, list, str, int, float, bool, None."""

    def decode(self, value: Any) -> Any:
        return plain(value)

    def encode(self, value: Any) -> str:
        return text_of(value)

    def accepts(self, value: Any) -> bool:
        return True

    def schema(self, made: Any) -> Schema:
        return {}


def plain(value: Any, exact: bool = False) -> Any:
    """A parsed value as Python has it. A decimal becomes a ``float`` unless ``exact``."""
    if value.__class__ is tuple:
        return {name: plain(member, exact) for name, member in value}
    if value.__class__ is list:
        return [plain(element, exact) for element in value]
    if value.__class__ is float and value - value != 0.0:
        raise Mismatch("the number is out of range")
    if value.__class__ is Decimal and not exact:
        return FLOAT.decode(value)
    return value


def text_of(value: Any) -> str:
    """The JSON of a value whose type says nothing."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return text_of(value.value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, (int, float, Decimal)):
        return number_text(value)
    if isinstance(value, dict):
        return "{" + ",".join(_members(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_elements(value)) + "]"
    if isinstance(value, Json):
        return value.text
    from ._compile import codec_of_value

    codec = codec_of_value(value)
    return codec.encode(value)


def _members(value: dict[Any, Any]) -> list[str]:
    texts = []
    for name, member in value.items():
        if not isinstance(name, str):
            raise expected("a str as the name of a member", name)
        try:
            texts.append(f"{quote(name)}:{text_of(member)}")
        except Mismatch as mismatch:
            raise mismatch.under(name) from None
    return texts


def _elements(value: list[Any] | tuple[Any, ...]) -> list[str]:
    # No generator: each level of one would need much of a component's stack.
    texts = []
    for index, element in enumerate(value):
        try:
            texts.append(text_of(element))
        except Mismatch as mismatch:
            raise mismatch.under(index) from None
    return texts


class RawJson(Codec):
    """The type ``Json``."""

    raw = True
    is_json = True

    def decode(self, value: Any) -> Json:
        if isinstance(value, Json):
            return value
        raise Mismatch("a Json cannot stand here: make the field around it a Json")

    def encode(self, value: Any) -> str:
        if not isinstance(value, Json):
            raise expected("a Json", value)
        return value.text

    def accepts(self, value: Any) -> bool:
        return isinstance(value, Json)

    def schema(self, made: Any) -> Schema:
        return {}


class Choice(Codec):
    """One of some values: an ``Enum`` or a ``Literal``."""

    def __init__(self, choices: list[tuple[Any, Any]]) -> None:
        #: JSON value and what Python has for it.
        self.choices = choices
        #: 1, 1.0 and True are the same key, so the class is compared as well.
        self.by_value = {value: (value.__class__, choice) for value, choice in choices}
        self.by_identity = {id(choice): text_of(value) for value, choice in choices}
        if len(self.by_value) != len(choices):
            raise Mismatch("two of its values are the same in JSON")
        self.optional = None in self.by_value

    def decode(self, value: Any) -> Any:
        try:
            kind, choice = self.by_value[value]
        except (KeyError, TypeError):
            raise expected(self._names(), value) from None
        if kind is not value.__class__:
            raise expected(self._names(), value)
        return choice

    def _names(self) -> str:
        names = [text_of(value) for value, _ in self.choices]
        return names[0] if len(names) == 1 else f"one of {', '.join(names)}"

    def encode(self, value: Any) -> str:
        text = self.by_identity.get(id(value))
        if text is not None:
            return text
        for json_value, choice in self.choices:
            # An equal string need not be the same object.
            if choice.__class__ is value.__class__ and choice == value:
                return text_of(json_value)
        raise expected(self._names(), value)

    def accepts(self, value: Any) -> bool:
        return any(
            choice is value or (choice.__class__ is value.__class__ and choice == value)
            for _, choice in self.choices
        )

    def schema(self, made: Any) -> Schema:
        values = [value for value, _ in self.choices]
        if all(isinstance(value, str) for value in values):
            return {"type": "string", "enum": values}
        return {"enum": values}


TEXT, BOOLEAN, INTEGER, FLOAT, EXACT = Text(), Boolean(), Integer(), Float(), Exact()
NULL, ANYTHING, RAW_JSON = Null(), Anything(), RawJson()
