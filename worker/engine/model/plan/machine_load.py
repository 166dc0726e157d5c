"""How much of the processors other processes use while something is measured."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

STATISTICS = Path("/proc/stat")
BUSY = (0, 1, 2, 5, 6, 7)
"""Fields of the first line that are work: user, nice, system, interrupts, and time that a hypervisor took."""


@dataclass(frozen=True)
class MachineLoad:
    """A point in time.

    Attributes:
        busy: Processor time that all processes have used, in seconds; None if the system does not say.
        own: Processor time that this process has used, in seconds.
        moment: Time in seconds.
    """

    busy: float | None
    own: float
    moment: float

    @classmethod
    def now(cls) -> Self:
        """Reads the statistics of the system."""
        used = os.times()
        return cls(read_busy_seconds(), used.user + used.system, time.monotonic())

    def since(self) -> float:
        """Returns the mean number of processors that other processes have used since then; 0 if it is not known."""
        then, now = self, self.now()
        if then.busy is None or now.busy is None or now.moment <= then.moment:
            return 0.0
        return max(0.0, (now.busy - then.busy - (now.own - then.own)) / (now.moment - then.moment))


def read_busy_seconds(path: Path = STATISTICS) -> float | None:
    """Processor time that all processes have used, in seconds; None if there are no such statistics."""
    try:
        fields = path.read_text().split("\n", 1)[0].split()[1:]
        return sum(int(fields[number]) for number in BUSY) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
