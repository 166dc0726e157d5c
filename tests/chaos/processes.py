"""Finds processes in /proc."""

from pathlib import Path


def read_parents() -> dict[int, int]:
    """Returns the parent of every process of this machine."""
    return {int(entry.name): _parent_of(entry) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}


def list_descendants(pid: int, parents: dict[int, int] | None = None) -> list[int]:
    """Returns the descendants of a process, without the process itself."""
    parents = read_parents() if parents is None else parents
    descendants: list[int] = []
    generation = [pid]
    while generation:
        generation = [child for child, parent in parents.items() if parent in generation]
        descendants += generation
    return descendants


def find_pool_child(parent: int) -> int | None:
    """Returns the child process in which a Celery worker runs its jobs, or None if there is none."""
    return next((pid for pid in list_descendants(parent) if "billiard.spawn" in _command_of(pid)), None)


def _parent_of(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""
