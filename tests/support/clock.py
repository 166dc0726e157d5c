"""A clock for modules that use `time.monotonic` and `time.sleep`."""


class Clock:
    """Time that passes while something sleeps."""

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
