"""The plugin that a role's decorator makes of a class: what happens to each type, and the manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Union

from . import _log, _states
from ._compile import OPTIONS, Options, record_of
from ._containers import Record
from ._context import Context
from ._handlers import Attribute, Handler, Prefix, check_shape, handlers_of
from ._json import dump, load
from ._messages import Cancelled, Message, Undeliverable, message_of, raw_event
from ._schema import fields_of, schema_text, summary_of
from .errors import DeclarationError, PermanentError, Suspended, TransientError

TIMER_FIRED = "sagabox.timer.fired"
UNDELIVERABLE = "sagabox.command.undeliverable"
CANCELLED = "sagabox.instance.cancelled"
_RESERVED = {
    "on_timer": TIMER_FIRED, "on_undeliverable": UNDELIVERABLE, "on_cancel": CANCELLED
}
#: The fields come from the state's class. It is none of the values that an author gives.
DERIVED: Any = object()

#: All plugins in the order in which their classes were made; the builder reads it.
registered: list[Plugin] = []


class Failed(Exception):
    """A handler failed. The text is for the dead letter."""

    def __init__(self, reason: str, transient: bool) -> None:
        super().__init__(reason)
        self.reason, self.transient = reason, transient


@dataclass
class Subscription:
    type: str
    source: str | Prefix | None
    #: ``None``: the host knows the instance.
    key: str | Attribute | None
    effect: str
    absent: Any


@dataclass
class Manifest:
    """What a plugin says of itself, but for what the project's file says."""

    subscriptions: list[Subscription]
    commands: list[str]
    events: list[str]
    lookups: list[str]
    streams: bool
    state_version: int
    schemas: list[tuple[str, str]] = field(default_factory=list)
    configuration_schema: str | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    summary: str | None = None


#: What a handler of one type does with event, state data and context; it returns the state to store.
Run = Callable[[Any, Union[bytes, None], "Context[Any]"], Union[bytes, None]]


