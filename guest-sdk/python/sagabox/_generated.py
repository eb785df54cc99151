"""Functions that read and write one dataclass, made as Python text once, as ``dataclasses`` makes
``__init__``. They handle what fits. What does not fit in the class itself, they leave to the methods of
``Record``, which find the place and the words for it; both give the same result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._json import quote
from ._scalars import TEXT
from .errors import Mismatch

if TYPE_CHECKING:
    from ._containers import Member, Record

_MISSING: Any = object()


def reader(record: Record) -> Any:
    """As ``Record.decode``."""
    names: dict[str, Any] = {
        "MISSING": _MISSING, "Mismatch": Mismatch, "slow": record.decode, "kind": record.kind
    }
    lines = [
        "def decode(value):",
        " if value.__class__ is not tuple: return slow(value)",
        " given = dict(value)",
        " if len(given) != len(value): return slow(value)",
    ]
    for index, member in enumerate(record.members):
        names[f"d{index}"], names[f"n{index}"] = member.codec.decode, member.name
        names[f"a{index}"] = member.default
        lines += _read(index, member)
    arguments = [
        f"{member.attribute}=v{index}" if member.keyword_only else f"v{index}"
        for index, member in enumerate(record.members)
    ]
    # An argument by its name stands behind the others.
    arguments.sort(key=lambda argument: "=" in argument)
    lines += [
        f" try: return kind({', '.join(arguments)})",
        # The author's own check, in __post_init__.
        " except ValueError: return slow(value)",
    ]
    return _made(lines, names, "decode")


def _read(index: int, member: Member) -> list[str]:
    lines = [f" v{index} = given.get(n{index}, MISSING)"]
    if member.codec is TEXT and member.default is None:
        return [*lines, f" if v{index}.__class__ is not str: return slow(value)"]
    absent = "return slow(value)" if member.default is None else f"v{index} = a{index}()"
    return [
        *lines,
        f" if v{index} is MISSING: {absent}",
        " else:",
        f"  try: v{index} = d{index}(v{index})",
        f"  except Mismatch as mismatch: raise mismatch.under(n{index}) from None",
    ]


def writer(record: Record) -> Any:
    """As ``Record.encode``."""
    names: dict[str, Any] = {"Mismatch": Mismatch, "slow": record.encode, "kind": record.kind}
    lines = ["def encode(value):", " if not isinstance(value, kind): return slow(value)"]
    for index, member in enumerate(record.members):
        names[f"e{index}"], names[f"n{index}"] = member.codec.encode, member.name
        names[f"p{index}"], names["quote"] = f",{quote(member.name)}:", quote
        lines += _write(index, member)
    parts = [f"t{index}" for index in range(len(record.members))]
    lines.append(f" return '{{' + ({' + '.join(parts) or repr('')})[1:] + '}}'")
    return _made(lines, names, "encode")


def _write(index: int, member: Member) -> list[str]:
    lines = [f" v{index} = value.{member.attribute}"]
    if member.codec is TEXT:
        return [
            *lines,
            # `quote` raises it for what is no str.
            f" try: t{index} = p{index} + quote(v{index})",
            " except TypeError: return slow(value)",
        ]
    attempt = [
        f" try: t{index} = p{index} + e{index}(v{index})",
        f" except Mismatch as mismatch: raise mismatch.under(n{index}) from None",
    ]
    if member.left_out:
        indented = [f" {line}" for line in attempt]
        attempt = [f" if v{index} is None: t{index} = ''", " else:", *indented]
    return [*lines, *attempt]


def _made(lines: list[str], names: dict[str, Any], name: str) -> Any:
    exec("\n".join(lines), names)  # noqa: S102 - the text has numbers and attribute names alone
    return names[name]
