"""Cron times in a time zone, with a delay that spreads schedules which would otherwise start at the same moment.

`cronsim` evaluates the expressions as Debian's cron does, also when the clocks change.
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from celery.schedules import schedstate, schedule
from cronsim import CronSim, CronSimError

FIELDS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "day of the week": (0, 6)}
"""Fields of an expression with their smallest and largest value."""

NAMES = {
    name: number
    for names, first in (("sun mon tue wed thu fri sat", 0), ("jan feb mar apr may jun jul aug sep oct nov dec", 1))
    for number, name in enumerate(names.split(), first)
}
RANGE = re.compile(r"(\d+)-(\d+)(/\d+)?")


class Cron(schedule):
    """The times of a cron expression in a time zone, as a schedule of Celery.

    Schedules that an earlier version stored may contain a range that wraps around, such as `22-2`, and names that are
    not abbreviated. They are still understood here; `read_cron` refuses them in new schedules.

    Args:
        line: Minute, hour, day of the month, month, day of the week, for example `30 3 * * 1-5`.
        timezone: Name in the time zone database, for example `Europe/Berlin`.
        late: Delay after each of these times, in seconds.

    Raises:
        ValueError: The expression is not valid, or there is no such time zone.
    """

    def __init__(self, line: str, timezone: str = "UTC", late: int = 0) -> None:
        self.zone = find_zone(timezone)
        self.line = _find_readable(line)
        self.late = timedelta(seconds=late)
        super().__init__(run_every=0, nowfun=self._read_clock)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.line, self.zone.key, int(self.late.total_seconds()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cron) and self.__reduce__() == other.__reduce__()

    __hash__ = None  # type: ignore[assignment]

    @property
    def tz(self) -> ZoneInfo:  # type: ignore[override]
        """The time zone, under the name that Celery uses."""
        return self.zone

    def _read_clock(self) -> datetime:
        return datetime.now(self.zone)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long until the first time after `last_run_at`; negative if it has passed."""
        due = self.next_after(self.maybe_make_aware(last_run_at))
        return due.astimezone(UTC) - datetime.now(UTC)  # in a time zone, Python would subtract the times on the clock

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether the first time after `last_run_at` has come, and the seconds until the next time."""
        remaining = self.remaining_estimate(last_run_at)
        if remaining > timedelta(0):
            return schedstate(is_due=False, next=remaining.total_seconds())
        return schedstate(is_due=True, next=self.remaining_estimate(self.now()).total_seconds())

    def next_after(self, moment: datetime) -> datetime:
        """The first time after a moment, in the time zone of the expression.

        Raises:
            ValueError: There is no such time, for example for `0 0 30 2 *`.
        """
        # The delay is subtracted first and added at the end. Otherwise a short period would lose every second time.
        start = moment.astimezone(UTC) - self.late
        for due in CronSim(self.line, start.astimezone(self.zone)):
            if due.astimezone(UTC) > start:  # the first result lies before an hour that is repeated in autumn
                return (due.astimezone(UTC) + self.late).astimezone(self.zone)
        raise ValueError("the cron expression matches a date that never occurs")


def read_cron(line: str, timezone: str) -> Cron:
    """Parses a cron expression. Raises `ValueError` if it is invalid or matches no date."""
    find_zone(timezone)
    _check(line)
    cron = Cron(line, timezone)
    cron.next_after(datetime.now(cron.zone))
    return cron


def _check(line: str) -> None:
    """Raises `ValueError` with the cause if cron would not accept an expression."""
    fields = line.split()
    if len(fields) != len(FIELDS):
        raise ValueError(f"{line!r} has {len(fields)} fields; a cron expression has {len(FIELDS)}: {', '.join(FIELDS)}")
    try:
        CronSim(line, datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(_explain(line, fields)) from error


def _explain(line: str, fields: list[str]) -> str:
    """Why an expression is refused: the field that is wrong by itself, or a date that never occurs."""
    for position, (name, (low, high)) in enumerate(FIELDS.items()):
        alone = ["*"] * len(FIELDS)
        alone[position] = fields[position]
        try:
            CronSim(" ".join(alone), datetime.now(UTC))
        except CronSimError:
            given = fields[position]
            return (
                f"the field '{name}' is {given!r}; give values from {low} to {high} such as '*', '1,2', '1-3' or '*/2'"
            )
    return f"{line!r} matches a date that never occurs"


def _find_readable(line: str) -> str:
    """The expression itself, or if an earlier version stored it, its translation to what cron accepts."""
    try:
        _check(line)
    except ValueError:
        translated = _translate(line)
        _check(translated)
        return translated
    return line


def _translate(line: str) -> str:
    """An expression with numbers instead of names, and with two ranges instead of each that wraps around."""
    numbers = re.sub(r"[A-Za-z]{3,}", lambda name: str(NAMES.get(name[0][:3].lower(), name[0])), line)
    fields = zip(numbers.split(), FIELDS.values(), strict=False)
    return " ".join(RANGE.sub(partial(_split_range, bounds=bounds), field) for field, bounds in fields)


def _split_range(found: re.Match[str], bounds: tuple[int, int]) -> str:
    start, end, step = int(found[1]), int(found[2]), found[3] or ""
    return found[0] if start <= end else f"{start}-{bounds[1]}{step},{bounds[0]}-{end}{step}"


def find_zone(name: str) -> ZoneInfo:
    """The time zone with this name in the time zone database. Raises `ValueError` if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; give a name such as 'Europe/Berlin' or 'UTC'") from error


def spread(name: str, most: int) -> int:
    """A delay from 0 to `most` seconds that depends only on the name, so that many names are spread evenly."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8]) % (most + 1)
