"""From a type hint to a codec. A class is compiled once; calls only run what was compiled."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from dataclasses import MISSING
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Callable, Union

from ._containers import Items, Mapping, Maybe, Member, OneOf, Record, Row
from ._json import Json
from ._scalars import (
    ANYTHING,
    BOOLEAN,
    EXACT,
    FLOAT,
    INTEGER,
    NULL,
    RAW_JSON,
    TEXT,
    WRITTEN,
    Choice,
    Codec,
    Within,
    Written,
)
from .errors import DeclarationError, Mismatch

#: What ``@event`` and its kin say about the JSON of a class.
OPTIONS = "__sagabox_json__"

_SCALARS: dict[Any, Codec] = {
    str: TEXT,
    bool: BOOLEAN,
    int: INTEGER,
    float: FLOAT,
    Decimal: EXACT,
    Json: RAW_JSON,
    None: NULL,
    type(None): NULL,
    Any: ANYTHING,
    object: ANYTHING,
    list: Items(list, ANYTHING),
    dict: Mapping(TEXT, ANYTHING),
    **WRITTEN,
}
_ITEMS: dict[Any, type] = {
    list: list,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
    collections.abc.Set: frozenset,
}
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)

_records: dict[type, Record] = {}
_codecs: dict[Any, Codec] = {}


@dataclasses.dataclass(frozen=True)
class Options:
    """The JSON of a class."""

    camel_case: bool = True
    #: Refuse members that the class does not have.
    strict: bool = False


@dataclasses.dataclass(frozen=True)
class Name:
    """The name of a field in JSON: ``order_id: Annotated[str, Name("order-no")]``."""

    name: str


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a field takes, both ends included: ``Annotated[int, Range(1, 12)]``."""

    least: Any = None
    most: Any = None


#: An integer of 64 bits with a sign. A plain ``int`` has no limit.
Int64 = Annotated[int, Range(-(2**63), 2**63 - 1)]


def codec_of(hint: Any) -> Codec:
    """The codec of a type. Raises ``DeclarationError`` if it has no JSON form."""
    try:
        return _codecs[hint]
    except KeyError:
        codec = _codecs[hint] = _marked(hint)
        return codec
    except TypeError:
        # A hint that is not hashable.
        return _marked(hint)


def _marked(hint: Any) -> Codec:
    codec = _codec(hint)
    mark(codec)
    return codec


def codec_of_value(value: Any) -> Codec:
    """The codec of a value's class. Raises ``Mismatch``."""
    try:
        codec = codec_of(type(value))
    except DeclarationError as error:
        raise Mismatch(str(error)) from None
    if codec is ANYTHING:
        raise Mismatch(str(_unknown(type(value))))
    return codec


def _codec(hint: Any) -> Codec:
    try:
        if hint in _SCALARS:
            return _SCALARS[hint]
    except TypeError:
        pass
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return _class(hint)
    if hasattr(hint, "__supertype__"):  # typing.NewType
        return _codec(hint.__supertype__)
    if hasattr(hint, "__value__"):  # type X = …
        return _codec(hint.__value__)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _annotated(arguments)
    if origin is typing.Literal:
        return _choice([(value, value) for value in arguments], hint)
    if origin is Union or origin is types.UnionType:
        return _union(arguments)
    if origin in _ITEMS:
        return Items(_ITEMS[origin], _codec(arguments[0]))
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return Items(tuple, _codec(arguments[0]))
        return Row([_codec(argument) for argument in arguments])
    if origin in _MAPPINGS:
        return Mapping(_key(arguments[0]), _codec(arguments[1]))
    if origin in (typing.Final, typing.ClassVar) and arguments:
        return _codec(arguments[0])
    raise _unknown(hint)


def _unknown(hint: Any) -> DeclarationError:
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    return DeclarationError(
        f"the type `{name}` has no JSON form; use a dataclass, an Enum, str, int, float, bool, "
        "Decimal, datetime, date, timedelta, UUID, bytes, Json, Any, or list, dict, set, tuple, "
        "Literal, Optional and Union of these"
    )


def _class(kind: type) -> Codec:
    if dataclasses.is_dataclass(kind):
        return record_of(kind)
    if issubclass(kind, enum.Enum):
        return _choice([(_enum_value(member), member) for member in kind], kind)
    if (kind.__module__, kind.__qualname__) == ("uuid", "UUID"):
        # Found by its name: the module costs the component space.
        return Written(kind, "a UUID", kind, str, {"format": "uuid"})
    raise _unknown(kind)


