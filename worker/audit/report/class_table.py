"""The classes of an audit as a table: how many probes of each both releases classify correctly."""

from collections.abc import Mapping
from typing import Any

from archetype.contract.audit import Comparison
from archetype.contract.report.evidence import Table

MAX_ROWS = 60
"""Largest number of classes in the table: those with the largest changes. The measurements of all are in the report."""


def show_class_table(comparison: Comparison, subject: str) -> Table:
    """The classes with the largest changes, in the order of the comparison."""
    rows = [_describe(row) for row in comparison.classes if "probes" in row]
    return Table(
        title=f"Probes by class: {subject} compared with {comparison.baseline}, largest change first",
        header=["Class", f"{subject} correct", f"{comparison.baseline} correct", "Prediction changed"],
        rows=rows[:MAX_ROWS],
        left_out=max(0, len(rows) - MAX_ROWS),
    )


def _describe(row: Mapping[str, Any]) -> list[str]:
    probes = int(row["probes"])
    correct = (f"{round(row[f'{side}_right'] * probes)} of {probes}" for side in ("subject", "baseline"))
    return [str(row["target"]), *correct, f"{row['flips']:.0f} of {probes}"]
