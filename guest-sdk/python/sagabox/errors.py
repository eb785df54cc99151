"""What a handler raises, and what the SDK raises."""

from __future__ import annotations


class PermanentError(Exception):
    """The event cannot be handled, and a retry cannot help: it becomes a dead letter at once.

    An exception of any other class has the same effect; its text then names the file and the line.
    """


class TransientError(Exception):
    """The event cannot be handled now, and a retry may help: the host retries with backoff."""


class DataError(PermanentError, ValueError):
    """Data does not fit its type, or a value has no JSON form. The text names the JSON Pointer."""


class DeclarationError(TypeError):
    """A class or a handler is declared in a way that no plugin can have."""


class Suspended(BaseException):
    """Leaves a handler whose question is open. The host answers it and calls the handler again.

    It is no ``Exception``, so that ``except Exception`` in a handler lets it pass. A handler that
    catches it all the same loses nothing: the open question comes before its decision.
    """


class Mismatch(Exception):
    """A value does not fit a codec. Each codec on the way out adds its part of the path."""

    def __init__(self, reason: str, *path: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = list(path)

    def under(self, part: object) -> Mismatch:
        self.path.insert(0, str(part))
        return self

    def __str__(self) -> str:
        if not self.path:
            return self.reason
        parts = (part.replace("~", "~0").replace("/", "~1") for part in self.path)
        separator = " " if self.reason.startswith("is ") else ": "
        return f"`/{'/'.join(parts)}`{separator}{self.reason}"
