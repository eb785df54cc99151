"""The optional part of the manifest: schemas, fields and summary, from the classes."""

from __future__ import annotations

import re
from typing import Any

from ._containers import Maybe, OneOf, Record
from ._json import utf8
from ._scalars import Boolean, Choice, Codec, Exact, Float, Integer, Null, Text, Written, text_of

#: A state with more scalars than this shows the first ones; the rest would only cost space.
FIELDS_MAX = 12
SUMMARY_FIELDS_MAX = 3
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)


class Definitions:
    """The dataclasses that a schema refers to."""

    def __init__(self, is_read: bool) -> None:
        self.is_read = is_read
        self.names: dict[int, str] = {}
        self.schemas: dict[str, Any] = {}

    def reference(self, record: Record) -> dict[str, Any]:
        name = self.names.get(id(record))
        if name is None:
            name = self._new_name(record.kind.__name__)
            self.names[id(record)] = name
            self.schemas[name] = {}
            self.schemas[name] = record.definition(self)
        return {"$ref": f"#/$defs/{name}"}

    def _new_name(self, name: str) -> str:
        number, made = 1, name
        while made in self.schemas:
            number += 1
            made = f"{name}{number}"
        return made


def schema_text(codec: Codec, is_read: bool) -> str:
    """A JSON Schema, draft 2020-12: of what is accepted, or of what is written."""
    made = Definitions(is_read)
    if isinstance(codec, Record):
        # A class that contains itself refers to the whole schema.
        made.names[id(codec)] = ""
        whole = {"title": codec.kind.__name__, **codec.definition(made)}
        whole = _replace(whole, "#/$defs/", "#")
        made.schemas = _replace(made.schemas, "#/$defs/", "#")
    else:
        whole = codec.schema(made)
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}
    if made.schemas:
        whole["$defs"] = made.schemas
    return utf8(text_of(whole)).decode()


def _replace(schema: Any, reference: str, by: str) -> Any:
    if isinstance(schema, dict):
        if schema.get("$ref") == reference:
            return {**schema, "$ref": by}
        return {name: _replace(part, reference, by) for name, part in schema.items()}
    if isinstance(schema, list):
        return [_replace(part, reference, by) for part in schema]
    return schema


def fields_of(state: Record) -> list[tuple[str, str]]:
    """Name and pointer of the members of a state that are one value."""
    names = [
        member.name
        for member in state.members
        if _NAME.fullmatch(member.name) and _is_scalar(member.codec)
    ]
    return [(name, f"/{name}") for name in names[:FIELDS_MAX]]


def _is_scalar(codec: Codec) -> bool:
    if isinstance(codec, Maybe):
        return _is_scalar(codec.inner)
    if isinstance(codec, OneOf):
        return all(_is_scalar(option) for option in codec.options)
    return isinstance(codec, (Text, Boolean, Integer, Float, Exact, Written, Choice, Null))


def summary_of(fields: list[tuple[str, str]]) -> str | None:
    """A line about an instance: the first fields with their names."""
    parts = [f"{name} {{{name}}}" for name, _ in fields[:SUMMARY_FIELDS_MAX]]
    return ", ".join(parts) or None
