"""What JSON becomes of types, and types of JSON."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NewType, Optional, Sequence, Union

import pytest

from sagabox import DataError, DeclarationError, Int64, Json, Name, Range
from sagabox._compile import codec_of
from sagabox._json import dump, load

OrderId = NewType("OrderId", str)


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Grade(IntEnum):
    GOOD = 1
    BAD = 2


@dataclass
class Item:
    product_id: str
    unit_price: Decimal


@dataclass
class Node:
    name: str
    children: list[Node]


@dataclass
class Card:
    kind: Literal["card"]
    number: str


@dataclass
class Cash:
    kind: Literal["cash"]
    amount: int


@dataclass
class Passed:
    name: str
    note: Json
    more: Json | None = None
    notes: list[Json] = field(default_factory=list)
    by_name: dict[str, Json] = field(default_factory=dict)


def read(hint: Any, text: str) -> Any:
    return load(codec_of(hint), text.encode(), "the data")


def written(hint: Any, value: Any) -> str:
    return dump(codec_of(hint), value, "the data").decode()


def refused(hint: Any, text: str) -> str:
    with pytest.raises(DataError) as error:
        read(hint, text)
    return str(error.value)


def not_written(hint: Any, value: Any) -> str:
    with pytest.raises(DataError) as error:
        written(hint, value)
    return str(error.value)


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (str, '"a\\u0000\\ud83d\\ude00/"', "a\0😀/"),
        (OrderId, '"o-1"', "o-1"),
        (bool, "true", True),
        (int, "9007199254740993", 9007199254740993),
        (int, "-170141183460469231731687303715884105728", -(2**127)),
        (float, "117.63331139400017", 117.63331139400017),
        (float, "3", 3.0),
        (Decimal, "10.00", Decimal("10.00")),
        (Decimal, "12345678901234567890.12345678901234567890", Decimal("12345678901234567890.12345678901234567890")),
        (date, '"2028-02-29"', date(2028, 2, 29)),
        (datetime, '"2026-03-01T00:30:00.250+02:00"', datetime(2026, 2, 28, 22, 30, 0, 250_000, timezone.utc)),
        (timedelta, '"1h 30m"', timedelta(minutes=90)),
        (bytes, '"AP8="', b"\x00\xff"),
        (uuid.UUID, '"123e4567-e89b-42d3-a456-426614174000"', uuid.UUID(int=0x123E4567E89B42D3A456426614174000)),
        (Size, '"large"', Size.LARGE),
        (Grade, "2", Grade.BAD),
        (Literal["a", 1, None], "1", 1),
        (Optional[int], "null", None),
        (Union[int, str], '"x"', "x"),
        (list[int], "[1,2]", [1, 2]),
        (Sequence[int], "[1]", [1]),
        (tuple[int, ...], "[1,2]", (1, 2)),
        (tuple[int, str], '[1,"a"]', (1, "a")),
        (set[str], '["b","a"]', {"a", "b"}),
        (dict[str, int], '{"b":1,"a":2}', {"b": 1, "a": 2}),
        (dict[Size, int], '{"small":1}', {Size.SMALL: 1}),
        (dict[int, str], '{"-7":"x"}', {-7: "x"}),
        (Any, '{"a":[1,2.5,null,{}],"b":[]}', {"a": [1, 2.5, None, {}], "b": []}),
        (Item, '{"productId":"a","unitPrice":0.10}', Item("a", Decimal("0.10"))),
        (Node, '{"name":"a","children":[{"name":"b","children":[]}]}', Node("a", [Node("b", [])])),
        (Union[Card, Cash], '{"kind":"cash","amount":3}', Cash("cash", 3)),
    ],
)  # fmt: skip
def test_a_value_is_read_and_written(hint: Any, text: str, value: Any) -> None:
    found = read(hint, text)
    assert found == value
    assert type(found) is type(value)
    assert read(hint, written(hint, found)) == value


@pytest.mark.parametrize(
    ("hint", "value", "text"),
    [
        (str, 'a"\\\n\x01\x7fä😀', '"a\\"\\\\\\n\\u0001\x7fä😀"'),
        (Decimal, Decimal("10.00"), "10.00"),
        (Decimal, 3, "3"),
        (float, 1e300, "1e+300"),
        (float, 3, "3"),
        (datetime, datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))), '"2026-02-28T23:00:00Z"'),
        (datetime, datetime(2026, 3, 1, microsecond=250_000, tzinfo=timezone.utc), '"2026-03-01T00:00:00.25Z"'),
        (timedelta, timedelta(days=1, hours=24, milliseconds=1.9), '"2d 1ms"'),
        (timedelta, timedelta(0), '"0s"'),
        (set[str], {"b", "c", "a"}, '["a","b","c"]'),
        (Any, {"a": (1, Decimal("1.0"), Size.SMALL, Json("1e400"))}, '{"a":[1,1.0,"small",1e400]}'),
        (Any, Item("a", Decimal(1)), '{"productId":"a","unitPrice":1}'),
    ],
)  # fmt: skip
def test_a_value_has_one_form(hint: Any, value: Any, text: str) -> None:
    assert written(hint, value) == text


@pytest.mark.parametrize(
    ("hint", "text", "reason"),
    [
        (Item, '{"productId":1,"unitPrice":1}', "`/productId`: expected a string, found the number 1"),
        (Item, '{"productId":"a"}', "`/unitPrice` is missing"),
        (Item, '{"productId":"a","unitPrice":"x"}', "`/unitPrice`: expected a decimal number, found the string \"x\""),
        (Item, "[]", "expected an object, found an array"),
        (Item, '{"productId":"a","productId":"b","unitPrice":1}', "`/productId`: appears twice"),
        (list[Item], '[{"productId":"a","unitPrice":1},{"productId":"a","unitPrice":true}]', "`/1/unitPrice`: expected"),
        (dict[str, int], '{"a/b~":"x"}', "`/a~1b~0`: expected an integer"),
        (dict[str, int], '{"a":1,"a":2}', "`/a`: appears twice"),
        (dict[int, int], '{"x":1}', "expected an integer as the name of the member"),
        (int, "1.0", "expected an integer, found the number 1.0"),
        (int, "true", "expected an integer, found true"),
        (str, "null", "expected a string, found null"),
        (bool, "1", "expected true or false"),
        (float, "1e400", "out of range"),
        (float, "NaN", "NaN is no JSON value"),
        (Any, "[-Infinity]", "-Infinity is no JSON value"),
        (Any, "[1e400]", "out of range"),
        (Size, '"huge"', 'expected one of "small", "large", found the string "huge"'),
        (Grade, "true", "expected one of 1, 2, found true"),
        (Grade, "[]", "expected one of 1, 2, found an array"),
        (datetime, '"2026-03-01T12:00:00"', "RFC 3339"),
        (datetime, '"2026-02-30T12:00:00Z"', "RFC 3339"),
        (date, '"2026-2-3"', "no date"),
        (timedelta, '"soon"', "no duration"),
        (timedelta, '"99999999999999999999d"', "out of range"),
        (bytes, '"%"', "base64"),
        (Union[Card, Cash], '{"kind":"coin"}', '`/kind`: expected one of "card", "cash", found the string "coin"'),
        (Union[int, bool], '"x"', "fits no type of the union"),
        (tuple[int, str], "[1]", "expected an array of 2 elements"),
        (Any, "{", "it is not JSON: "),
        (Any, "", "it is not JSON: "),
        (Any, "1 2", "it is not JSON: Extra data at line 1 column 3"),
        (Any, "[" * 301 + "]" * 301, "nested deeper than 300 levels"),
        (Any, '["[[", {"]":' + "[" * 298 + "]" * 298 + "}, [[[", "it is not JSON"),
        (Any, "[" * 100_000, "nested deeper than 300 levels"),
        (Any, "9" * 5_000, "number out of range"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(hint: Any, text: str, reason: str) -> None:
    assert reason in refused(hint, text)


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    with pytest.raises(DataError, match="not UTF-8 at byte 1"):
        load(codec_of(Any), b'"\xff"', "the data")


@pytest.mark.parametrize(
    ("hint", "value", "reason"),
    [
        (Item, Item("a", Decimal("NaN")), "`/unitPrice` is NaN, and JSON has no such number"),
        (list[float], [1.0, math.nan], "`/1` is nan"),
        (Any, {"rates": {"eur": math.inf}}, "`/rates/eur` is inf"),
        (Item, Item(1, Decimal(1)), "`/productId`: expected a str, found the number 1"),
        (Item, Item("a", 0.1), "`/unitPrice`: expected a Decimal, found the number 0.1"),
        (int, True, "expected an int, found true"),
        (str, None, "expected a str, found null"),
        (datetime, datetime(2026, 3, 1), "has no time zone"),
        (timedelta, timedelta(seconds=-1), "is negative"),
        (Any, {1: 2}, "expected a str as the name of a member"),
        (Any, object(), "has no JSON form"),
        (Node, Item("a", Decimal(1)), "expected a Node, found a value of the class Item"),
        (Union[int, str], 1.5, "expected a value of a type of the union"),
    ],
)  # fmt: skip
def test_what_has_no_json_form_is_refused_with_its_place(hint: Any, value: Any, reason: str) -> None:
    assert reason in not_written(hint, value)


def test_a_value_that_contains_itself_is_refused() -> None:
    node = Node("a", [])
    node.children.append(node)
    assert "contains itself" in not_written(Node, node)


def test_what_is_nested_less_deeply_is_read_and_written() -> None:
    for text in ("[" * 300 + "]" * 300, '{"a":[' * 150 + "]}" * 150, "[" + "[]," * 5_000 + '"[[[["]'):
        assert written(Any, read(Any, text)) == text
        assert Json.of(Json(text)).text == text
    # Python's own limit comes first for data of the author's classes.
    deep = '{"name":"a","children":[' * 149 + "]}" * 149
    assert written(Node, read(Node, deep)) == deep
    node = Node("a", [])
    for _ in range(2_000):
        node = Node("a", [node])
    assert "nested too deeply" in not_written(Node, node)


def test_a_mistake_within_many_levels_is_found_at_once() -> None:
    text = '{"name":"a","children":[' * 60 + '{"name":1}' + "]}" * 60
    assert refused(Node, text).endswith("/children/0/name`: expected a string, found the number 1")
    node = Node("a", [Item("b", Decimal(1))])  # type: ignore[list-item]
    for _ in range(60):
        node = Node("a", [node])
    assert "/children/0`: expected a Node" in not_written(Node, node)


def test_half_of_a_surrogate_pair_is_kept() -> None:
    text = read(str, '"cut \\ud83d ä"')
    assert written(str, text + "!") == '"cut \\ud83d ä!"'


def test_every_double_comes_out_as_it_came_in() -> None:
    import random
    import struct

    random = random.Random(1)
    for _ in range(2_000):
        number = struct.unpack("d", random.randbytes(8))[0]
        if math.isfinite(number):
            assert struct.pack("d", read(float, written(float, number))) == struct.pack("d", number)
            assert struct.pack("d", read(Any, written(Any, number))) == struct.pack("d", number)


@dataclass
class Fields:
    order_id: str
    class_: str
    html_to_pdf: int = 1
    note: str | None = None
    reply: str | None = field(default="x")
    needed: str | None = field(default_factory=lambda: None)
    number: Annotated[str, Name("order-no")] = "n"
    month: Annotated[int, Range(1, 12)] = 1
    size: Int64 = 0
    middle: str | None = field(kw_only=True)
    more: str = ""
    last: str | None = field(kw_only=True)


def test_names_defaults_and_options_of_fields() -> None:
    value = read(Fields, '{"orderId":"o","class":"c","other":[1]}')
    assert value == Fields("o", "c", middle=None, last=None)
    assert written(Fields, value) == (
        '{"orderId":"o","class":"c","htmlToPdf":1,"reply":"x","needed":null,"order-no":"n",'
        '"month":1,"size":0,"middle":null,"more":"","last":null}'
    )
    value = read(Fields, '{"orderId":"o","class":"c","reply":null,"month":12,"last":"l"}')
    assert (value.reply, value.month, value.last) == (None, 12, "l")
    assert "at most 12" in refused(Fields, '{"orderId":"o","class":"c","month":13}')
    assert "at least 1" in not_written(Fields, Fields("o", "c", month=0, middle=None, last=None))
    assert "at most 9223372036854775807" in refused(Int64, "9223372036854775808")


@pytest.mark.parametrize("piece", ["10.00", "1e400", '{"b":1,"b":2, "s":"cut \\ud83d"}', "[[ ]]", '"x"', "-0.0"])
def test_json_is_passed_on_as_it_came(piece: str) -> None:
    text = f' {{ "more" : {piece}, "x": [{{}}], "name":"n" , "note":{piece},"notes" : [ {piece},1 ],"byName":{{"k": {piece} }} }}\n'
    value = read(Passed, text)
    assert [value.note.text, value.more.text, value.notes[0].text, value.by_name["k"].text] == [piece] * 4
    assert written(Passed, value) == (
        f'{{"name":"n","note":{piece},"more":{piece},"notes":[{piece},1],"byName":{{"k":{piece}}}}}'
    )


def test_json_is_read_where_it_is_needed() -> None:
    value = read(Passed, '{"name":"n","note":{"productId":"a","unitPrice":1.10},"more":null}')
    assert value.more is None
    assert value.note.parse(Item) == Item("a", Decimal("1.10"))
    assert value.note.parse() == {"productId": "a", "unitPrice": 1.1}
    assert Json.of({"a": Decimal("1.0")}).text == '{"a":1.0}'
    assert "`/note` is missing" in refused(Passed, '{"name":"n"}')
    assert "`/name`: expected a string" in refused(Passed, '{"name":[ 1 ],"note":1}')
    with pytest.raises(DataError):
        Json('"cut')


@dataclass
class Checked:
    amount: int

    def __post_init__(self) -> None:
        if self.amount < 1:
            raise ValueError("an amount is at least 1")


def test_the_authors_own_check_is_part_of_the_type() -> None:
    assert "`/0`: an amount is at least 1" in refused(list[Checked], '[{"amount":0}]')


@dataclass
class Unknown:
    path: complex


@dataclass
class Twice:
    a_b: int
    aB: int  # noqa: N815


@dataclass
class Forward:
    other: Missing  # type: ignore[name-defined] # noqa: F821


@dataclass
class RawUnion:
    value: Union[Json, int, None]


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        (Unknown, "`Unknown.path`: the type `complex` has no JSON form"),
        (Twice, "two fields of `Twice` are `aB`"),
        (Forward, "a type hint of `Forward` is not known"),
        (RawUnion, "a Json is no part of a union"),
        (dict[float, int], "has keys of the type str, int or Enum"),
    ],
)
def test_a_type_without_a_json_form_is_refused_where_it_is_declared(hint: Any, reason: str) -> None:
    with pytest.raises(DeclarationError, match=reason):
        codec_of(hint)
