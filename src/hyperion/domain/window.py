"""When a deployment may be changed: days of the week and times of the day, by the clocks of a named zone.

The clocks on the wall decide, since people agree on what they read there. So where clocks go back, an hour that is
shown twice is inside twice; where they go forward, what they skip is never shown, and a window that lies in it whole
does not open that day.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from hyperion.domain.document import Document

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

WEEK: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""In the order of ``datetime.weekday``."""
SEARCHED = timedelta(days=15)
"""Two weeks and a day: a window that opens once a week may miss one opening where clocks go forward."""
_MINUTE = timedelta(minutes=1)


class TimeWindow(Document):
    """Times of the day on some days of the week."""

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)] = WEEK
    """The days on which it opens; a window past midnight closes on the day after."""
    start: Annotated[str, Field(alias="from", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "00:00"
    """``HH:MM``, from when it is open."""
    end: Annotated[str, Field(alias="to", pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")] = "24:00"
    """``HH:MM``, from when it is closed; not later than ``from``: on the next day."""
    zone: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}$")]
    """IANA zone, such as ``Europe/Berlin`` or ``UTC``; its rules for summer time are kept."""

    @field_validator("days")
    @classmethod
    def _each_once(cls, days: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
        if len(set(days)) < len(days):
            raise ValueError("expected each day once")
        return tuple(day for day in WEEK if day in days)

    @model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.start == self.end:
            raise ValueError("expected different times for 'from' and 'to'; a whole day is from 00:00 to 24:00")
        return self

    def covers(self, local: datetime) -> bool:
        """Whether it is open when the clocks of ``zone`` show ``local``."""
        start, end, now = _minutes(self.start), _minutes(self.end), 60 * local.hour + local.minute
        opens_today = WEEK[local.weekday()] in self.days
        if start < end:
            return opens_today and start <= now < end
        opened_yesterday = WEEK[local.weekday() - 1] in self.days
        return (opens_today and now >= start) or (opened_yesterday and now < end)

    def describe(self) -> str:
        """``mon-thu, sun 22:00-02:00 Europe/Berlin``."""
        days = "every day" if len(self.days) == len(WEEK) else ", ".join(_runs(self.days))
        return f"{days} {self.start}-{self.end} {self.zone}"

    def next_opening(self, now: datetime, zone: tzinfo) -> datetime | None:
        """The next whole minute after ``now`` at which it is open, in ``zone``; None where none comes in SEARCHED.

        Minute by minute: every edge of a window, and every change of clocks since 1972, is at a whole minute.

        Args:
            now: With a zone.
            zone: What ``self.zone`` names.
        """
        moment = now.replace(second=0, microsecond=0)
        for minute in range(1, SEARCHED // _MINUTE + 1):
            local = (moment + minute * _MINUTE).astimezone(zone)
            if self.covers(local):
                return local
        return None


def _minutes(time: str) -> int:
    """Since midnight."""
    return 60 * int(time[:2]) + int(time[3:])


def _runs(days: tuple[Weekday, ...]) -> list[str]:
    """Days that follow each other, as ``first-last``."""
    runs: list[list[Weekday]] = []
    for day in days:
        if runs and WEEK.index(runs[-1][-1]) + 1 == WEEK.index(day):
            runs[-1].append(day)
        else:
            runs.append([day])
    return [run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
