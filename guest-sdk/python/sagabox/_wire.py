"""What crosses the border to the host, in the shapes of the WIT package.

The host's bindings take records by their members, so these records are theirs as well. Variants
they take by their class: ``install`` puts the classes of the bindings in the place of these.
"""

from __future__ import annotations

from typing import Any


class Message:
    """A command or an emitted event."""

    __slots__ = ("data", "datacontenttype", "extensions", "subject", "type")

    def __init__(
        self,
        type: str,
        subject: str | None,
        datacontenttype: str,
        extensions: list[Extension],
        data: bytes,
    ) -> None:
        self.type = type
        self.subject = subject
        self.datacontenttype = datacontenttype
        self.extensions = extensions
        self.data = data


class Extension:
    __slots__ = ("name", "value")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value


class Lookup:
    __slots__ = ("key", "name")

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self.key = key


class Timer:
    __slots__ = ("data", "due", "name")

    def __init__(self, name: str, due: Any, data: bytes) -> None:
        self.name = name
        self.due = due
        self.data = data


class Event:
    """An event, as the host gives it."""

    def __init__(
        self,
        id: str,
        source: str,
        type: str,
        subject: str | None,
        time: str | None,
        datacontenttype: str,
        dataschema: str | None,
        extensions: list[Extension],
        data: bytes,
    ) -> None:
        self.id = id
        self.source = source
        self.type = type
        self.subject = subject
        self.time = time
        self.datacontenttype = datacontenttype
        self.dataschema = dataschema
        self.extensions = extensions
        self.data = data


class Context:
    """All about a call that is not the event or the state, as the host gives it."""

    def __init__(
        self,
        now: int,
        attempt: int,
        key: str,
        answers: list[Answer],
        configuration: str,
        seed: tuple[int, int, int, int],
    ) -> None:
        self.now = now
        self.attempt = attempt
        self.key = key
        self.answers = answers
        self.configuration = configuration
        self.seed = seed


class Answer:
    def __init__(self, question: Any, value: Any) -> None:
        self.question = question
        self.value = value


class Payload:
    def __init__(self, content_type: str, data: bytes) -> None:
        self.content_type = content_type
        self.data = data


class _Case:
    __slots__ = ("value",)

    def __init__(self, value: Any = None) -> None:
        self.value = value


class Question_Lookup(_Case):  # noqa: N801 - the names of the bindings
    pass


class Question_Stream(_Case):  # noqa: N801
    pass


class AnswerValue_Found(_Case):  # noqa: N801
    pass


class AnswerValue_Missing(_Case):  # noqa: N801
    pass


class AnswerValue_Events(_Case):  # noqa: N801
    pass


class Due_After(_Case):  # noqa: N801
    pass


class Due_At(_Case):  # noqa: N801
    pass


class TimerChange_Set(_Case):  # noqa: N801
    pass


class TimerChange_Cancel(_Case):  # noqa: N801
    pass


class KeyChange_Claim(_Case):  # noqa: N801
    pass


class KeyChange_Release(_Case):  # noqa: N801
    pass


def install(bindings: Any) -> None:
    """Takes the variants of a module of bindings."""
    for name, known in list(globals().items()):
        if isinstance(known, type) and issubclass(known, _Case) and hasattr(bindings, name):
            globals()[name] = getattr(bindings, name)
