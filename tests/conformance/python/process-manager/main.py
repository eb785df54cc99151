"""The conformance process manager: instances, timers, keys, compensation, migration."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sagabox import (
    Cancelled,
    Context,
    Int64,
    PermanentError,
    TransientError,
    Undeliverable,
    command,
    event,
    hold,
    migrate,
    on,
    on_cancel,
    on_timer,
    on_undeliverable,
    process_manager,
    start,
    start_or_handle,
    timer,
)

HOUR = timedelta(hours=1)


@dataclass
class Customer:
    name: str


@event
class Started:
    id: str
    notes: list[str] | None = None


@event
class Added:
    id: str
    note: str


@event
class Linked:
    id: str
    keys: list[str]


@event
class Unlinked:
    id: str
    keys: list[str]


@event
class Touched:
    key: str


@event
class Paused:
    id: str


@event
class Asked:
    id: str


@event
class Broken:
    id: str
    how: str


@event
class Closed:
    id: str


@event(subject="id")
class ProcessClosed:
    id: str


@command(subject="id")
class Welcome:
    id: str


@command(subject="id")
class Remind:
    id: str
    times: Int64


@command(subject="id")
class Goodbye:
    id: str
    count: Int64


@command(subject="id")
class Apologize:
    id: str
    reason: str
    attempts: Int64


@timer
class Reminder:
    times: Int64


@timer
class Deadline:
    pass


@dataclass
class Process:
    id: str
    count: Int64
    notes: list[str]
    last: datetime | None = None


@process_manager(
    state=Process,
    state_version=2,
    sends=[Welcome, Remind, Goodbye, Apologize],
    emits=[ProcessClosed],
    lookups=["customers"],
    fields=["id", "count"],
    summary="process {id}: {count}",
)
class ConformanceProcessManager:
    @start(Started, key="/id")
    def started(self, event: Started, ctx: Context) -> Process:
        ctx.send(Welcome(event.id))
        ctx.set_timer(Reminder(times=1), HOUR)
        ctx.set_timer(Deadline(), at=ctx.now + timedelta(hours=24))
        return Process(event.id, count=0, notes=event.notes or [])

    @start_or_handle(Added, key="/id", initial=lambda: Process("", count=0, notes=[]))
    def added(self, process: Process, event: Added, ctx: Context) -> None:
        process.id = event.id
        process.count += 1
        process.notes.append(event.note)
        process.last = ctx.now

    @on(Linked, key="/id", absent="fail")
    def linked(self, process: Process, event: Linked, ctx: Context) -> None:
        for key in event.keys:
            ctx.claim(key)

    @on(Unlinked, key="/id")
    def unlinked(self, process: Process, event: Unlinked, ctx: Context) -> None:
        for key in event.keys:
            ctx.release(key)

    @on(Touched, key="/key", absent=hold("10m"))
    def touched(self, process: Process, event: Touched, ctx: Context) -> None:
        process.count += 1

    @on(Paused, key="/id")
    def paused(self, process: Process, event: Paused, ctx: Context) -> None:
        ctx.cancel_timer(Reminder)

    @on(Asked, key="/id")
    def asked(self, process: Process, event: Asked, ctx: Context) -> None:
        process.count += 1
        customer = ctx.lookup("customers", event.id, Customer)
        process.notes.append("unknown" if customer is None else customer.name)

    @on(Broken, key="/id")
    def broken(self, process: Process, event: Broken, ctx: Context) -> None:
        process.count += 1
        ctx.send(Welcome(event.id))
        match event.how:
            case "permanent":
                raise PermanentError(f"broken {event.id}")
            case "transient":
                raise TransientError(f"broken {event.id}")
            case _:
                throw(f"broken {event.id}")

    @on(Closed, key="/id")
    def closed(self, process: Process, event: Closed, ctx: Context) -> None:
        ctx.complete()
        ctx.send(Goodbye(event.id, process.count))
        ctx.emit(ProcessClosed(event.id))

    @on_timer(Reminder)
    def remind(self, process: Process, timer: Reminder, ctx: Context) -> None:
        ctx.send(Remind(process.id, timer.times))
        ctx.set_timer(Reminder(timer.times + 1), HOUR)

    @on_timer(Deadline)
    def deadline(self, process: Process, timer: Deadline, ctx: Context) -> None:
        ctx.complete()
        ctx.send(Goodbye(process.id, process.count))

    @on_undeliverable
    def undeliverable(self, process: Process, command: Undeliverable, ctx: Context) -> None:
        if command.parse(Welcome) is not None:
            ctx.complete()
            ctx.send(Apologize(process.id, command.reason, command.attempts))

    @on_cancel
    def cancelled(self, process: Process, cancelled: Cancelled, ctx: Context) -> None:
        ctx.complete()
        ctx.send(Apologize(process.id, f"{cancelled.by}: {cancelled.reason}", attempts=0))

    @migrate(1, to=2)
    def count_total(self, state: dict[str, Any]) -> dict[str, Any]:
        if state["total"] < 0:
            throw(f"negative {state['total']}")
        return {"id": state["id"], "count": state["total"], "notes": []}

    @migrate(2, to=1)
    def total_count(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"id": state["id"], "total": state["count"]}


def throw(text: str) -> None:
    raise RuntimeError(text)
