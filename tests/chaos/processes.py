"""Processes as Linux lists them."""

from pathlib import Path


def list_descendants(pid: int) -> list[int]:
    """All that descend from a process, without itself."""
    parents = {int(entry.name): _parent_of(entry) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}
    found: list[int] = []
    layer = [pid]
    while layer:
        layer = [child for child, parent in parents.items() if parent in layer]
        found += layer
    return found


def find_pool_child(parent: int) -> int | None:
    """The process in which a Celery worker does its work, or None while there is none."""
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