def _enum_value(member: enum.Enum) -> Any:
    value = member.value
    # The value of a `class Size(str, Enum)` is a plain str, that of a StrEnum too.
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    raise DeclarationError(
        f"`{type(member).__name__}.{member.name}` has the value {value!r}; the values of an Enum "
        "in JSON are str, int, float or bool"
    )


def _annotated(arguments: tuple[Any, ...]) -> Codec:
    codec = _codec(arguments[0])
    for extra in arguments[1:]:
        if isinstance(extra, Range):
            codec = Within(codec, extra.least, extra.most)
    return codec


def _choice(choices: list[tuple[Any, Any]], hint: Any) -> Codec:
    try:
        return Choice(choices)
    except Mismatch as mismatch:
        raise DeclarationError(f"{hint}: {mismatch}") from None


def _union(arguments: tuple[Any, ...]) -> Codec:
    options = [_codec(argument) for argument in arguments if argument not in (None, type(None))]
    inner = options[0] if len(options) == 1 else OneOf(options)
    return inner if len(options) == len(arguments) else Maybe(inner)


def _key(hint: Any) -> Codec:
    codec = _codec(hint)
    if codec in (TEXT, INTEGER) or isinstance(codec, (Choice, Written)):
        return codec
    raise DeclarationError(f"a dict with JSON has keys of the type str, int or Enum, not {hint}")


def record_of(kind: type) -> Record:
    """The codec of a dataclass."""
    known = _records.get(kind)
    if known is not None:
        return known
    options: Options = kind.__dict__.get(OPTIONS, Options())
    record = Record(kind, options.strict, _docstring(kind))
    _records[kind] = record
    try:
        record.complete(_members(kind, options))
    except DeclarationError:
        del _records[kind]
        raise
    mark(record)
    return record


def _members(kind: type, options: Options) -> list[Member]:
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            f"a type hint of `{kind.__name__}` is not known: {error}; a class that a hint names "
            "stands at the top level of its module"
        ) from None
    except TypeError as error:
        # Such as `_: KW_ONLY` as a str, in Python 3.10.
        raise DeclarationError(f"a type hint of `{kind.__name__}` cannot be read: {error}") from None
    members = [
        _member(kind, field, hints[field.name], options)
        for field in dataclasses.fields(kind)
        if field.init
    ]
    names = [member.name for member in members]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DeclarationError(f"two fields of `{kind.__name__}` are `{twice}` in JSON")
    return members


def _member(kind: type, field: dataclasses.Field[Any], hint: Any, options: Options) -> Member:
    extras = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
    given = [extra.name for extra in extras if isinstance(extra, Name)]
    texts = [extra for extra in extras if isinstance(extra, str)]
    try:
        codec = _codec(hint)
    except DeclarationError as error:
        raise DeclarationError(f"`{kind.__name__}.{field.name}`: {error}") from None
    return Member(
        attribute=field.name,
        name=given[0] if given else json_name(field.name, options.camel_case),
        codec=codec,
        description=texts[0] if texts else None,
        default=_default(field, codec),
        keyword_only=bool(field.kw_only),
        left_out=field.default is None,
    )


def _default(field: dataclasses.Field[Any], codec: Codec) -> Callable[[], Any] | None:
    if field.default_factory is not MISSING:
        return field.default_factory
    if field.default is not MISSING:
        value = field.default
        return lambda: value
    return (lambda: None) if codec.optional else None


def json_name(field: str, camel_case: bool) -> str:
    """``order_id`` is ``orderId``; an underscore at the end, as in ``class_``, is left out."""
    field = field.rstrip("_") or field
    if not camel_case:
        return field
    first, *others = field.lstrip("_").split("_")
    return first + "".join(other[:1].upper() + other[1:] for other in others)


def _docstring(kind: type) -> str | None:
    text = kind.__dict__.get("__doc__")
    # A dataclass without one gets its signature.
    if not text or text.startswith(f"{kind.__name__}("):
        return None
    return " ".join(text.split())


def mark(codec: Codec) -> None:
    """Finds out which codecs need the text parsed with decimals, or piece by piece."""
    within = _within(codec)
    for one in within:
        if isinstance(one, OneOf) and any(option.raw for option in one.options):
            raise DeclarationError("a Json is no part of a union: make the field itself a Json")
    for flag in ("exact", "raw"):
        if any(getattr(one, flag) for one in within):
            for one in within:
                if any(getattr(inner, flag) for inner in _within(one)):
                    setattr(one, flag, True)


def _within(codec: Codec) -> list[Codec]:
    """A codec and all codecs that it contains."""
    seen: dict[int, Codec] = {}
    waiting = [codec]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen[id(one)] = one
            waiting.extend(one.children())
    return list(seen.values())
