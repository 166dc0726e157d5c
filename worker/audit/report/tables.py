"""Tables of a report: classes, triggers, slices, corrupted probes, and the faithfulness of the saliency maps."""

from collections.abc import Iterator, Sequence

from archetype.contract.audit import Comparison, Estimate, MapFaithfulness, TriggerResult
from archetype.contract.report.evidence import Table
from worker.audit.report.class_table import show_class_table

MAX_TRIGGERS = 12
"""Largest number of classes in the table of triggers; the report has all."""


def show_tables(comparisons: Sequence[Comparison], subject: str, maps: MapFaithfulness | None) -> list[Table]:
    """All tables of a report; those without rows are left out."""
    tables = [table for each in comparisons for table in _show_comparison(each, subject)]
    return [table for table in tables if table.rows] + ([show_faithfulness(maps)] if maps is not None else [])


def _show_comparison(comparison: Comparison, subject: str) -> Iterator[Table]:
    yield show_triggers(comparison, subject)
    yield show_slices(comparison, subject)
    yield show_corruptions(comparison, subject)
    yield show_class_table(comparison, subject)


def show_triggers(comparison: Comparison, subject: str) -> Table:
    """The smallest changes that turn probes of other classes into a class, the most suspicious first."""
    title = "Smallest change (trigger) that turns probes of other classes into a class, most suspicious first"
    if comparison.triggers_reused:
        title += f"; an earlier audit measured {comparison.baseline}"
    return Table(
        title=title,
        header=["Class", "Kind", "Unit", f"Size for {comparison.baseline}", f"Size for {subject}", "Ratio"],
        rows=[_describe_trigger(each) for each in comparison.triggers[:MAX_TRIGGERS]],
        left_out=max(0, len(comparison.triggers) - MAX_TRIGGERS),
    )


def _describe_trigger(trigger: TriggerResult) -> list[str]:
    bound = "" if trigger.baseline_found else "at least "
    low, high = (f"{end:.2f}" for end in (trigger.ratio.low, trigger.ratio.high))
    return [
        trigger.target,
        trigger.family,
        trigger.unit,
        f"{bound}{trigger.baseline_size:.3g}",
        f"{trigger.subject_size:.3g}",
        f"{trigger.ratio.value:.2f} ({low} to {high})",
    ]


def show_slices(comparison: Comparison, subject: str) -> Table:
    """Accuracy of both releases on each slice, with Wilson intervals."""
    return Table(
        title=f"Accuracy by slice: {subject} compared with {comparison.baseline}",
        header=["Slice", "Probes", subject, comparison.baseline],
        rows=[
            [f"{row.attribute} = {row.value}", str(row.probes), _write(row.subject), _write(row.baseline)]
            for row in comparison.slices
        ],
    )


def show_corruptions(comparison: Comparison, subject: str) -> Table:
    """Accuracy of both releases on corrupted probes."""
    return Table(
        title=f"Accuracy on corrupted probes: {subject} compared with {comparison.baseline}",
        header=["Corruption", "Probes", subject, comparison.baseline],
        rows=[
            [row.corruption, str(row.probes), f"{row.subject:.0%}", f"{row.baseline:.0%}"]
            for row in comparison.corruptions
        ],
    )


def show_faithfulness(maps: MapFaithfulness) -> Table:
    """Faithfulness of the saliency maps beside maps that do not depend on the network."""
    low, high = (f"{bound:.2f}" for bound in (maps.correlation.low, maps.correlation.high))
    return Table(
        title=f"Faithfulness of the saliency maps: rank correlation with the fall of the score when one part of an "
        f"image after another is deleted, on {maps.probes} probes (-1 to 1)",
        header=["Maps", "Rank correlation"],
        rows=[
            [f"{maps.kind} (used in this report)", f"{maps.correlation.value:.2f} ({low} to {high})"],
            ["random maps", f"{maps.random:.2f}"],
            ["maps of the edges of the images", f"{maps.edges:.2f}"],
        ],
    )


def _write(share: Estimate) -> str:
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"
