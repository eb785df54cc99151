"""What type checkers see: mypy reads a plugin as its author's editor does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PLUGIN = '''
from dataclasses import field
from datetime import timedelta
from sagabox import *
from sagabox.testing import given

@event(subject="order_id")
class Placed:
    order_id: str
    items: list[str] = field(default_factory=list)

@command
class Charge:
    order_id: str

@config
class Settings:
    patience: timedelta = timedelta(hours=1)

@timer
class Deadline:
    pass

@saga(sends=[Charge], config=Settings)
class Orders:
    @on(Placed, key="/orderId")
    def placed(self, event: Placed, ctx: Context[Settings]) -> None:
        reveal_type(event.items)
        reveal_type(ctx.config)
        reveal_type(ctx.lookup("stock", "a", Placed))
        reveal_type(ctx.lookups("stock", ["a"], Placed))
        reveal_type(ctx.stream("s"))
        reveal_type(ctx.stream("s", Placed))
        reveal_type(ctx.event.parse(Placed))
        reveal_type(Orders)
        Charge(7)
        Charge()
        Placed("o", item=[])
        ctx.config.patience = timedelta(0)
        ctx.set_timer(Deadline(), 7)

    def plain(self, ctx: Context) -> None:
        reveal_type(ctx.config)

given(Orders).when(Placed("o")).sends(Charge("o")).then.when(Placed("o", ["a"]))
'''

SEEN = [
    'note: Revealed type is "list[str]"',
    'note: Revealed type is "plugin.Settings"',
    'note: Revealed type is "plugin.Placed | None"',
    'note: Revealed type is "list[plugin.Placed | None]"',
    'note: Revealed type is "list[sagabox._messages.RawEvent]"',
    'note: Revealed type is "list[plugin.Placed]"',
    'note: Revealed type is "plugin.Placed | None"',
    'note: Revealed type is "def () -> plugin.Orders"',
    'error: Argument 1 to "Charge" has incompatible type "int"; expected "str"',
    'error: Missing positional argument "order_id" in call to "Charge"',
    'error: Unexpected keyword argument "item" for "Placed"; did you mean "items"?',
    'error: Property "patience" defined in "Settings" is read-only',
    'error: Argument 2 to "set_timer" of "Context" has incompatible type "int"; expected "timedelta | None"',
    'note: Revealed type is "Any"',
]


def test_a_type_checker_finds_the_authors_mistakes(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    command = [
        sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-codes",
        "--no-color-output", "--cache-dir", str(tmp_path / "cache"), str(plugin),
    ]
    package = str(Path(__file__).parent.parent)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"MYPYPATH": package, "PATH": "/usr/bin:/bin"},
    )
    output = done.stdout.replace("builtins.", "")
    lines = [re.sub(r"^plugin\.py:\d+: ", "", line) for line in output.splitlines()]
    assert [line for line in lines if "defined here" not in line] == SEEN, done.stdout + done.stderr
