"""The table of all attacks, as Markdown and JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.siege.observe import LIMITS
from tests.siege.row import Memory, Row, Times

CALLS = tuple(LIMITS)
HEAD = ("point", "attack", *CALLS, "peak memory (share of the limit)", "accepted", "lost", "doubled", "result")

EXPLANATION = """
Each cell of a call has the median and the longest response time that an unconcerned client of another tenant sees
during the attack, in seconds, and its answers other than success. Limits: {limits}; a submit or an upload may instead
be refused with 503 and the reason, and so may a read while Redis or the store hangs. Memory is that of all processes of
a part, in MiB, and its share of the limit in `deploy/kubernetes`.
"""


def write_tables(rows: Sequence[Row], folder: Path, *, patience: float) -> None:
    """Writes `siege.md` and `siege.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    limits = ", ".join(f"{name} {limit * patience:g} s" for name, limit in LIMITS.items())
    text = "\n".join(["# Siege", EXPLANATION.format(limits=limits), *write_table(rows), "", *write_findings(rows)])
    (folder / "siege.md").write_text(text.rstrip() + "\n")
    document = {"patience": patience, "limits": LIMITS, "rows": [asdict(row) for row in rows]}
    (folder / "siege.json").write_text(json.dumps(document, indent=2) + "\n")


def write_table(rows: Sequence[Row]) -> Iterable[str]:
    """Yields the lines of the Markdown table."""
    yield f"| {' | '.join(HEAD)} |"
    yield f"|{'|'.join('--:' if name in ('point', 'accepted', 'lost', 'doubled') else '---' for name in HEAD)}|"
    for row in rows:
        calls = [write_times(row.times.get(name)) for name in CALLS]
        memory = ", ".join(write_memory(name, one) for name, one in sorted(row.memory.items()))
        verdict = "met" if row.good else f"**{len(row.unmet) or 1} not met**"
        cells = (row.point, row.title, *calls, memory, row.accepted, row.lost, row.doubled, verdict)
        yield f"| {' | '.join(map(str, cells))} |"


def write_findings(rows: Sequence[Row]) -> Iterable[str]:
    """Yields what does not hold, and the notes, of each row."""
    for row in rows:
        if row.unmet or row.notes:
            yield f"{row.point}, {row.title}:\n"
            yield from (f"- not met: {sentence}" for sentence in row.unmet)
            yield from (f"- {sentence}" for sentence in row.notes)
            yield ""


def write_times(times: Times | None) -> str:
    if times is None:
        return "–"
    failures = [f"{count} × {status}" for status, count in times.statuses.items() if not status.startswith("2")]
    return "; ".join([f"{times.median:.2f} / {times.longest:.2f}", *failures])


def write_memory(name: str, memory: Memory) -> str:
    share = f" ({memory.peak / memory.limit:.0%})" if memory.limit else ""
    return f"{name} {memory.peak >> 20}{share}"
