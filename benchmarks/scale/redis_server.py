"""A real Redis server whose wall clock is that of a simulation."""

import mmap
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.scale.clock import SimulatedClock
from deploy.local import make_environment
from deploy.processes import ProcessGroup
from deploy.servers import free_port, redis_command
from shared.settings import Settings
from shared.state.redis_client import RedisClient

SOURCE = Path(__file__).with_name("wall_clock.c")


class RedisServer:
    """A Redis server of the simulation.

    Attributes:
        settings: Settings that name the server.
    """

    def __init__(self, settings: Settings, pid: int, clock: SimulatedClock, wall_clock: mmap.mmap) -> None:
        self.settings = settings
        self._cpu_clock = (~pid << 3) | 2  # Linux: the CPU time of a process
        self._clock, self._wall_clock = clock, wall_clock
        self._offset = time.time() - clock.seconds

    def set_clock(self) -> None:
        """Sets the clock of the server to the time of the simulation."""
        self._wall_clock[:8] = struct.pack("q", int((self._clock.seconds + self._offset) * 1e6))

    def read_cpu_seconds(self) -> float:
        """The CPU time that the server has used, with nanoseconds."""
        return time.clock_gettime(self._cpu_clock)

    def read_memory(self) -> int:
        """The memory that the server uses, in bytes."""
        with RedisClient(self.settings).connection() as redis:
            return int(redis.info("memory")["used_memory"])


@contextmanager
def run_redis(clock: SimulatedClock) -> Iterator[RedisServer]:
    """Runs a Redis server without data for the length of a `with` block."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "log").mkdir()
        wall_clock = _create_wall_clock(folder / "clock")
        settings = Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
        variables = {"LD_PRELOAD": str(_compile(folder)), "SIMULATED_CLOCK": str(folder / "clock")}
        processes = ProcessGroup(folder, {**make_environment(settings), **variables})
        with processes.run("redis", redis_command(folder / "redis", settings)):
            processes.wait_for("redis", RedisClient(settings).ping)
            yield RedisServer(settings, processes.children["redis"].pid, clock, wall_clock)


def _create_wall_clock(path: Path) -> mmap.mmap:
    path.write_bytes(struct.pack("q", int(time.time() * 1e6)))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 8)


def _compile(folder: Path) -> Path:
    compiler, library = shutil.which("cc"), folder / "wall_clock.so"
    if compiler is None:
        raise RuntimeError("a C compiler is needed for the clock of the simulation: install `cc`")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)], check=True, timeout=60)
    return library
