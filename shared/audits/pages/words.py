"""How values of a report are written in its pages."""

from archetype.contract.audit import Finding
from archetype.contract.report.measurements import GateResult, ReleaseIdentity
from archetype.contract.report.units import NAMES, UNCHANGED, write_estimate, write_number, write_value

RESULTS = {
    "passed": "passed",
    "warned": "warning",
    "failed": "failed",
    "waived": "waived",
    "abstained": "not evaluated",
    "off": "disabled",
    "fail": "failed",
    "warn": "warning",
    "note": "note",
    "pass": "pass",
    "error": "error",
    "not_comparable": "not comparable",
}
"""Results, severities and verdicts as words."""

SIGNS = {
    "passed": "✓", "pass": "✓", "warned": "!", "warn": "!", "failed": "✕", "fail": "✕", "error": "✕",
}  # fmt: skip
"""A sign for each of them, so that they can be told apart without colors; `–` for all others."""


def name_result(result: str) -> str:
    """A result as words with its sign."""
    return f"{SIGNS.get(result, '–')} {RESULTS.get(result, result)}"


def write_limit(gate: GateResult) -> str:
    """The limit with its unit."""
    return write_value(gate.limit, gate.gate)


def write_change(gate: GateResult) -> str:
    """The largest change, without its interval."""
    is_signed = gate.gate != "sanity" and gate.gate not in UNCHANGED
    return "" if gate.change is None else write_number(gate.change.value, gate.gate, signed=is_signed)


def write_interval(gate: GateResult) -> str:
    """The confidence interval of the largest change; empty if it has none."""
    if gate.change is None or gate.change.low == gate.change.high:
        return ""
    low, high = (write_number(bound, gate.gate) for bound in (gate.change.low, gate.change.high))
    return f"{low} to {high}"


def write_margin(gate: GateResult) -> str:
    """The distance to the limit."""
    return "" if gate.margin is None else write_number(gate.margin, gate.gate)


def write_finding(finding: Finding) -> str:
    """The change of a finding with its interval, limit and unit, as a sentence; empty if it has no change."""
    if finding.change is None or finding.tolerance is None:
        return ""
    change, limit = write_estimate(finding.change, finding.gate), write_value(finding.tolerance, finding.gate)
    return f"Change {change}, limit {limit}."


def write_duration(seconds: float | None) -> str:
    """A duration in minutes and seconds."""
    if seconds is None:
        return "not known"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def name_unit(gate: GateResult) -> str:
    """The unit of a gate; empty for a plain number."""
    return NAMES[gate.unit]


def describe_network(release: ReleaseIdentity) -> str:
    """Architecture and size of a release."""
    if release.tensors is None or release.values is None:
        return release.architecture
    return f"{release.architecture}, {release.tensors} tensors, {release.values:,} values"


GRIDS = (
    "Each grid shows probes that one of the two releases places next to each other and the other release does not, "
    "measured in their features before the last layer. No gate judges these grids."
)
"""What the grids of changed groups show."""

SIGNING = (
    "This file does not contain a signature. If the service has a signing key, it returns a signature of report.json "
    "(report.json.sig), which the command archetype audit verify checks with the public key of the service. Without "
    "report.json.sig, the report is not signed."
)
"""How report.json is signed."""
