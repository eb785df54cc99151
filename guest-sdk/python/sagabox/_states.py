"""States of this version and of others: read, checked, converted."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Callable

from ._containers import Record
from ._json import dump, load, scan
from ._scalars import ANYTHING, plain
from .errors import DataError, Mismatch

Step = Callable[[Any], Any]
Steps = dict[tuple[int, int], Step]


def read(record: Record, data: bytes, what: str = "the stored state") -> Any:
    return load(record, data, what)


def read_again(record: Record, data: bytes) -> bytes:
    """Reads a state of this version and writes it again.

    It is refused if it does not fit, and also if something in it does not come back: then a member
    was renamed or removed and the number of the version was not raised, and the plugin would go on
    without what it had noted.
    """
    written = dump(record, read(record, data), "the state cannot be stored")
    place = _dropped(_exact(data), _exact(written))
    if place is not None:
        path = ".".join(place)
        raise DataError(f"the stored state has `{path}`, and this version of the plugin drops it")
    return written


def convert(data: bytes, steps: list[Step]) -> bytes:
    """Runs the author's steps. Numbers with a fraction are ``Decimal``, so that none changes."""
    state = plain(_exact(data), exact=True)
    for step in steps:
        state = step(state)
    return dump(ANYTHING, state, "the migrated state cannot be stored")


def route(steps: Steps, version: int, to: int) -> list[Step] | None:
    """The shortest chain of steps from one version to another."""
    routes: dict[int, list[Step]] = {version: []}
    waiting = [version]
    for current in waiting:
        if current == to:
            break
        for (start, end), step in steps.items():
            if start == current and end not in routes:
                routes[end] = [*routes[current], step]
                waiting.append(end)
    found = routes.get(to)
    return found or None


def _exact(data: bytes) -> Any:
    try:
        return scan(data.decode(), exact=True)
    except (Mismatch, UnicodeDecodeError) as error:
        raise DataError(f"the stored state is not JSON: {error}") from None


def _dropped(before: Any, after: Any) -> list[str] | None:
    """The path of a member that is in ``before`` and not in ``after``. One that says nothing (null,
    nothing in it, false, zero) may be left out."""
    if isinstance(before, tuple) and isinstance(after, tuple):
        known = dict(after)
        for name, value in before:
            if name not in known:
                if not _says_nothing(value):
                    return [name]
                continue
            place = _dropped(value, known[name])
            if place is not None:
                return [name, *place]
    if isinstance(before, list) and isinstance(after, list):
        for index, value in enumerate(before):
            # A set may come back in another order.
            others = [*after[index : index + 1], *after]
            places = [_dropped(value, other) for other in others if _is_alike(value, other)]
            if places and None not in places and places[0] is not None:
                return [str(index), *places[0]]
    return None


def _is_alike(one: Any, other: Any) -> bool:
    return isinstance(one, tuple) == isinstance(other, tuple) and isinstance(
        one, list
    ) == isinstance(other, list)


def _says_nothing(value: Any) -> bool:
    return value in (None, False, "", (), []) or (
        isinstance(value, (int, float, Decimal)) and value == 0
    )
