"""Clocks for tests: one that passes while something sleeps, and one of a machine that is wrong."""

import time
from datetime import datetime, timedelta, tzinfo

import pytest


class Clock:
    """Time that passes while something sleeps, for modules that use `time.monotonic` and `time.sleep`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        """The time in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Lets time pass at once."""
        self.pauses.append(seconds)
        self.now += seconds


def set_wrong(monkeypatch: pytest.MonkeyPatch, change: timedelta) -> None:
    """Changes the clock of this machine, as the service reads it. The clocks of Redis and the store stay right."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + change

    right = time.time
    monkeypatch.setattr("archetype.contract.job.datetime", Wrong)
    monkeypatch.setattr(time, "time", lambda: right() + change.total_seconds())
