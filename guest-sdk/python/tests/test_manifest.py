"""Schemas, fields, summary; states and their versions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import pytest

from sagabox import Context, Json, Range, command, config, event, migrate, on, process_manager, start
from sagabox._plugin import Failed, plugin_of


class Status(Enum):
    OPEN = "open"
    CLOSED = "closed"


@dataclass
class Item:
    """What is
    ordered."""

    product_id: Annotated[str, "The product's number."]
    price: Decimal
    parts: list[Item]


@event
class Ordered:
    order_id: str
    items: list[Item]
    at: datetime
    status: Status | None
    wait: timedelta | None = None
    first: Item | None = None
    tags: set[str] = field(default_factory=set)
    sizes: dict[Status, int] = field(default_factory=dict)
    pair: tuple[int, str] = (1, "a")
    month: Annotated[int, Range(1, 12)] = 1
    more: Json | None = None
    anything: Any = None
    next: Ordered | None = None


@command
class Ship:
    order_id: str
    price: Decimal
    note: str | None = None


@config
class Settings:
    patience: timedelta = timedelta(hours=1)
    limit: int | None = None


@dataclass
class Order:
    order_id: str
    total: Decimal
    status: Status
    at: datetime | None
    items: list[str]
    either: int | str = 1
    note: Json | None = None


@process_manager(state=Order, state_version=3, sends=[Ship], config=Settings)
class Orders:
    @start(Ordered, key="/orderId")
    def ordered(self, event: Ordered, ctx: Context) -> Order:
        raise NotImplementedError

    @migrate(1, to=2)
    def renamed(self, state: dict[str, Any]) -> dict[str, Any]:
        if state["sum"] < 0:
            raise ValueError(f"negative {state['sum']}")
        return {"orderId": state["id"], "total": state["sum"]}

    @migrate(2, to=3)
    def detailed(self, state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "status": "open", "items": []}

    @migrate(3, to=1)
    def back(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"id": state["orderId"], "sum": state["total"]}


def schemas() -> dict[str, Any]:
    manifest = plugin_of(Orders).manifest
    return {name: json.loads(schema) for name, schema in manifest.schemas}


def test_the_schema_of_an_event_is_what_is_accepted() -> None:
    schema = schemas()["Ordered"]
    properties = schema["properties"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (schema["title"], schema["type"]) == ("Ordered", "object")
    assert schema["required"] == ["orderId", "items", "at"]
    assert "additionalProperties" not in schema
    item = schema["$defs"]["Item"]
    assert item["description"] == "What is ordered."
    assert item["properties"]["productId"] == {"type": "string", "description": "The product's number."}
    assert item["properties"]["price"] == {"type": ["number", "string"]}
    assert item["properties"]["parts"] == {"type": "array", "items": {"$ref": "#/$defs/Item"}}
    assert properties["at"] == {"type": "string", "format": "date-time"}
    assert properties["status"] == {"anyOf": [{"type": "string", "enum": ["open", "closed"]}, {"type": "null"}]}
    assert properties["wait"]["type"] == ["string", "null"]
    assert properties["first"] == {"anyOf": [{"$ref": "#/$defs/Item"}, {"type": "null"}]}
    assert properties["tags"] == {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    assert properties["sizes"]["propertyNames"]["enum"] == ["open", "closed"]
    assert properties["pair"]["prefixItems"] == [{"type": "integer"}, {"type": "string"}]
    assert properties["month"] == {"type": "integer", "minimum": 1, "maximum": 12}
    assert properties["more"] == properties["anything"] == {}
    assert properties["next"] == {"anyOf": [{"$ref": "#"}, {"type": "null"}]}


def test_the_schema_of_a_command_is_what_is_written() -> None:
    schema = schemas()["Ship"]
    assert schema["required"] == ["orderId", "price"]
    assert schema["properties"]["price"] == {"type": "number"}


def test_the_schema_of_a_configuration_refuses_other_members() -> None:
    text = plugin_of(Orders).manifest.configuration_schema
    assert text is not None
    schema = json.loads(text)
    assert schema["additionalProperties"] is False
    assert "required" not in schema
    assert list(schema["properties"]) == ["patience", "limit"]


def test_fields_are_the_members_of_the_state_that_are_one_value() -> None:
    manifest = plugin_of(Orders).manifest
    assert [name for name, _ in manifest.fields] == ["orderId", "total", "status", "at", "either"]
    assert manifest.fields[0] == ("orderId", "/orderId")
    assert manifest.summary == "orderId {orderId}, total {total}, status {status}"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [(None, []), (["total"], [("total", "/total")]), ({"paid": "/a/b"}, [("paid", "/a/b")])],
)
def test_fields_are_what_the_author_says(fields: Any, expected: Any) -> None:
    @process_manager(state=Order, fields=fields, summary="a {paid}")
    class Made:
        @start(Ordered, key="/orderId")
        def ordered(self, event: Ordered, ctx: Context) -> Order:
            raise NotImplementedError

    manifest = plugin_of(Made).manifest
    assert (manifest.fields, manifest.summary, manifest.state_version) == (expected, "a {paid}", 1)


def migrated(data: str, version: int, to: int) -> str:
    return plugin_of(Orders).migrate(data.encode(), version, to).decode()


def refused(data: str, version: int, to: int) -> str:
    with pytest.raises(Failed) as failed:
        migrated(data, version, to)
    assert not failed.value.transient
    return failed.value.reason


def test_states_are_converted_step_by_step() -> None:
    newest = '{"orderId":"o","total":12345678901234567890.10,"status":"open","items":[]}'
    assert migrated('{"id":"o","sum":12345678901234567890.10}', 1, 3) == newest
    assert migrated(newest, 3, 1) == '{"id":"o","sum":12345678901234567890.10}'
    assert migrated(newest, 3, 2) == '{"orderId":"o","total":12345678901234567890.10}'


def test_a_state_that_cannot_be_converted_is_refused() -> None:
    assert refused("{}", 9, 3) == "the plugin has no migration from version 9 to 3"
    assert refused("{}", 3, 7) == "the plugin has no migration from version 3 to 7"
    assert "ValueError: negative -1 (" in refused('{"id":"o","sum":-1}', 1, 3)
    assert "test_manifest.py:" in refused('{"id":"o","sum":-1}', 1, 3)
    assert "KeyError" in refused("{}", 1, 3)
    assert "the migrated state does not fit: `/orderId` is missing" in refused('{"total":1}', 2, 3)
    assert "not JSON" in refused("{", 2, 3)


def test_a_state_of_this_version_comes_back_as_this_version_writes_it() -> None:
    whole = '{"orderId":"o","total":10.00,"status":"open","at":null,"items":["a"],"either":1,"note":[1e400]}'
    assert migrated(whole, 3, 3) == whole
    older = '{"orderId":"o","total":1,"status":"open","items":[],"was":[],"flag":false,"count":0.0,"gone":null}'
    assert migrated(older, 3, 3) == '{"orderId":"o","total":1,"status":"open","at":null,"items":[],"either":1}'


def test_a_shape_that_has_changed_without_its_number_is_refused_with_the_place() -> None:
    begin = '"orderId":"o","total":1,"status":"open"'
    assert "`/items` is missing" in refused(f"{{{begin}}}", 3, 3)
    dropped = refused(f'{{{begin},"items":[],"colour":"red"}}', 3, 3)
    assert dropped == "the stored state has `colour`, and this version of the plugin drops it"


@dataclass
class Part:
    name: str


@dataclass
class Parts:
    parts: list[Part]
    names: set[str]


@process_manager(state=Parts)
class Nested:
    @on(Ordered, key="/orderId")
    def ordered(self, state: Parts, event: Ordered, ctx: Context) -> None: ...


def test_a_member_that_is_dropped_is_found_within_lists_and_sets_may_change_their_order() -> None:
    plugin = plugin_of(Nested)
    data = b'{"parts":[{"name":"a"},{"name":"b"}],"names":["z","a"]}'
    assert plugin.migrate(data, 1, 1) == b'{"parts":[{"name":"a"},{"name":"b"}],"names":["a","z"]}'
    with pytest.raises(Failed, match="`parts.1.size`"):
        plugin.migrate(b'{"parts":[{"name":"a"},{"name":"b","size":1}],"names":[]}', 1, 1)
