"""Times and durations as events and configurations write them.

A time is RFC 3339; it is read with any offset and written in UTC. A duration is ``24h`` or
``1h 30m``, in whole milliseconds.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MILLISECOND = timedelta(milliseconds=1)
#: Milliseconds of the units, the largest first.
UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_SPAN = re.compile(r"\s*(?:\d+(?:ms|s|m|h|d)\s*)+", re.ASCII)
_PART = re.compile(r"(\d+)(ms|s|m|h|d)", re.ASCII)


def parse_time(text: str) -> datetime:
    """A time in UTC. Digits behind the microseconds are dropped. Raises ``ValueError``."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text}` is no RFC 3339 time such as 2026-03-01T12:00:00Z")
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    fraction, utc, sign, hours, minutes = match.group(7, 8, 9, 10, 11)
    micros = int((fraction or "0")[:6].ljust(6, "0"))
    try:
        # A leap second is the last second of its minute: no clock of Python has another.
        local = datetime(
            year, month, day, hour, minute, 59 if second == 60 else second, micros,
            timezone.utc,
        )
        if utc:
            return local
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError("the offset is out of range")
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return local - offset if sign == "+" else local + offset
    except (ValueError, OverflowError) as error:
        raise ValueError(f"`{text}` is no RFC 3339 time: {error}") from None


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC. Raises ``ValueError`` for a time without a time zone."""
    if time.utcoffset() is None:
        raise ValueError(f"the time {time} has no time zone: use datetime(…, tzinfo=timezone.utc)")
    text = time.astimezone(timezone.utc).isoformat().removesuffix("+00:00")
    return (text.rstrip("0") if "." in text else text) + "Z"


def time_of_millis(millis: int) -> datetime:
    """The latest time that Python has, if it is later."""
    try:
        return EPOCH + timedelta(milliseconds=millis)
    except OverflowError:
        return datetime.max.replace(tzinfo=timezone.utc)


def millis_of_time(time: datetime) -> int:
    """Raises ``ValueError`` for a time without a time zone. Zero for a time before 1970."""
    if time.utcoffset() is None:
        raise ValueError(f"the time {time} has no time zone: use datetime(…, tzinfo=timezone.utc)")
    return max(0, (time - EPOCH) // MILLISECOND)


def due_at(time: datetime) -> int:
    """The first millisecond that is not before it, so that no timer is early.

    Raises ``ValueError`` for a time without a time zone, or before 1970.
    """
    floor = millis_of_time(time)
    if time < EPOCH:
        raise ValueError(f"the time {time} is before 1970")
    return floor + (EPOCH + floor * MILLISECOND < time)


def due_after(span: timedelta) -> int:
    """A part of a millisecond counts as a whole. Raises ``ValueError`` for a negative duration."""
    floor = millis_of_span(span)
    return floor + (floor * MILLISECOND < span)


def parse_span(text: str) -> timedelta:
    """Raises ``ValueError``."""
    if _SPAN.fullmatch(text) is None:
        raise ValueError(f"`{text}` is no duration such as 24h, 90s or 1h 30m (ms, s, m, h, d)")
    try:
        millis = sum(int(count) * UNITS[unit] for count, unit in _PART.findall(text))
        return timedelta(milliseconds=millis)
    except (ValueError, OverflowError):
        raise ValueError(f"the duration `{text}` is out of range") from None


def format_span(span: timedelta) -> str:
    """In milliseconds, rounded down. Raises ``ValueError`` for a negative duration."""
    rest = millis_of_span(span)
    parts = []
    for unit, millis in UNITS.items():
        count, rest = divmod(rest, millis)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def millis_of_span(span: timedelta) -> int:
    """Rounded down. Raises ``ValueError`` for a negative duration."""
    if span < timedelta(0):
        raise ValueError(f"the duration {span} is negative")
    return span // MILLISECOND
