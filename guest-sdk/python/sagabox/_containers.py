"""Codecs of types that contain others: dataclasses, lists, dicts, unions."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Iterator

from ._generated import reader, writer
from ._json import quote, shown
from ._scalars import NULL, TEXT, Choice, Codec, Schema, expected
from .errors import Mismatch

_MISSING: Any = object()


@dataclasses.dataclass
class Member:
    """A field of a dataclass."""

    attribute: str
    name: str
    codec: Codec
    description: str | None
    #: Makes the value of a member that is absent.
    default: Callable[[], Any] | None
    keyword_only: bool
    #: The field has the default ``None``: the member is left out where it is ``None``.
    left_out: bool


class Record(Codec):
    """A dataclass. Its fields are set by ``complete``, so that classes may contain each other."""

    def __init__(self, kind: type, strict: bool, description: str | None) -> None:
        self.kind = kind
        #: Whether a member that the class does not have is refused.
        self.strict = strict
        self.description = description
        self.members: list[Member] = []
        self.by_name: dict[str, Member] = {}

    def complete(self, members: list[Member]) -> None:
        self.members = members
        self.by_name = {member.name: member for member in members}
        self.has_keywords = any(member.keyword_only for member in members)
        self._read = [(m.name, m.codec.decode, m.default) for m in members]
        self._write = [
            (f",{quote(m.name)}:", m.attribute, m.codec.encode, m.left_out) for m in members
        ]
        if not self.strict:
            self.decode = reader(self)  # type: ignore[method-assign]
            self.encode = writer(self)  # type: ignore[method-assign]

    def decode(self, value: Any) -> Any:
        if value.__class__ is not tuple:
            raise expected("an object", value)
        given = dict(value)
        if len(given) != len(value):
            self._check_twice(value)
        if self.strict:
            self._check_known(given)
        arguments = []
        for name, decode, default in self._read:
            part = given.get(name, _MISSING)
            if part is _MISSING:
                if default is None:
                    raise Mismatch("is missing", name)
                arguments.append(default())
                continue
            try:
                arguments.append(decode(part))
            except Mismatch as mismatch:
                raise mismatch.under(name) from None
        return self._make(arguments)

    def _make(self, arguments: list[Any]) -> Any:
        try:
            if not self.has_keywords:
                return self.kind(*arguments)
            pairs = list(zip(self.members, arguments))
            plain = [argument for member, argument in pairs if not member.keyword_only]
            named = {member.attribute: argument for member, argument in pairs if member.keyword_only}
            return self.kind(*plain, **named)
        except ValueError as error:
            # The author's own check, in __post_init__.
            raise Mismatch(str(error)) from None

    def _check_twice(self, pairs: tuple[tuple[str, Any], ...]) -> None:
        names: set[str] = set()
        for name, _ in pairs:
            if name in names and name in self.by_name:
                raise Mismatch("appears twice", name)
            names.add(name)

    def _check_known(self, given: dict[str, Any]) -> None:
        for name in given:
            if name not in self.by_name:
                known = ", ".join(self.by_name) or "no members"
                raise Mismatch(f"unknown member `{name}`; `{self.kind.__name__}` has {known}")

    def encode(self, value: Any) -> str:
        if not isinstance(value, self.kind):
            raise expected(f"a {self.kind.__name__}", value)
        text = ""
        for prefix, attribute, encode, left_out in self._write:
            part = getattr(value, attribute)
            if part is None and left_out:
                continue
            try:
                text += prefix + encode(part)
            except Mismatch as mismatch:
                raise mismatch.under(self._name_of(attribute)) from None
        return "{" + text[1:] + "}"

    def _name_of(self, attribute: str) -> str:
        return next(member.name for member in self.members if member.attribute == attribute)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, self.kind)

    def schema(self, made: Any) -> Schema:
        return made.reference(self)  # type: ignore[no-any-return]

    def definition(self, made: Any) -> Schema:
        properties: Schema = {}
        required = []
        for member in self.members:
            schema = member.codec.schema(made)
            if member.description is not None:
                schema = {**schema, "description": member.description}
            properties[member.name] = schema
            if member.default is None if made.is_read else not member.left_out:
                required.append(member.name)
        whole: Schema = {"type": "object", "properties": properties}
        if required:
            whole["required"] = required
        if self.strict:
            whole["additionalProperties"] = False
        if self.description is not None:
            whole["description"] = self.description
        return whole

    def children(self) -> Iterator[Codec]:
        return (member.codec for member in self.members)

    def member(self, name: str) -> Codec | None:
        known = self.by_name.get(name)
        return None if known is None else known.codec


class Items(Codec):
    """A list, a set, a frozenset or a tuple of any length."""

    def __init__(self, kind: type, item: Codec) -> None:
        self.kind, self.item = kind, item
        self.is_set = kind in (set, frozenset)

    def decode(self, value: Any) -> Any:
        if value.__class__ is not list:
            raise expected("an array", value)
        decode, index = self.item.decode, 0
        items = []
        try:
            for element in value:
                items.append(decode(element))
                index += 1
        except Mismatch as mismatch:
            raise mismatch.under(index) from None
        return items if self.kind is list else self.kind(items)

    def encode(self, value: Any) -> str:
        if not self.accepts(value):
            raise expected(f"a {self.kind.__name__}", value)
        encode, index = self.item.encode, 0
        texts = []
        try:
            for element in value:
                texts.append(encode(element))
                index += 1
        except Mismatch as mismatch:
            raise mismatch.under(index) from None
        if self.is_set:
            # A set has another order in each build of a component.
            texts.sort()
        return "[" + ",".join(texts) + "]"

    def accepts(self, value: Any) -> bool:
        if self.is_set:
            return isinstance(value, (set, frozenset))
        return isinstance(value, (list, tuple))

    def schema(self, made: Any) -> Schema:
        schema: Schema = {"type": "array", "items": self.item.schema(made)}
        return {**schema, "uniqueItems": True} if self.is_set else schema

    def children(self) -> Iterator[Codec]:
        return iter((self.item,))

    def element(self, index: int) -> Codec | None:
        return self.item


class Row(Codec):
    """A tuple of fixed length."""

    def __init__(self, items: list[Codec]) -> None:
        self.items = items

    def decode(self, value: Any) -> Any:
        if value.__class__ is not list or len(value) != len(self.items):
            raise expected(f"an array of {len(self.items)} elements", value)
        return tuple(self._each(lambda codec, element: codec.decode(element), value))

    def encode(self, value: Any) -> str:
        if not self.accepts(value):
            raise expected(f"a tuple of {len(self.items)} elements", value)
        texts = self._each(lambda codec, element: codec.encode(element), value)
        return "[" + ",".join(texts) + "]"

    def _each(self, run: Callable[[Codec, Any], Any], value: Any) -> Iterator[Any]:
        for index, (codec, element) in enumerate(zip(self.items, value)):
            try:
                yield run(codec, element)
            except Mismatch as mismatch:
                raise mismatch.under(index) from None

    def accepts(self, value: Any) -> bool:
        return isinstance(value, (tuple, list)) and len(value) == len(self.items)

    def schema(self, made: Any) -> Schema:
        return {
            "type": "array",
            "prefixItems": [item.schema(made) for item in self.items],
            "minItems": len(self.items),
            "maxItems": len(self.items),
        }

    def children(self) -> Iterator[Codec]:
        return iter(self.items)

    def element(self, index: int) -> Codec | None:
        return self.items[index] if index < len(self.items) else None


class Mapping(Codec):
    """A dict. The keys of a JSON object are strings; other types are written as strings."""

    def __init__(self, key: Codec, value: Codec) -> None:
        self.key, self.value = key, value
        self.is_text = key is TEXT

    def decode(self, value: Any) -> dict[Any, Any]:
        if value.__class__ is not tuple:
            raise expected("an object", value)
        decode = self.value.decode
        made: dict[Any, Any] = {}
        for name, member in value:
            try:
                key = name if self.is_text else self._read_key(name)
                if key in made:
                    raise Mismatch("appears twice")
                made[key] = decode(member)
            except Mismatch as mismatch:
                raise mismatch.under(name) from None
        return made

    def _read_key(self, name: str) -> Any:
        if self.key.accepts(0):
            digits = name.removeprefix("-")
            if digits.isascii() and digits.isdigit():
                return int(name)
            raise expected("an integer as the name of the member", name)
        return self.key.decode(name)

    def encode(self, value: Any) -> str:
        if not isinstance(value, dict):
            raise expected("a dict", value)
        encode, separator = self.value.encode, ""
        text = "{"
        for key, member in value.items():
            try:
                name = self.key.encode(key)
                name = name if name.startswith('"') else f'"{name}"'
                text += f"{separator}{name}:{encode(member)}"
            except Mismatch as mismatch:
                raise mismatch.under(key) from None
            separator = ","
        return text + "}"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict)

    def schema(self, made: Any) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self.value.schema(made)}
        if isinstance(self.key, Choice):
            schema["propertyNames"] = self.key.schema(made)
        return schema

    def children(self) -> Iterator[Codec]:
        return iter((self.value,))

    def member(self, name: str) -> Codec | None:
        return self.value


class Maybe(Codec):
    """``X | None``. Where it is a field, the member may be absent."""

    optional = True

    def __init__(self, inner: Codec) -> None:
        self.inner = inner
        self.is_json = inner.is_json

    def decode(self, value: Any) -> Any:
        return None if value is None else self.inner.decode(value)

    def encode(self, value: Any) -> str:
        return "null" if value is None else self.inner.encode(value)

    def accepts(self, value: Any) -> bool:
        return value is None or self.inner.accepts(value)

    def schema(self, made: Any) -> Schema:
        inner = self.inner.schema(made)
        if isinstance(inner.get("type"), str) and "enum" not in inner:
            return {**inner, "type": [inner["type"], "null"]}
        if inner == {}:
            return inner
        return {"anyOf": [inner, NULL.schema(made)]}

    def children(self) -> Iterator[Codec]:
        return iter((self.inner,))

    def member(self, name: str) -> Codec | None:
        return self.inner.member(name)

    def element(self, index: int) -> Codec | None:
        return self.inner.element(index)


class OneOf(Codec):
    """A union. Dataclasses that have a ``Literal`` field in common are distinguished by it; other
    values take the first type that fits."""

    def __init__(self, options: list[Codec]) -> None:
        self.options = options
        self.optional = any(option.optional for option in options)
        #: The tag's member, and the options by their tags; found at the first use, when the
        #: dataclasses are complete.
        self._tags: tuple[str, dict[Any, Codec]] | None = None
        self._is_known = False

    def _tagged(self) -> tuple[str, dict[Any, Codec]] | None:
        if not self._is_known:
            self._is_known = True
            self._tags = _tags([option for option in self.options if isinstance(option, Record)])
        return self._tags

    def decode(self, value: Any) -> Any:
        tagged = self._tagged()
        if tagged is not None and value.__class__ is tuple:
            name, options = tagged
            tag = dict(value).get(name)
            option = options.get(tag) if isinstance(tag, (str, int)) else None
            if option is None:
                names = ", ".join(quote(str(tag)) for tag in options)
                raise Mismatch(f"expected one of {names}, found {shown(tag)}", name)
            return option.decode(value)
        reasons = []
        for option in self.options:
            try:
                return option.decode(value)
            except Mismatch as mismatch:
                reasons.append(str(mismatch))
        raise Mismatch(f"fits no type of the union: {'; '.join(reasons)}")

    def encode(self, value: Any) -> str:
        for option in self.options:
            if option.accepts(value):
                return option.encode(value)
        raise expected("a value of a type of the union", value)

    def accepts(self, value: Any) -> bool:
        return any(option.accepts(value) for option in self.options)

    def schema(self, made: Any) -> Schema:
        return {"anyOf": [option.schema(made) for option in self.options]}

    def children(self) -> Iterator[Codec]:
        return iter(self.options)


def _tags(records: list[Record]) -> tuple[str, dict[Any, Codec]] | None:
    """The member by whose ``Literal`` value the records are distinguished."""
    if len(records) < 2:
        return None
    for name in records[0].by_name:
        found: dict[Any, Codec] = {}
        count = 0
        for record in records:
            codec = record.member(name)
            values = [value for value, _ in codec.choices] if isinstance(codec, Choice) else []
            count += len(values)
            if not values:
                break
            found.update((value, record) for value in values)
        else:
            if len(found) == count:
                return name, found
    return None
