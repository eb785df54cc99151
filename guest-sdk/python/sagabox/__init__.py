"""Sagas, process managers, reactors and enrichers for Sagabox, in Python.

See the README of the package for a tutorial and an overview.
"""

from ._compile import Int64, Name, Range
from ._context import Context, Lookup, RawAnswer, Stream
from ._handlers import (
    attribute,
    hold,
    migrate,
    on,
    on_cancel,
    on_timer,
    on_undeliverable,
    prefix,
    start,
    start_or_handle,
    subject,
)
from ._json import Json
from ._messages import (
    Cancelled,
    RawEvent,
    RawMessage,
    Undeliverable,
    command,
    config,
    data,
    event,
    timer,
)
from ._roles import enricher, process_manager, reactor, saga
from .errors import DataError, DeclarationError, PermanentError, TransientError

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "Context",
    "DataError",
    "DeclarationError",
    "Int64",
    "Json",
    "Lookup",
    "Name",
    "PermanentError",
    "Range",
    "RawAnswer",
    "RawEvent",
    "RawMessage",
    "Stream",
    "TransientError",
    "Undeliverable",
    "attribute",
    "command",
    "config",
    "data",
    "enricher",
    "event",
    "hold",
    "migrate",
    "on",
    "on_cancel",
    "on_timer",
    "on_undeliverable",
    "prefix",
    "process_manager",
    "reactor",
    "saga",
    "start",
    "start_or_handle",
    "subject",
    "timer",
]
