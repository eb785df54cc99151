"""JSON text: strict parsing that keeps what Python's own parser would lose, and writing of strings.

Parsed objects are tuples of (name, value) pairs, arrays are lists. A tuple keeps a member that
appears twice, and the C scanner of the standard library makes it without a call into Python.
"""

from __future__ import annotations

import itertools
import json
import json.encoder
import re
from decimal import Decimal
from typing import Any, NoReturn

from .errors import DataError, Mismatch

#: The JSON text of a string, with all characters that need no escape as they are.
quote = json.encoder.encode_basestring

#: Deeper JSON is refused. A component's 512 KB of stack end at about 1,200 levels, and Python's limit
#: of recursion at about 450, where each level takes two calls.
LEVELS_MAX = 300

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
#: What a character of JSON without its strings adds to the level.
_LEVEL = {"[": 1, "{": 1, "]": -1, "}": -1}
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACE = " \t\n\r"
_SHOWN_CHARACTERS_MAX = 60


class Json:
    """JSON that is passed on as it came, byte for byte: ``text`` is the JSON text.

    A ``float`` keeps about 17 digits, and ``10.00`` comes out of it as ``10.0``. A field of the type
    ``Json`` changes nothing. ``parse`` reads what the plugin needs of it.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        try:
            scan(text)
        except Mismatch as mismatch:
            raise DataError(f"the text does not fit: {mismatch}") from None
        self.text = text.strip(_SPACE)

    @classmethod
    def of(cls, value: Any) -> Json:
        """The JSON of a value. Raises ``DataError`` if the value has no JSON form."""
        from ._scalars import ANYTHING

        return _trusted(dump(ANYTHING, value, "the value").decode())

    def parse(self, kind: Any = Any) -> Any:
        """The value, as ``kind``: a type with a JSON form. Without it: dict, list, str, int …

        Raises ``DataError`` if the value does not fit.
        """
        from ._compile import codec_of

        return load(codec_of(kind), self.text, "the JSON")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Json) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Json({self.text!r})"


def _trusted(text: str) -> Json:
    """Text that was scanned already."""
    value = Json.__new__(Json)
    value.text = text
    return value


def _constant(name: str) -> NoReturn:
    raise Mismatch(f"it is not JSON: {name} is no JSON value")


#: `scan_once` is the scanner in C; typeshed does not list it.
_FLOATS: Any = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_constant)
_DECIMALS: Any = json.JSONDecoder(
    object_pairs_hook=tuple, parse_constant=_constant, parse_float=Decimal
)


def scan(text: str, exact: bool = False) -> Any:
    """Parses a whole text. Numbers with a fraction are ``float``, or ``Decimal`` if ``exact``."""
    if text.count("[") + text.count("{") > LEVELS_MAX:
        _check_levels(text)
    decoder = _DECIMALS if exact else _FLOATS
    try:
        value, end = decoder.scan_once(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError):
        pass
    # White space around the value, or an error that needs its words.
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise Mismatch(f"it is not JSON: {error.msg} at {place}") from None
    except ValueError as error:
        # An integer of more digits than Python converts.
        raise Mismatch(f"it has a number out of range: {error}") from None


def _check_levels(text: str) -> None:
    brackets = re.sub(r"[^\[\]{}]+", "", _STRING.sub("", text))
    levels = itertools.accumulate(map(_LEVEL.__getitem__, brackets))
    if max(levels, default=0) > LEVELS_MAX:
        raise Mismatch(f"it is nested deeper than {LEVELS_MAX} levels")


def load(codec: Any, data: bytes | str, what: str) -> Any:
    """Reads ``data`` with a codec. Raises ``DataError``, which begins with ``what``."""
    try:
        text = data if isinstance(data, str) else data.decode()
        if codec.raw:
            return codec.decode(_Guided(text).whole(codec))
        return codec.decode(scan(text, codec.exact))
    except Mismatch as mismatch:
        raise DataError(f"{what} does not fit: {mismatch}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{what} does not fit: it is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise DataError(f"{what} does not fit: it is nested too deeply") from None


def dump(codec: Any, value: Any, what: str) -> bytes:
    """Writes ``value`` with a codec. Raises ``DataError``, which begins with ``what``."""
    try:
        text: str = codec.encode(value)
    except Mismatch as mismatch:
        raise DataError(f"{what}: {mismatch}") from None
    except RecursionError:
        raise DataError(f"{what}: it is nested too deeply, or contains itself") from None
    return utf8(text)


def utf8(text: str) -> bytes:
    """JSON text as bytes. Half of a surrogate pair, which UTF-8 does not have, is escaped."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode()


def shown(value: Any) -> str:
    """A parsed value, for an error message."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return f"the string {quote(_shortened(value))}"
    if isinstance(value, (int, float, Decimal)):
        return f"the number {_shortened(str(value))}"
    return f"a value of the class {type(value).__name__}"


def _shortened(text: str) -> str:
    if len(text) <= _SHOWN_CHARACTERS_MAX:
        return text
    return text[:_SHOWN_CHARACTERS_MAX] + "…"


class _Guided:
    """Parses with a codec as the guide, so that a ``Json`` field gets its own piece of the text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def whole(self, codec: Any) -> Any:
        scan(self.text)
        value, end = self.value(codec, self.space(0))
        assert self.space(end) == len(self.text)
        return value

    def space(self, at: int) -> int:
        while at < len(self.text) and self.text[at] in _SPACE:
            at += 1
        return at

    def value(self, codec: Any, at: int) -> tuple[Any, int]:
        """The value at a place. The text was scanned before: it is JSON."""
        if codec is None or not codec.raw:
            exact = codec is not None and codec.exact
            return self.scanned(at, exact)
        if codec.is_json:
            end = self.scanned(at)[1]
            piece = self.text[at:end]
            return None if piece == "null" and codec.optional else _trusted(piece), end
        if self.text[at] == "{":
            return self.members(codec, at)
        if self.text[at] == "[":
            return self.elements(codec, at)
        return self.scanned(at)

    def scanned(self, at: int, exact: bool = False) -> tuple[Any, int]:
        value, end = (_DECIMALS if exact else _FLOATS).scan_once(self.text, at)
        return value, end

    def members(self, codec: Any, at: int) -> tuple[Any, int]:
        pairs = []
        at = self.space(at + 1)
        while self.text[at] != "}":
            name, at = self.scanned(at)
            value, at = self.value(codec.member(name), self.space(self.space(at) + 1))
            pairs.append((name, value))
            at = self.space(at)
            if self.text[at] == ",":
                at = self.space(at + 1)
        return tuple(pairs), at + 1

    def elements(self, codec: Any, at: int) -> tuple[Any, int]:
        values: list[Any] = []
        at = self.space(at + 1)
        while self.text[at] != "]":
            value, at = self.value(codec.element(len(values)), at)
            values.append(value)
            at = self.space(at)
            if self.text[at] == ",":
                at = self.space(at + 1)
        return values, at + 1
