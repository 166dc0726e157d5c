"""Plots of a report as shapes, which `svg` and `pdf` draw."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from archetype.contract.audit import ALL, Comparison, Estimate
from archetype.contract.report.document import Report
from archetype.contract.report.measurements import Calibration
from archetype.contract.report.units import NAMES, UNCHANGED, find_unit, write_number

Tone = Literal["ink", "quiet", "line", "accent", "alert"]
Anchor = Literal["start", "middle", "end"]

LABEL_WIDTH, PLOT_WIDTH, ROW_HEIGHT, MARGIN = 130, 330, 18, 18
MAX_ROWS = 40
"""Largest number of rows in a plot: those with the largest changes."""

PARTS = {"slices": "slice", "robustness": "corruption"}
"""What the gates measure that do not measure classes."""

CALIBRATION_SIDE = 220
TONES: tuple[Tone, ...] = ("accent", "quiet", "alert", "ink", "line")
"""Colors of the releases in the plot of the calibration: the subject, then the baselines."""


@dataclass(frozen=True)
class Line:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    tone: Tone
    width: float = 1
    is_dashed: bool = False


@dataclass(frozen=True)
class Circle:
    """A circle."""

    x: float
    y: float
    radius: float
    tone: Tone
    is_filled: bool = True


@dataclass(frozen=True)
class Text:
    """A text; `y` is its baseline."""

    x: float
    y: float
    text: str
    anchor: Anchor = "start"
    tone: Tone = "ink"


Shape = Line | Circle | Text


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        title: What it shows.
        shapes: Its shapes, from back to front.
        width: Width in pixels.
        height: Height in pixels.
    """

    title: str
    shapes: Sequence[Shape]
    width: float
    height: float


def draw_plots(report: Report) -> list[Plot]:
    """Changes by class, slice or corruption for each gate, and calibration."""
    plots = [plot for comparison in report.comparisons for plot in _draw_gates(comparison, report)]
    return plots + ([draw_calibration(report.calibration)] if report.calibration else [])


def _draw_gates(comparison: Comparison, report: Report) -> Iterator[Plot]:
    for gate in type(report.plan.gates).model_fields:
        changes = _read_changes(gate, comparison)
        if changes:
            what = PARTS.get(gate, "class")
            title = f"Gate {gate}: change by {what} with its confidence interval, compared with {comparison.baseline}"
            yield draw_changes(title, gate, changes, getattr(report.plan.gates, gate).tolerance)


def _read_changes(gate: str, comparison: Comparison) -> dict[str, Estimate]:
    """The changes of classes, or of what else the gate measures; none if it measures the whole release."""
    others = {name: change for name, change in comparison.changes.get(gate, {}).items() if name != ALL}
    return others or {
        str(row["target"]): Estimate.model_validate(row["changes"][gate])
        for row in comparison.classes
        if gate in row.get("changes", {})
    }


def draw_changes(title: str, gate: str, changes: Mapping[str, Estimate], limit: float) -> Plot:
    """Each change as a point with its interval, and the limit as a vertical line; largest change first."""
    rows = sorted(changes.items(), key=lambda row: -row[1].value)[:MAX_ROWS]
    low = min(0.0, max(min(change.low for _, change in rows), -2 * limit))
    scale = _Scale(low, max(limit, *(change.high for _, change in rows)))
    bottom = MARGIN + ROW_HEIGHT * len(rows)
    unchanged = UNCHANGED.get(gate, 0.0)
    zero, edge = scale(unchanged), scale(limit)
    text = f"limit {write_number(limit, gate)} {NAMES[find_unit(gate)]}".strip()
    is_right = edge > LABEL_WIDTH + PLOT_WIDTH / 2
    shapes: list[Shape] = [
        Line(zero, MARGIN, zero, bottom, "line"),
        Line(edge, MARGIN, edge, bottom, "alert", is_dashed=True),
        Text(edge, MARGIN - 6, text, "end" if is_right else "start", "alert"),
        Text(zero, bottom + 12, f"{unchanged:g}", "middle", "quiet"),
    ]
    for place, row in enumerate(rows):
        shapes += _draw_row(MARGIN + ROW_HEIGHT * (place + 0.5), *row, (unchanged, limit), scale)
    return Plot(title, shapes, LABEL_WIDTH + PLOT_WIDTH + MARGIN, bottom + 22)


def _draw_row(y: float, name: str, change: Estimate, bounds: tuple[float, float], scale: "_Scale") -> Iterator[Shape]:
    unchanged, limit = bounds
    tone: Tone = "alert" if change.value > limit and change.low > unchanged else "accent"
    yield Text(LABEL_WIDTH - 8, y + 4, _shorten(name), "end")
    yield Line(scale(change.low), y, scale(change.high), y, tone, width=2)
    yield Circle(scale(change.value), y, 3.5, tone)


def draw_calibration(calibrations: Sequence[Calibration]) -> Plot:
    """Accuracy by confidence. The area of a circle is its share of the probes; those on the diagonal are calibrated."""
    side, left, top = CALIBRATION_SIDE, 44, MARGIN
    bottom = top + side
    shapes: list[Shape] = [
        Line(left, bottom, left + side, top, "line", is_dashed=True),
        Line(left, bottom, left + side, bottom, "quiet"),
        Line(left, top, left, bottom, "quiet"),
        Text(left + side / 2, bottom + 28, "confidence", "middle"),
    ]
    for share in (0, 0.5, 1):
        shapes.append(Text(left + side * share, bottom + 14, f"{share:.0%}", "middle", "quiet"))
        shapes.append(Text(left - 6, bottom - side * share + 4, f"{share:.0%}", "end", "quiet"))
    for place, (calibration, tone) in enumerate(zip(calibrations, TONES, strict=False)):
        shapes += _draw_bins(calibration, left, top, tone)
        shapes += _draw_key(calibration, left + side + 26, top + 24 + 36 * place, tone)
    title = "Calibration: accuracy (upward) by confidence (to the right); circles on the dashed line are calibrated"
    return Plot(title, shapes, left + side + 210, bottom + 36)


def _draw_bins(calibration: Calibration, left: float, top: float, tone: Tone) -> Iterator[Shape]:
    total = sum(each.probes for each in calibration.bins)
    for each in calibration.bins:
        x, y = left + CALIBRATION_SIDE * each.confidence, top + CALIBRATION_SIDE * (1 - each.accuracy)
        yield Circle(x, y, 2.5 + 9 * (each.probes / total) ** 0.5, tone, is_filled=False)


def _draw_key(calibration: Calibration, x: float, y: float, tone: Tone) -> Iterator[Shape]:
    yield Circle(x, y - 4, 5, tone, is_filled=False)
    yield Text(x + 12, y, _shorten(calibration.release, 26))
    yield Text(x + 12, y + 15, f"calibration error {calibration.error:.1%}", tone="quiet")


@dataclass(frozen=True)
class _Scale:
    """Maps values to horizontal positions; values outside lie on the border."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / max(self.high - self.low, 1e-9)
        return LABEL_WIDTH + PLOT_WIDTH * share


def _shorten(text: str, length: int = 20) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
