"""Reads a pickle of weights in a child process with limits, before the worker itself reads it.

What a pickle needs is known only when it is read: it can make PyTorch allocate tensors of any size, and its few bytes
can take hours. The same file needs as much in the worker afterwards as it did in the child.
"""

from functools import cache
from pathlib import Path
from threading import Lock, Timer

from shared.isolation.child import Limit, Limits, TaskFailed
from shared.isolation.frames import Frame
from shared.isolation.pool import ChildPool
from worker.models.checkpoint.formats import SAVE_AGAIN, UnreadableWeights

PROCESS = "worker.models.checkpoint.rehearsal_process"

SMALL_BYTES = 100_000_000
"""Files up to this size share a child process."""

OWN_BYTES = 800_000_000
"""Memory of a child process with PyTorch, without the file."""

BYTES_PER_BYTE = 3
"""Memory for each byte of a file: its tensors, and copies while they are read."""

CPU_SECONDS, BYTES_PER_SECOND = 60, 20_000_000
SECONDS_PER_CPU_SECOND = 12

IDLE_SECONDS = 20.0
"""How long the child process of small files is kept: it has two hundred megabytes."""


def rehearse(path: Path) -> None:
    """Reads a file that `torch.save` wrote in a child process.

    Raises:
        UnreadableWeights: The file is damaged, refers to code, or needs too much memory or time.
    """
    state = path.stat()
    _rehearse_once(str(path.resolve()), state.st_size, state.st_mtime_ns)


def _rehearse_once(path: str, size: int, changed: int) -> None:
    key = (path, size, changed)
    if key in _passed():
        return
    limits = _choose_limits(size)
    try:
        with _Lease(limits, is_kept=size <= SMALL_BYTES) as pool:
            answer = pool.carry_out("read", Frame({"path": path}))
    except TaskFailed as failure:
        raise UnreadableWeights(_explain(failure.limit, limits)) from failure
    if "refused" in answer.document:
        raise UnreadableWeights(str(answer.document["refused"]))
    _passed().add(key)


@cache
def _passed() -> set[tuple[str, int, int]]:
    """The files that were read without a fault, by path, size and time of change."""
    return set()


def _choose_limits(size: int) -> Limits:
    size = max(size, SMALL_BYTES)
    cpu_seconds = CPU_SECONDS + size / BYTES_PER_SECOND
    return Limits(OWN_BYTES + BYTES_PER_BYTE * size, cpu_seconds, SECONDS_PER_CPU_SECOND * cpu_seconds)


def _explain(limit: Limit, limits: Limits) -> str:
    reasons = {
        Limit.MEMORY: f"needs more than {limits.memory // 1_000_000} MB of memory to be read",
        Limit.CPU: f"needs more than {limits.cpu_seconds:.0f} seconds of CPU time to be read",
        Limit.TIME: f"needs more than {limits.seconds:.0f} seconds to be read",
    }
    return f"{reasons.get(limit, 'makes PyTorch crash when it is read')}; {SAVE_AGAIN}"


class _Lease:
    """A pool of one child; that of small files is kept for some seconds."""

    _lock, _timers = Lock(), list[Timer]()

    def __init__(self, limits: Limits, *, is_kept: bool) -> None:
        self._is_kept = is_kept
        self._pool = _open_small(limits) if is_kept else ChildPool(PROCESS, limits)

    def __enter__(self) -> ChildPool:
        with self._lock:
            while self._timers:
                self._timers.pop().cancel()
        return self._pool

    def __exit__(self, *_: object) -> None:
        if not self._is_kept:
            self._pool.close()
            return
        timer = Timer(IDLE_SECONDS, self._pool.close)
        timer.daemon = True
        with self._lock:
            self._timers.append(timer)
        timer.start()


@cache
def _open_small(limits: Limits) -> ChildPool:
    return ChildPool(PROCESS, limits)
