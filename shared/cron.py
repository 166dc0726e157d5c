"""When something is due: a line of cron in a time zone of its own, some seconds late where many would come at once."""

import hashlib
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from celery.schedules import crontab
from celery.utils.time import ffwd

FIELDS = 5


class Cron(crontab):
    """Times that a line of cron names, by the clock of a place.

    Args:
        line: Minute, hour, day of the month, month, day of the week; as `30 3 * * 1-5`.
        timezone: As the time zone database calls it, `Europe/Berlin`.
        late: Seconds after each of those times.

    Raises:
        ValueError: The line is none, or there is no such time zone; says which.
    """

    def __init__(self, line: str, timezone: str = "UTC", late: int = 0) -> None:
        fields = line.split()
        if len(fields) != FIELDS:
            raise ValueError(f"{line!r} has {len(fields)} fields; cron takes minute, hour, day, month, day of the week")
        self.zone = find_zone(timezone)
        minute, hour, day, month, weekday = fields
        super().__init__(minute, hour, weekday, day, month, nowfun=self._look_at_clock)
        self.late = timedelta(seconds=late)

    @property
    def tz(self) -> ZoneInfo:  # type: ignore[override]
        return self.zone

    def _look_at_clock(self) -> datetime:
        return datetime.now(self.zone)

    def remaining_estimate(self, last_run_at: datetime, ffwd: type[ffwd] = ffwd) -> timedelta:
        """How long until the first time after that; below zero where it has passed."""
        # What was late then was due as much before: a short period must not lose every other time.
        return super().remaining_estimate(last_run_at - self.late, ffwd) + self.late

    def next_after(self, moment: datetime) -> datetime:
        """The first time after a moment, in the zone's own clock.

        Raises:
            ValueError: There is none, as of `0 0 31 2 *`.
        """
        try:
            start, step, _ = self.remaining_delta(moment - self.late)
        except (RuntimeError, OverflowError) as error:
            raise ValueError("the line names a time that never comes") from error
        due: datetime = start.replace(tzinfo=None) + step
        return due.replace(tzinfo=self.zone) + self.late


def find_zone(name: str) -> ZoneInfo:
    """A time zone by its name in the database. Raises `ValueError` where there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; give one as 'Europe/Berlin' or 'UTC'") from error


def read_cron(line: str, timezone: str) -> Cron:
    """The times that a line names. Raises `ValueError` where it names none."""
    try:
        cron = Cron(line, timezone)
    except ValueError:
        raise
    except Exception as error:  # Celery's parser lets its own errors through
        raise ValueError(f"{line!r} is no line of cron: {error}") from error
    cron.next_after(datetime.now(cron.zone))
    return cron


def spread(name: str, most: int) -> int:
    """Some seconds from 0 to `most`: always the same for the same name, others for others."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8]) % (most + 1)
