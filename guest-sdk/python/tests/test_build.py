"""What the builder finds in a project, and how it names an author's mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sagabox import build

GOOD = """
from sagabox import Context, RawEvent, on, saga, subject

@saga()
class Orders:
    @on("placed", key=subject)
    def placed(self, event: RawEvent, ctx: Context) -> None: ...
"""


def project(folder: Path, files: dict[str, str], toml: str = '[project]\nname = "my-saga"') -> Path:
    (folder / "pyproject.toml").write_text(toml)
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def loaded(folder: Path) -> tuple[int, str]:
    """The result of loading a project, in a process of its own: modules stay loaded."""
    script = (
        "import sys, pathlib; from sagabox import build\n"
        "try:\n"
        "    found = build.read_project(pathlib.Path(sys.argv[1]))\n"
        "    plugins = build._load(found, [])\n"
        "    print(build._application(found, plugins), build._modules_of(found))\n"
        "except build.BuildError as error:\n"
        "    sys.exit(str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("place", ["my_saga.py", "my_saga/__init__.py", "src/my_saga.py"])
def test_a_project_is_found_with_its_role(tmp_path: Path, place: str) -> None:
    toml = '[project]\nname = "my-saga"\nversion = "1.2.0"\ndescription = "Does \'it\'"'
    status, output = loaded(project(tmp_path, {place: GOOD}, toml))
    assert status == 0, output
    assert "import my_saga\n" in output
    assert "SagaHandler = component.handler('saga', 'my-saga', '1.2.0', \"Does 'it'\")" in output
    assert f"[('/1/', '{'src/' if place.startswith('src') else ''}')]" in output


def test_modules_beside_the_plugin_are_taken_and_others_are_not(tmp_path: Path) -> None:
    files = {
        "my_saga.py": "import money\nfrom parts.one import ONE\n" + GOOD,
        "money.py": "",
        "parts/one.py": "ONE = 1",
        "other.py": "",
        "tests/test_it.py": "",
    }
    assert "['money', 'my_saga', 'parts']" in loaded(project(tmp_path, files))[1]


def test_the_project_names_its_module(tmp_path: Path) -> None:
    toml = '[project]\nname = "my-saga"\n[tool.sagabox]\nmodule = "plugins.orders"'
    status, output = loaded(project(tmp_path, {"plugins/orders.py": GOOD}, toml))
    assert status == 0, output
    assert "import plugins.orders\n" in output


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\n\ndef f(): raise ValueError('no way')\nf()\n", ["my_saga.py:3: ValueError: no way", "at my_saga.py:4 in <module>"]),
        ("def f(:\n", ["my_saga.py:1: SyntaxError"]),
        ("import sagabox_missing\n", ["my_saga.py:1: ModuleNotFoundError: No module named 'sagabox_missing'"]),
        (GOOD.replace("subject)", '"orderId")'), ["my_saga.py:6: a key is a JSON Pointer"]),
        ("x = 1\n", ["the module `my_saga` has no plugin"]),
        (GOOD + GOOD, ["a component has one saga; this project has Orders and Orders"]),
        ("import sys\nsys.exit(3)\n", ["my_saga.py:2: SystemExit: 3"]),
        (GOOD + GOOD.replace("saga", "reactor").replace("from reactorbox", "from sagabox"), ["two plugins have the name `my-saga`"]),
    ],
)  # fmt: skip
def test_a_mistake_in_the_module_is_named_with_its_place(
    tmp_path: Path, source: str, expected: list[str]
) -> None:
    status, output = loaded(project(tmp_path, {"my_saga.py": source}))
    assert status != 0
    for text in expected:
        assert text in output


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        (None, "cannot be read"),
        ("[project", "is no TOML"),
        ('[project]\nname = "My_Saga"', "needs a name of a-z, 0-9 and -"),
        ("", "needs a name"),
        ('[project]\nname = "other"', "the module `other` is neither in"),
    ],
)
def test_a_project_file_that_does_not_fit_is_refused(
    tmp_path: Path, toml: str | None, reason: str
) -> None:
    folder = tmp_path if toml is None else project(tmp_path, {"my_saga.py": GOOD}, toml)
    with pytest.raises(build.BuildError, match=reason):
        build.read_project(folder)


def test_a_component_can_have_several_roles(tmp_path: Path) -> None:
    other = GOOD.replace("saga()", 'reactor(name="other")').replace("on, saga", "on, reactor")
    status, output = loaded(project(tmp_path, {"my_saga.py": GOOD + other}))
    assert status == 0, output
    assert "component.handler('saga', 'my-saga', " in output
    assert "component.handler('reactor', 'other', " in output


def test_the_world_exports_each_role(tmp_path: Path) -> None:
    class Made:
        def __init__(self, role: str) -> None:
            self.role = role

    roles: list[Any] = [Made("saga"), Made("process-manager")]
    folder = build._write_world(roles, tmp_path)
    world = (folder / "sagabox-component.wit").read_text()
    assert world.splitlines()[2:] == [
        "world sagabox-component {",
        "    import logging;",
        "    export saga-handler;",
        "    export process-manager-handler;",
        "}",
    ]
    first = (folder / "types.wit").read_text().splitlines()[0]
    assert world.splitlines()[0] == first == f"package {build._WIT_PACKAGE};"


def test_the_wit_package_is_part_of_this_one() -> None:
    names = {file.name for file in (Path(build.__file__).parent / "wit" / "0.1").glob("*.wit")}
    assert {"types.wit", "saga.wit", "process-manager.wit", "reactor.wit", "enricher.wit"} <= names
