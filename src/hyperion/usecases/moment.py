"""A time as an operator writes it: RFC 3339, a local time with its zone, or a date alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from hyperion.domain.live import Period
from hyperion.errors import ConfigError

_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?P<time>\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?))?"
    r" ?(?P<zone>[Zz]|[+-]\d\d:\d\d|[A-Za-z][A-Za-z0-9_+/-]*)?"
)
_EXAMPLES = "2026-11-22T18:00:00Z, '2026-11-22 18:00 Europe/Berlin' or 2026-11-22"


def parse_moment(text: str) -> Period:
    """The moment that ``text`` names, or the whole day where it is a date alone, in UTC where it names no zone.

    Raises:
        ConfigError: It is no time, one without a zone, or one that its zone has twice or not at all, for clocks were
            changed (code ``history.time``).
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise _wrong(text, "expected a time")
    if found["time"] is not None and found["zone"] is None:
        raise _wrong(text, "expected a zone behind the time")
    zone = UTC if found["zone"] is None else _zone(found["zone"], text)
    try:
        start = datetime.fromisoformat(f"{found['date']} {found['time'] or '00:00'}").replace(tzinfo=zone)
        if found["time"] is None:
            return Period(start.astimezone(UTC), (start + timedelta(days=1)).astimezone(UTC))
        _require_unique(start, text)
        return Period(start.astimezone(UTC), start.astimezone(UTC) + timedelta(microseconds=1))
    except (ValueError, OverflowError) as error:
        raise _wrong(text, f"expected a time that exists ({error})") from error


def _zone(name: str, text: str) -> tzinfo:
    if name in "Zz":
        return UTC
    if name[0] in "+-":
        hours, minutes = int(name[1:3]), int(name[4:6])
        if hours > 23 or minutes > 59:
            raise _wrong(text, "expected an offset within 24 hours")
        return timezone((-1 if name[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes))
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _wrong(text, f"this host knows no zone {name!r}") from error


def _require_unique(local: datetime, text: str) -> None:
    """Demand that the clocks of the zone show this time just once."""
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        both = " or ".join(local.replace(fold=fold).isoformat() for fold in (0, 1))
        raise _wrong(text, f"clocks were changed then, so it is no single moment: {both}")


def _wrong(text: str, fault: str) -> ConfigError:
    return ConfigError(f"--at {text[:80]!r}: {fault}", hint=f"write {_EXAMPLES}", code="history.time")
