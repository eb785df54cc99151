"""The decorators of the four roles."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Literal, Mapping, TypeVar, Union

from ._plugin import DERIVED, Plugin, registered
from .errors import DeclarationError

T = TypeVar("T")
Unhandled = Literal["fail", "ignore"]
Fields = Union[Mapping[str, str], Iterable[str], None]
Sent = Iterable[Union[type, str]]


def saga(
    *,
    sends: Sent = (),
    lookups: Iterable[str] = (),
    streams: bool = False,
    config: type | None = None,
    unhandled: Unhandled = "fail",
    name: str | None = None,
) -> Callable[[type[T]], type[T]]:
    """Makes a class a saga: a coordinator without state, which sends commands.

    ``sends`` has the ``@command`` classes that it may send, or the types of ``RawMessage``\\ s.
    ``lookups`` and ``streams`` say what it may ask, ``config`` which ``@config`` class is its
    configuration. ``unhandled="ignore"`` ignores events that no handler takes, such as those of an
    older version; else they become dead letters. Its name is the project's, or ``name``.
    """
    return _register("saga", {**locals(), "emits": ()})


def reactor(
    *,
    sends: Sent = (),
    emits: Sent = (),
    lookups: Iterable[str] = (),
    streams: bool = False,
    config: type | None = None,
    unhandled: Unhandled = "fail",
    name: str | None = None,
) -> Callable[[type[T]], type[T]]:
    """Makes a class a reactor: without state, it sends commands and emits events."""
    return _register("reactor", {**locals()})


def enricher(
    *,
    emits: Sent = (),
    lookups: Iterable[str] = (),
    streams: bool = False,
    config: type | None = None,
    unhandled: Unhandled = "fail",
    name: str | None = None,
) -> Callable[[type[T]], type[T]]:
    """Makes a class an enricher: without state, it emits events that leave the host."""
    return _register("enricher", {**locals(), "sends": ()})


def process_manager(
    *,
    state: type,
    state_version: int = 1,
    sends: Sent = (),
    emits: Sent = (),
    lookups: Iterable[str] = (),
    streams: bool = False,
    config: type | None = None,
    fields: Fields = DERIVED,
    summary: str | None = None,
    unhandled: Unhandled = "fail",
    name: str | None = None,
) -> Callable[[type[T]], type[T]]:
    """Makes a class a process manager: a state machine with one instance for each correlation key.

    ``state`` is the dataclass of its state, ``state_version`` the version of its shape, from 1. By
    ``fields`` instances can be listed: names, or names with JSON Pointers; without it, all members that
    are one value; ``None`` for none. ``summary`` is a line about an instance: ``"order {id}"``.
    """
    if not isinstance(state_version, int) or state_version < 1:
        raise DeclarationError("versions of a state count from 1")
    return _register("process-manager", {**locals()})


def _register(role: str, options: dict[str, Any]) -> Callable[[type[T]], type[T]]:
    def decorate(cls: type[T]) -> type[T]:
        plugin = Plugin(cls, role, options)
        registered.append(plugin)
        setattr(cls, "__sagabox_plugin__", plugin)  # noqa: B010
        return cls

    return decorate
