"""Builds a component: ``python -m sagabox.build SOURCE_DIR --out FILE.wasm --work DIR``.

The author's module is imported twice: here, where a mistake shows with its file and line, and by
componentize-py in the CPython of the component, whose memory after the import is the component.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from . import _log, _plugin
from .errors import DeclarationError

#: The one version that this package is tested with.
COMPONENTIZE_PY = "0.25.1"
#: The CPython that it puts into components.
PYTHON = "3.14"
_PACKAGE = Path(__file__).resolve().parent
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_APPLICATION = "sagabox_application"
_WIT_PACKAGE = "sagabox:plugin@0.1.0"
_WORLD = "sagabox-component"
#: Parts of the SDK that no component needs.
_NATIVE_ONLY = ("build.py", "testing.py")


class BuildError(Exception):
    """The text is for the author."""


@dataclass
class Project:
    """What the project's file says."""

    folder: Path
    #: The folder of the modules: the project's, or ``src``.
    root: Path
    module: str
    name: str
    version: str
    description: str
    dependencies: list[str]
    #: Whether the component imports WASI. A host with `strict` takes no such component.
    wasi: bool


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sagabox.build", description="Builds a Sagabox component from a Python project."
    )
    parser.add_argument("source", type=Path, help="directory of the project, with pyproject.toml")
    parser.add_argument("--out", type=Path, required=True, help="file to write the component to")
    parser.add_argument("--work", type=Path, required=True, help="directory for intermediate files")
    options = parser.parse_args(arguments)
    try:
        build(options.source, options.out, options.work)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build(source: Path, out: Path, work: Path) -> None:
    """Raises ``BuildError``."""
    _check_toolchain()
    project = read_project(source)
    work.mkdir(parents=True, exist_ok=True)
    packages = _install(project, work)
    plugins = _load(project, packages)
    staged = _stage(project, plugins, work)
    _componentize(project, plugins, [*staged, *packages], out, work)


def _check_toolchain() -> None:
    try:
        found = importlib.metadata.version("componentize-py")
    except importlib.metadata.PackageNotFoundError:
        found = None
    if found != COMPONENTIZE_PY:
        has = "is not installed" if found is None else f"has the version {found}"
        raise BuildError(
            f"componentize-py {has}; install the version that this SDK is tested with: "
            f"{sys.executable} -m pip install componentize-py=={COMPONENTIZE_PY}"
        )


def read_project(source: Path) -> Project:
    """Reads ``pyproject.toml`` and finds the module. Raises ``BuildError``."""
    file = source / "pyproject.toml"
    try:
        content = _toml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BuildError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BuildError(f"{file} is no TOML: {error}") from None
    project = content.get("project", {})
    tool = content.get("tool", {}).get("sagabox", {})
    name = project.get("name")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise BuildError(
            f"{file}: [project] needs a name of a-z, 0-9 and -, such as \"order-saga\"; it has {name!r}"
        )
    module = tool.get("module", name.replace("-", "_"))
    roots = [source / "src", source]
    root = next((root for root in roots if _file_of(root, module) is not None), None)
    if root is None:
        raise BuildError(
            f"the module `{module}` is neither in {source} nor in its folder src; name another in "
            "pyproject.toml: [tool.sagabox] module = \"…\""
        )
    return Project(
        folder=source,
        root=root,
        module=module,
        name=name,
        version=str(project.get("version", "0.0.0")),
        description=str(project.get("description", "")),
        dependencies=[str(one) for one in project.get("dependencies", [])],
        wasi=bool(tool.get("wasi", True)),
    )


def _toml(text: str) -> dict[str, Any]:
    try:
        import tomllib
    except ImportError:  # Python 3.10
        from pip._vendor import tomli as tomllib  # type: ignore[no-redef]
    return tomllib.loads(text)


def _file_of(root: Path, module: str) -> Path | None:
    path = root.joinpath(*module.split("."))
    places = [path.with_suffix(".py"), path / "__init__.py"]
    return next((place for place in places if place.is_file()), None)


def _install(project: Project, work: Path) -> list[Path]:
    """The packages that the project depends on, without this one."""
    wanted = [
        one
        for one in project.dependencies
        if re.split(r"[^A-Za-z0-9._-]", one.strip())[0].lower().replace("_", "-") != "sagabox-sdk"
    ]
    if not wanted:
        return []
    folder, mark = work / "packages", work / "packages.txt"
    content = "\n".join([PYTHON, *wanted])
    if folder.is_dir() and mark.is_file() and mark.read_text() == content:
        return [folder]
    shutil.rmtree(folder, ignore_errors=True)
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--target", str(folder), "--only-binary=:all:", "--platform=any", "--implementation=py",
        "--abi=none", f"--python-version={PYTHON}", *wanted,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(
            f"the dependencies {', '.join(wanted)} cannot be installed; a component takes packages "
            f"that are pure Python, for Python {PYTHON}, and no others:\n{done.stderr.strip()}"
        )
    mark.write_text(content)
    return [folder]


