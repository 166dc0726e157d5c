"""A replacement of the wall clock of child processes, which tests can move."""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """An offset of the wall clock that running processes share.

    Attributes:
        variables: Variables of the environment with which a process has this clock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.variables = {"LD_PRELOAD": str(path.with_suffix(".so")), "CHAOS_CLOCK": str(path)}
        self.jump_to(0)

    def jump_to(self, seconds: int) -> None:
        """Sets the clock to a number of seconds ahead of the true time."""
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))


@contextmanager
def replaced_clock(folder: Path) -> Iterator[Clock | None]:
    """Gives processes that start within the block a replaced clock; yields None if there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        yield None
        return
    library, path = folder / "clock.so", folder / "clock"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)], check=True, timeout=60)
    clock = Clock(path)
    os.environ.update(clock.variables)
    try:
        yield clock
    finally:
        for name in clock.variables:
            os.environ.pop(name, None)
