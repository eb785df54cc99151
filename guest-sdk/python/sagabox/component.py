"""The border to the host inside a component. The application module that the builder writes is its
only user: it calls ``begin``, imports the author's module, and takes its exports from ``handler``."""

# Bindings exist inside a component only.
# mypy: disable-error-code="import-not-found, no-any-return"

from __future__ import annotations

import gc
import sys
from typing import Any

from componentize_py_types import Err
from wit_world.imports import logging as host_log
from wit_world.imports import types as t

from . import _log, _plugin
from . import _wire as wire
from ._context import question
from ._handlers import Attribute, Hold, Prefix
from ._plugin import Failed, Manifest, Plugin, Subscription

_LEVELS = {
    "trace": host_log.Level.TRACE,
    "debug": host_log.Level.DEBUG,
    "info": host_log.Level.INFO,
    "warn": host_log.Level.WARN,
    "error": host_log.Level.ERROR,
}

_output = _log.Lines("info")
_errors = _log.Lines("warn")


def _to_host(level: str, text: str) -> None:
    host_log.log(_LEVELS[level], text)


def begin(roots: list[tuple[str, str]]) -> None:
    """Before the author's module. While it loads, its lines are part of the build's output."""
    _log.set_roots(roots)
    _log.sink = _while_building
    sys.stdout, sys.stderr = _output, _errors
    wire.install(t)


def _while_building(level: str, text: str) -> None:
    print(text, file=sys.__stderr__)


def ready() -> None:
    """After the author's module."""
    if "logging" in sys.modules:
        _take_logging(sys.modules["logging"])
    _output.finish()
    _errors.finish()
    _log.sink = _to_host
    # What is loaded stays: the garbage collector does not look at it again.
    gc.collect()
    gc.freeze()


def _take_logging(logging: Any) -> None:
    """Records of the standard module go to the host's log, unless the author set a handler."""

    class ToHost(logging.Handler):  # type: ignore[misc]
        def emit(self, record: Any) -> None:
            above = (
                (logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"),
                (logging.DEBUG, "debug"),
            )
            level = next((name for least, name in above if record.levelno >= least), "trace")
            _log.write(level, self.format(record))

    if not logging.root.handlers:
        logging.root.addHandler(ToHost())
        logging.root.setLevel(1)


def _finish() -> None:
    if _output.pending:
        _output.finish()
    if _errors.pending:
        _errors.finish()


def _failure(failed: Failed) -> Any:
    kind = t.Failure_Transient if failed.transient else t.Failure_Permanent
    return Err(kind(failed.reason))


def handler(role: str, name: str, version: str, description: str) -> type:
    """The class that the component exports for a role. Its manifest is made now, once."""
    plugin = next(known for known in _plugin.registered if known.role == role)
    made = manifest(plugin, name, version, description)
    bases = {"enricher": _enricher, "process-manager": _process_manager}
    base = bases.get(role, lambda: _Saga)()
    return type("Handler", (base,), {"plugin": plugin, "manifest": made})


class _Described:
    plugin: Plugin
    manifest: Any

    def describe(self) -> Any:
        return self.manifest


class _Saga(_Described):
    def handle(self, event: Any, context: Any) -> Any:
        try:
            _, ctx = self.plugin.handle(event, None, context)
        except Failed as failed:
            raise _failure(failed) from None
        finally:
            _finish()
        if ctx.questions:
            return t.Outcome_Need([question(asked) for asked in ctx.questions])
        return t.Outcome_Decided(t.Decision(ctx.commands, ctx.events))


def _enricher() -> type:
    from wit_world.exports import enricher_handler as h

    class Enricher(_Described):
        def enrich(self, event: Any, context: Any) -> Any:
            try:
                _, ctx = self.plugin.handle(event, None, context)
            except Failed as failed:
                raise _failure(failed) from None
            finally:
                _finish()
            if ctx.questions:
                return h.Enrichment_Need([question(asked) for asked in ctx.questions])
            return h.Enrichment_Publish(ctx.events)

    return Enricher


def _process_manager() -> type:
    from wit_world.exports import process_manager_handler as h

    wire.install(h)

    class ProcessManager(_Described):
        def handle(self, event: Any, state: Any, context: Any) -> Any:
            data = None if state is None else state.data
            try:
                written, ctx = self.plugin.handle(event, data, context)
            except Failed as failed:
                raise _failure(failed) from None
            finally:
                _finish()
            if ctx.questions:
                return h.Step_Need([question(asked) for asked in ctx.questions])
            return h.Step_Transit(
                h.Transition(
                    written, ctx.commands, ctx.events, ctx.timers, ctx.keys, ctx.completed
                )
            )

        def migrate(self, state: Any, to: int) -> bytes:
            try:
                return self.plugin.migrate(state.data, state.version, to)
            except Failed as failed:
                raise Err(failed.reason) from None
            finally:
                _finish()

    return ProcessManager


def manifest(plugin: Plugin, name: str, version: str, description: str) -> Any:
    made: Manifest = plugin.manifest
    return t.Manifest(
        name=name,
        version=version,
        description=description,
        subscriptions=[_subscription(one) for one in made.subscriptions],
        commands=made.commands,
        events=made.events,
        lookups=made.lookups,
        streams=made.streams,
        state_version=made.state_version,
        schemas=[t.Schema(type, schema) for type, schema in made.schemas],
        configuration_schema=made.configuration_schema,
        fields=[t.Field(field, pointer) for field, pointer in made.fields],
        summary=made.summary,
    )


def _subscription(one: Subscription) -> Any:
    if one.key is None:
        key = t.Correlation_Instance()
    elif not isinstance(one.key, Attribute):
        key = t.Correlation_Pointer(one.key)
    elif one.key.name == "subject":
        key = t.Correlation_Subject()
    else:
        key = t.Correlation_Attribute(one.key.name)
    if one.source is None:
        source = t.Source_Any()
    elif isinstance(one.source, Prefix):
        source = t.Source_Prefix(one.source.text)
    else:
        source = t.Source_Exactly(one.source)
    if isinstance(one.absent, Hold):
        absent = t.Absent_Hold(one.absent.millis)
    else:
        absent = {"ignore": t.Absent_Ignore, "fail": t.Absent_Fail}[one.absent]()
    return t.Subscription(
        type=one.type, source=source, key=key, effect=t.Effect[one.effect.upper()], absent=absent
    )
