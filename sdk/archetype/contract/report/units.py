"""Units of the gates, and how values in them are written."""

from typing import Literal

from archetype.contract.audit import Estimate

Unit = Literal["percentage_points", "times", "fraction"]

UNITS: dict[str, Unit] = {
    "appearance": "times",
    "natural_shortcuts": "fraction",
    "sanity": "fraction",
    "trigger": "times",
}
"""Units of the gates that are not in percentage points."""

NAMES: dict[Unit, str] = {"percentage_points": "percentage points", "times": "times", "fraction": ""}
"""The unit as it follows a number."""


UNCHANGED = {"trigger": 1.0}
"""Values of gates that are not 0 if nothing has changed: a ratio is 1."""


def find_unit(gate: str) -> Unit:
    """The unit of a gate's tolerance and changes."""
    return UNITS.get(gate, "percentage_points")


def write_number(value: float, gate: str, *, signed: bool = False) -> str:
    """A value in the unit of a gate, without the unit: `82.1` for 0.821 in percentage points."""
    unit, sign = find_unit(gate), "+" if signed else ""
    if unit == "percentage_points":
        return _trim_zero(f"{100 * value:{sign}.1f}")
    return _trim_zero(f"{value:{sign}.2f}")


def write_value(value: float, gate: str, *, signed: bool = False) -> str:
    """A value with its unit: `82.1 percentage points`, `2.00 times`."""
    return f"{write_number(value, gate, signed=signed)} {NAMES[find_unit(gate)]}".strip()


def write_estimate(change: Estimate, gate: str) -> str:
    """A change with its confidence interval, without the unit: `+82.1 (79.0 to 85.2)`."""
    low, high = (write_number(bound, gate, signed=bound < 0) for bound in (change.low, change.high))
    return f"{write_number(change.value, gate, signed=gate not in UNCHANGED)} ({low} to {high})"


def _trim_zero(text: str) -> str:
    """The text without the sign of a zero, and with the minus sign of typography."""
    return text.lstrip("+-") if not text.strip("+-0.") else text.replace("-", "−")