class Plugin:
    """A class with handlers, compiled: by type, what happens."""

    def __init__(self, cls: type, role: str, options: dict[str, Any]) -> None:
        self.cls, self.role = cls, role
        self.name: str | None = options["name"]
        self.ignores_unhandled = _one_of("unhandled", options["unhandled"], ("fail", "ignore"))
        self.state: Record | None = _state(options.get("state"))
        self.state_version: int = options.get("state_version", 0)
        self.sends = _sent("sends", options["sends"], "command")
        self.emits = _sent("emits", options["emits"], "event")
        self.commands = frozenset(self.sends)
        self.events = frozenset(self.emits)
        self.commands_by_class = {one.cls: one for one in self.sends.values() if one is not None}
        self.events_by_class = {one.cls: one for one in self.emits.values() if one is not None}
        self.lookups = _names("lookups", options["lookups"])
        self.streams = bool(options["streams"])
        self.config = _config(options["config"])
        self.handlers = handlers_of(cls)
        if not self.handlers:
            raise DeclarationError(
                f"`{cls.__name__}` needs a handler: a method with @on(OrderPlaced, key=\"/orderId\")"
            )
        self._target = _instance(cls)
        self._by_type: dict[str, Run] = {}
        self.timers: dict[str, Run] = {}
        self.taken: dict[str, Message] = {}
        self.migrations: dict[tuple[int, int], Callable[[Any], Any]] = {}
        for handler in self.handlers:
            check_shape(handler, self.state is not None)
            self._add(handler)
        if self.timers:
            self._by_type[TIMER_FIRED] = self._fired
        self.manifest = self._manifest(options.get("fields"), options.get("summary"))
        self._settings: tuple[str, Any] | None = None

    # ---- a call

    def handle(self, event: Any, state: bytes | None, context: Any) -> tuple[bytes | None, Context[Any]]:
        """Runs the handler. The context has what it decided, or its open questions.

        Raises ``Failed``.
        """
        ctx: Context[Any] = Context(self, event, context)
        run = self._by_type.get(event.type)
        try:
            if run is not None:
                return run(event, state, ctx), ctx
            if self.ignores_unhandled:
                return None, ctx
            reason = f"the plugin has no handler for `{event.type}`"
            if event.type == TIMER_FIRED:
                reason = f"the plugin has no handler for the timer `{event.subject}`"
            raise PermanentError(reason)
        except Suspended:
            return None, ctx
        except BaseException as error:
            # An open question comes first, also if the handler went on without its answer.
            if ctx.questions:
                return None, ctx
            raise failed(error) from error

    def settings(self, configuration: str) -> Any:
        """The configuration as its class; kept, because it is the same in all calls."""
        if self.config is None:
            raise DeclarationError(
                f"`{self.cls.__name__}` does not declare a configuration: add config=Settings"
            )
        known = self._settings
        if known is None or known[0] != configuration:
            known = (configuration, load(self.config, configuration, "the plugin's configuration"))
            self._settings = known
        return known[1]

    def migrate(self, data: bytes, version: int, to: int) -> bytes:
        """Converts a state. Raises ``Failed``."""
        assert self.state is not None
        try:
            if version == to == self.state_version:
                return _states.read_again(self.state, data)
            steps = _states.route(self.migrations, version, to)
            if steps is None:
                text = f"the plugin has no migration from version {version} to {to}"
                raise PermanentError(text)
            converted = _states.convert(data, steps)
            if to == self.state_version:
                _states.read(self.state, converted, "the migrated state")
            return converted
        except Exception as error:
            raise failed(error) from error

    # ---- what handlers become

    def _add(self, handler: Handler) -> None:
        method = getattr(self._target, handler.name)
        if handler.kind == "migrate":
            if handler.versions in self.migrations:
                raise DeclarationError(f"two migrations are from {handler.versions}")
            self.migrations[handler.versions] = method
        elif handler.kind == "on_timer":
            for timer in handler.takes:
                message = message_of(timer, "timer")
                self._set(self.timers, message.name, self._run_timer(method, message))
        elif handler.kind == "on_undeliverable":
            read = record_of(Undeliverable)
            run = self._with_state(method, lambda event: load(read, event.data, "the event"))
            self._set(self._by_type, UNDELIVERABLE, run)
        elif handler.kind == "on_cancel":
            self._set(self._by_type, CANCELLED, self._run_cancel(method, handler.parameters))
        else:
            for taken in handler.takes:
                self._set(self._by_type, *self._event(handler, method, taken))

    @staticmethod
    def _set(runs: dict[str, Run], name: str, run: Run) -> None:
        if name in runs:
            raise DeclarationError(f"two handlers take `{name}`; one type has one handler")
        runs[name] = run

    def _event(self, handler: Handler, method: Any, taken: Any) -> tuple[str, Run]:
        read: Callable[[Any], Any] = raw_event
        if isinstance(taken, str):
            name = taken
        else:
            message = message_of(taken, "event")
            name = message.name
            self.taken[name] = message
            _check_key(handler, message)
            read = _reader(message)
        if self.state is None:
            return name, _run_plain(method, read)
        if handler.kind == "start":
            return name, self._run_start(method, read)
        if handler.kind != "start_or_handle":
            return name, self._with_state(method, read)
        initial = handler.initial or self.state.kind
        _check_initial(handler, initial, self.state.kind)
        return name, self._with_state(method, read, initial)

    def _run_start(self, method: Any, read: Any) -> Run:
        save = self._save

        def run(event: Any, state: bytes | None, ctx: Context[Any]) -> bytes | None:
            return save(method(read(event), ctx), method)

        return run

    def _with_state(self, method: Any, read: Any, initial: Any = None) -> Run:
        assert self.state is not None
        record, save = self.state, self._save

        def run(event: Any, state: bytes | None, ctx: Context[Any]) -> bytes | None:
            if state is not None:
                current = _states.read(record, state)
            elif initial is not None:
                current = initial()
            else:
                raise PermanentError("the host gave no state")
            returned = method(current, read(event), ctx)
            return save(current if returned is None else returned, method)

        return run

    def _run_timer(self, method: Any, message: Message) -> Run:
        what = f"the data of the timer `{message.name}`"
        return self._with_state(
            method, lambda event: load(message.record, event.data or b"{}", what)
        )

    def _run_cancel(self, method: Any, parameters: int) -> Run:
        if parameters == 4:
            read = record_of(Cancelled)
            return self._with_state(method, lambda event: load(read, event.data or b"{}", "the event"))
        return self._with_state(lambda state, _, ctx: method(state, ctx), lambda event: None)

    def _fired(self, event: Any, state: bytes | None, ctx: Context[Any]) -> bytes | None:
        run = self.timers.get(event.subject)
        if run is not None:
            return run(event, state, ctx)
        if self.ignores_unhandled:
            return None
        raise PermanentError(f"the plugin has no handler for the timer `{event.subject}`")

    def _save(self, state: Any, method: Any) -> bytes:
        record = self.state
        assert record is not None
        if not isinstance(state, record.kind):
            raise DeclarationError(
                f"`{method.__name__}` returned {state!r:.100}; it must return a {record.kind.__name__}"
            )
        attributes = getattr(state, "__dict__", ())
        if len(attributes) > len(record.members):
            self._check_attributes(state, attributes)
        return dump(record, state, "the state cannot be stored")

    def _check_attributes(self, state: Any, attributes: Any) -> None:
        """What a handler sets under a mistyped name would be lost."""
        assert self.state is not None
        fields = [member.attribute for member in self.state.members]
        for name in attributes:
            # Caches and what the author marked as private are not meant to be stored.
            if name not in fields and not name.startswith("_") and not hasattr(type(state), name):
                raise DeclarationError(
                    f"`{name}` was set on the state, and `{type(state).__name__}` has no field of this "
                    f"name, so it cannot be stored; it has {', '.join(fields)}"
                )

    # ---- the manifest

    def _manifest(self, fields: Any, summary: str | None) -> Manifest:
        made = Manifest(
            subscriptions=self._subscriptions(),
            commands=list(self.sends),
            events=list(self.emits),
            lookups=self.lookups,
            streams=self.streams,
            state_version=self.state_version,
            schemas=self._schemas(),
        )
        if self.config is not None:
            made.configuration_schema = schema_text(self.config, is_read=True)
        if self.state is not None:
            made.fields = fields_of(self.state) if fields is DERIVED else _fields(fields)
            made.summary = summary if summary is not None else summary_of(made.fields)
        return made

    def _subscriptions(self) -> list[Subscription]:
        found: dict[str, Subscription] = {}
        for handler in self.handlers:
            if handler.kind in _RESERVED:
                name = _RESERVED[handler.kind]
                found.setdefault(name, Subscription(name, None, None, "handle", "ignore"))
            elif handler.kind != "migrate":
                effect = {"on": "handle"}.get(handler.kind, handler.kind)
                for taken in handler.takes:
                    name = taken if isinstance(taken, str) else message_of(taken, "event").name
                    found[name] = Subscription(
                        name, handler.source, handler.key, effect, handler.absent
                    )
        return list(found.values())

    def _schemas(self) -> list[tuple[str, str]]:
        schemas = {
            name: schema_text(message.record, is_read=True) for name, message in self.taken.items()
        }
        for name, message in {**self.sends, **self.emits}.items():
            if message is not None and name not in schemas:
                schemas[name] = schema_text(message.record, is_read=False)
        return list(schemas.items())


