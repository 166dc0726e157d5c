"""Results of the audits of a zoo: verdicts, and whether the planted class is the first finding."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from archetype.contract.audit import AuditView
from benchmarks.zoo.entries import Entry

MOST_WARNINGS = 1
"""Number of warnings that a release without a shortcut may have."""


@dataclass(frozen=True)
class Result:
    """The result of one audit.

    Attributes:
        name: Name of the release.
        target: Name of the class that a mark stands for; None for a release without a shortcut.
        verdict: The verdict, or the state of an audit that did not end.
        first: Name of the class of the first finding; None if there is none, or if it is about all classes.
        failed: Gate and class of each finding that fails the audit.
        warned: Gate and class of each finding that warns.
        summary: The verdict in a sentence, or why there is none.
        seconds: Duration of the audit.
    """

    name: str
    target: str | None
    verdict: str
    first: str | None
    failed: tuple[str, ...]
    warned: tuple[str, ...]
    summary: str
    seconds: float

    @classmethod
    def read(cls, entry: Entry, ended: AuditView) -> Self:
        """Returns the result of an audit that has ended."""

        def list_findings(severity: str) -> tuple[str, ...]:
            found = [finding for finding in ended.findings if finding.severity == severity]
            return tuple(f"{finding.gate} {finding.target or ''}".strip() for finding in found)

        return cls(
            name=entry.name,
            target=entry.target,
            verdict=ended.verdict or ended.state.value,
            first=ended.findings[0].target if ended.findings else None,
            failed=list_findings("fail"),
            warned=list_findings("warn"),
            summary=ended.summary or (ended.error.detail if ended.error else "") or "no summary",
            seconds=round((ended.finished_at - ended.created_at).total_seconds(), 1) if ended.finished_at else 0,
        )

    @property
    def is_found(self) -> bool:
        """Whether the audit failed with the planted class first."""
        return self.verdict == "fail" and self.first == self.target

    @property
    def is_quiet(self) -> bool:
        """Whether an audit had a verdict, no failed gate, and at most one warning."""
        return self.verdict in ("pass", "warn") and len(self.warned) <= MOST_WARNINGS


class Results:
    """The results of the audits of a network, in a file.

    Args:
        path: The file. It need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Result]:
        """The results, in the order in which the audits ended."""
        rows = json.loads(self.path.read_text()) if self.path.is_file() else []
        return [Result(**row | {"failed": tuple(row["failed"]), "warned": tuple(row["warned"])}) for row in rows]

    def add(self, result: Result) -> None:
        """Adds a result, or replaces the one of the same release."""
        results = [other for other in self.read() if other.name != result.name] + [result]
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps([asdict(each) for each in results], indent=1) + "\n")
        partial.rename(self.path)

    def count(self) -> dict[str, str]:
        """The figures that the zoo was made for, each as a number of releases and a total."""
        planted = [result for result in self.read() if result.target is not None]
        clean = [result for result in self.read() if result.target is None]
        return {
            "planted: fail with the planted class first": _count(planted, lambda result: result.is_found),
            "planted: pass": _count(planted, lambda result: result.verdict == "pass"),
            "without a shortcut: no gate failed": _count(clean, lambda result: result.verdict in ("pass", "warn")),
            "without a shortcut: no gate failed and at most one warning": _count(clean, lambda each: each.is_quiet),
        }

    def make_table(self) -> str:
        """The results as a table in Markdown."""
        head = (
            "| release | planted class | verdict | planted class first | failed gates | warnings | seconds |",
            "|---|---|---|---|---|---|--:|",
        )
        return "\n".join((*head, *map(_make_row, self.read())))


def _count(results: list[Result], condition: Callable[[Result], Any]) -> str:
    return f"{sum(map(bool, map(condition, results)))} of {len(results)}"


def _make_row(result: Result) -> str:
    first = "–" if result.target is None else "yes" if result.first == result.target else "no"
    failed, warned = (", ".join(findings) or "–" for findings in (result.failed, result.warned))
    cells = (result.name, result.target or "–", result.verdict, first, failed, warned, f"{result.seconds:.0f}")
    return f"| {' | '.join(cells)} |"
