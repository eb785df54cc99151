"""Lines for the host's log: from ``ctx.log``, from ``print``, from the module ``logging``, and the
traceback of an unexpected error. Outside a component they go to the standard output."""

from __future__ import annotations

import io
import os
import sys
from types import TracebackType
from typing import Any, Callable

LEVELS = ("trace", "debug", "info", "warn", "error")
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
#: Folders whose files are not the author's; and what a path begins with, and what is shown of it.
_FOREIGN = [_HERE, os.path.dirname(os.path.abspath(os.__file__)) + os.sep, "<"]
#: A traceback in the log shows so many frames, and so many errors that led to one.
_FRAMES_MAX = 20
_CAUSES_MAX = 8
_ROOTS: list[tuple[str, str]] = []


def _to_output(level: str, text: str) -> None:
    stream = sys.__stdout__
    if stream is not None:
        print(text, file=sys.stdout)


#: Where lines go: the component sets it.
sink: Callable[[str, str], None] = _to_output


def write(level: str, text: str) -> None:
    if level not in LEVELS:
        raise ValueError(f"the level `{level}` is none of {', '.join(LEVELS)}")
    # Half of a surrogate pair does not cross the border.
    sink(level, text if text.isascii() else text.encode(errors="backslashreplace").decode())


class Lines(io.TextIOBase):
    """A standard output whose lines go to the log."""

    def __init__(self, level: str) -> None:
        self.level = level
        self.pending = ""

    def write(self, text: str) -> int:
        self.pending += text
        if "\n" in text:
            *lines, self.pending = self.pending.split("\n")
            for line in lines:
                write(self.level, line)
        return len(text)

    def writable(self) -> bool:
        return True

    def finish(self) -> None:
        """At the end of a call: the last line need not end."""
        if self.pending:
            line, self.pending = self.pending, ""
            write(self.level, line)


def set_roots(roots: list[tuple[str, str]]) -> None:
    """What the beginning of a path in the component is in the author's project."""
    _ROOTS[:] = roots


def failure_text(error: BaseException) -> str:
    """Class, text and place of an unexpected error, in one line."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if _ROOTS and isinstance(error, ImportError):
        text += "; a component loads no module after it is built: import it at the top"
    place = places(error.__traceback__)[-1:]
    return _clean(f"{text} ({place[0]})" if place else text)


def traceback_text(error: BaseException) -> str:
    """The author's frames of an error and of the errors that led to it."""
    parts: list[str] = []
    one: BaseException | None = error
    while one is not None and len(parts) < _CAUSES_MAX:
        lines = [f"  at {place}" for place in places(one.__traceback__)]
        if len(lines) > _FRAMES_MAX:
            half = _FRAMES_MAX // 2
            left_out = f"  and {len(lines) - 2 * half} frames more"
            lines = [*lines[:half], left_out, *lines[-half:]]
        parts.append("\n".join([f"{type(one).__name__}: {one}", *lines]))
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return _clean("\ncaused by ".join(parts))


def _clean(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def places(traceback: TracebackType | None) -> list[str]:
    """``main.py:12 in handler``, for each frame of the author, the outermost first."""
    found = []
    while traceback is not None:
        code: Any = traceback.tb_frame.f_code
        if _is_own(code.co_filename):
            found.append(f"{_shown(code.co_filename)}:{traceback.tb_lineno} in {code.co_name}")
        traceback = traceback.tb_next
    return found


def _is_own(path: str) -> bool:
    """Whether a file is the author's, and not the SDK's, Python's or a package's."""
    if _ROOTS:
        return any(path.startswith(begin) for begin, _ in _ROOTS)
    return not any(path.startswith(folder) for folder in _FOREIGN)


def _shown(path: str) -> str:
    for begin, shown in _ROOTS:
        if path.startswith(begin):
            return shown + path[len(begin) :]
    try:
        relative = os.path.relpath(path)
    except (ValueError, OSError):
        return path
    return path if relative.startswith("..") else relative