def failed(error: BaseException) -> Failed:
    """What the host gets of an error. An unexpected one is logged with the author's frames."""
    if isinstance(error, TransientError):
        return Failed(_clean(error), transient=True)
    if isinstance(error, PermanentError):
        return Failed(_clean(error), transient=False)
    _log.write("error", _log.traceback_text(error))
    return Failed(_log.failure_text(error), transient=False)


def _clean(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text.encode(errors="backslashreplace").decode()


def _reader(message: Message) -> Callable[[Any], Any]:
    record, what = message.record, f"the data of `{message.name}`"
    return lambda event: load(record, event.data, what)


def _run_plain(method: Any, read: Any) -> Run:
    def run(event: Any, state: bytes | None, ctx: Context[Any]) -> bytes | None:
        method(read(event), ctx)
        return None

    return run


def _check_key(handler: Handler, message: Message) -> None:
    """The first part of a pointer is a member of the event."""
    if not isinstance(handler.key, str):
        return
    name = handler.key.split("/")[1].replace("~1", "/").replace("~0", "~")
    if name not in message.record.by_name:
        known = ", ".join(message.record.by_name) or "no members"
        raise DeclarationError(
            f"`{handler.name}`: the key \"{handler.key}\" leads to nothing in `{message.name}`, "
            f"which has {known}"
        )


def _check_initial(handler: Handler, initial: Callable[[], Any], state: type) -> None:
    try:
        made = initial()
    except TypeError as error:
        raise DeclarationError(
            f"`{handler.name}` may start an instance with `{state.__name__}()`, which fails: {error}; "
            "give all fields a default, or say @start_or_handle(…, initial=…)"
        ) from None
    if not isinstance(made, state):
        raise DeclarationError(f"initial=… of `{handler.name}` makes no {state.__name__}: {made!r}")


def _instance(cls: type) -> Any:
    try:
        made = cls()
    except TypeError as error:
        raise DeclarationError(f"`{cls.__name__}()` is made without arguments: {error}") from None
    if "__setattr__" not in cls.__dict__:

        def refuse(self: Any, name: str, value: Any) -> None:
            raise AttributeError(
                f"`{cls.__name__}.{name}` cannot be set: the host stores the state of a process "
                "manager, and nothing of the plugin's object"
            )

        cls.__setattr__ = refuse  # type: ignore[assignment, method-assign]
    return made


def _state(state: Any) -> Record | None:
    return None if state is None else record_of(state)


def _config(config: Any) -> Record | None:
    if config is None:
        return None
    options = getattr(config, "__dict__", {}).get(OPTIONS)
    if not isinstance(options, Options) or not options.strict:
        raise DeclarationError(f"`{config!r}` is no configuration: put @config on the class")
    return record_of(config)


def _names(option: str, names: Any) -> list[str]:
    if isinstance(names, str):
        raise DeclarationError(f"{option} is a list: {option}=[{names!r}]")
    return list(names)


def _sent(option: str, messages: Any, kind: str) -> dict[str, Message | None]:
    """By type; ``None`` for a type that is named by a str."""
    if isinstance(messages, (str, type)):
        name = repr(messages) if isinstance(messages, str) else messages.__name__
        raise DeclarationError(f"{option} is a list: {option}=[{name}]")
    found: dict[str, Message | None] = {}
    for one in messages:
        message = None if isinstance(one, str) else message_of(one, kind)
        name = one if message is None else message.name
        if name in found:
            raise DeclarationError(f"{option} names `{name}` twice")
        found[name] = message
    return found


def _fields(fields: Any) -> list[tuple[str, str]]:
    if fields is None:
        return []
    if isinstance(fields, Mapping):
        return list(fields.items())
    return [(name, f"/{name}") for name in fields]


def _one_of(option: str, value: Any, known: tuple[str, ...]) -> bool:
    """Whether the value is the last of the known ones."""
    if value not in known:
        raise DeclarationError(f"{option} is {' or '.join(map(repr, known))}, not {value!r}")
    return bool(value == known[-1])


def plugin_of(cls: type) -> Plugin:
    """Raises ``DeclarationError`` if the class has no role."""
    plugin = cls.__dict__.get("__sagabox_plugin__")
    if not isinstance(plugin, Plugin):
        raise DeclarationError(
            f"`{cls.__name__}` is no plugin: put @saga, @process_manager, @reactor or @enricher on it"
        )
    return plugin