def _load(project: Project, packages: list[Path]) -> list[_plugin.Plugin]:
    """Imports the module. What it prints is part of the build's output."""
    sys.path[:0] = [str(project.root), *map(str, packages)]
    _log.set_roots([(str(project.root.resolve()) + os.sep, _shown_root(project))])
    sys.dont_write_bytecode = True
    try:
        importlib.import_module(project.module)
    except SyntaxError as error:
        place = f"{_shown(project, error.filename)}:{error.lineno}"
        raise BuildError(f"{place}: {type(error).__name__}: {error.msg}") from None
    except BaseException as error:
        _refuse(error)
    plugins = list(_plugin.registered)
    if not plugins:
        raise BuildError(
            f"the module `{project.module}` has no plugin: put @saga, @process_manager, @reactor or "
            "@enricher on a class"
        )
    for known in plugins:
        same = [plugin for plugin in plugins if plugin.role == known.role]
        if len(same) > 1:
            classes = " and ".join(plugin.cls.__name__ for plugin in same)
            raise BuildError(f"a component has one {known.role}; this project has {classes}")
    names = [plugin.name or project.name for plugin in plugins]
    if len(set(names)) != len(names):
        raise BuildError(
            f"two plugins have the name `{names[0]}`: give them names, as in @saga(name=\"…\")"
        )
    return plugins


def _refuse(error: BaseException) -> NoReturn:
    places = _log.places(error.__traceback__)
    text = str(error) if isinstance(error, DeclarationError) else f"{type(error).__name__}: {error}"
    if not places:
        raise BuildError(text) from None
    inner = places[-1].split(" in ")[0]
    frames = "".join(f"\n  at {place}" for place in reversed(places))
    raise BuildError(f"{inner}: {text}{frames}") from None


def _shown_root(project: Project) -> str:
    return "" if project.root == project.folder else f"{project.root.name}/"


def _shown(project: Project, path: str | None) -> str:
    try:
        return str(Path(path or "").resolve().relative_to(project.folder.resolve()))
    except ValueError:
        return str(path)


def _stage(project: Project, plugins: list[_plugin.Plugin], work: Path) -> list[Path]:
    """Copies what the component needs: componentize-py reads all of a folder that it is given."""
    folders = [work / name for name in ("application", "source", "sdk")]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    application, source, sdk = folders
    (application / f"{_APPLICATION}.py").write_text(_application(project, plugins), encoding="utf-8")
    for name in _modules_of(project):
        _copy(project.root, name, source)
    (sdk / _PACKAGE.name).mkdir()
    for file in _PACKAGE.glob("*.py"):
        if file.name not in _NATIVE_ONLY:
            shutil.copy(file, sdk / _PACKAGE.name)
    return folders


def _modules_of(project: Project) -> list[str]:
    """Names at the top level of the project's folder that were imported."""
    root = project.root.resolve()
    found = {project.module.split(".")[0]}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or not Path(file).resolve().is_relative_to(root):
            continue
        top = name.split(".")[0]
        if _file_of(root, top) is not None or (root / top).is_dir():
            found.add(top)
    return sorted(found - {_PACKAGE.name, "__main__"})


def _copy(root: Path, name: str, target: Path) -> None:
    file, folder = root / f"{name}.py", root / name
    if folder.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(folder, target / name, ignore=ignored)
    else:
        shutil.copy(file, target)


def _application(project: Project, plugins: list[_plugin.Plugin]) -> str:
    classes = {
        "saga": "SagaHandler",
        "process-manager": "ProcessManagerHandler",
        "reactor": "ReactorHandler",
        "enricher": "EnricherHandler",
    }
    lines = [
        "import sagabox.component as component",
        f"component.begin([('/1/', {_shown_root(project)!r})])",
        f"import {project.module}",
    ]
    for plugin in plugins:
        name = plugin.name or project.name
        said = ", ".join(map(repr, (plugin.role, name, project.version, project.description)))
        lines.append(f"{classes[plugin.role]} = component.handler({said})")
    return "\n".join([*lines, "component.ready()", ""])


def _componentize(
    project: Project, plugins: list[_plugin.Plugin], paths: list[Path], out: Path, work: Path
) -> None:
    # Without an environment of its own, componentize-py adds all packages of this machine.
    environment = {**os.environ, "VIRTUAL_ENV": str((work / "environment").resolve())}
    (work / "environment" / "lib" / "python3" / "site-packages").mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-c", "from componentize_py import script; script()", "--quiet",
        "--wit-path", str(_write_world(plugins, work)), "--world", _WORLD,
        "componentize", "--output", str(out.resolve()),
    ]
    if not project.wasi:
        command.append("--stub-wasi")
    for path in paths:
        command += ["--python-path", str(path.resolve())]
    out.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [*command, _APPLICATION], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(_refusal(project, done.stderr.strip() or done.stdout.strip()))
    if done.stderr.strip():
        print(done.stderr.strip(), file=sys.stderr)


def _write_world(plugins: list[_plugin.Plugin], work: Path) -> Path:
    """The WIT package, with a world that exports all roles of the component."""
    folder = work / "wit"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_PACKAGE / "wit" / "0.1", folder)
    exports = "\n".join(f"    export {plugin.role}-handler;" for plugin in plugins)
    text = f"package {_WIT_PACKAGE};\n\nworld {_WORLD} {{\n    import logging;\n{exports}\n}}\n"
    (folder / f"{_WORLD}.wit").write_text(text)
    return folder


def _refusal(project: Project, output: str) -> str:
    text = output.replace('"/1/', f'"{_shown_root(project)}')
    hint = ""
    if "ModuleNotFoundError" in text or "ImportError" in text:
        hint = (
            "\na component has CPython's own modules without those that need the system (sockets, "
            "threads, processes, sqlite3, ssl), and packages that are pure Python"
        )
    return f"the module does not load in the component's CPython {PYTHON}:\n{text}{hint}"


if __name__ == "__main__":
    sys.exit(main())
