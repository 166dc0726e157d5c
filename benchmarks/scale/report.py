"""The figures of a simulation as tables."""

from collections.abc import Sequence

from benchmarks.scale.metered_redis import CallCosts
from benchmarks.scale.simulation import Measured


def describe(measured: Measured) -> dict[str, float]:
    """The figures of a simulation, by what they measure."""
    jobs, calls = max(1, measured.ended), sum(len(costs.cpu) for costs in measured.calls.values())
    return {
        "throughput relative to the GPUs": measured.throughput,
        "GPUs busy": measured.busy,
        "jobs ended per second": measured.ended / measured.scale.seconds,
        "jobs failed": float(measured.failed),
        "jobs refused": float(measured.refused),
        "workers lost": float(measured.lost),
        "workers replaced": float(measured.replaced),
        "CPU seconds of Redis per second": measured.redis_cpu,
        "the same per job, in ms": measured.redis_cpu * measured.scale.seconds / jobs * 1000,
        "calls of Redis per second": calls / measured.scale.seconds,
        "calls of Redis per job": calls / jobs,
        "memory of Redis, MB": measured.memory / 1e6,
        "calls of the store per second": sum(measured.store_calls.values()) / measured.scale.seconds,
        "calls of the store per job": sum(measured.store_calls.values()) / jobs,
        "objects of results per job": measured.artifacts / jobs,
        "claim, 99th percentile, ms": 1000 * find_percentile(measured.calls.get("claim", CallCosts()).waits),
        "submit, 99th percentile, ms": 1000 * find_percentile(measured.submits),
        "list, 99th percentile, ms": 1000 * find_percentile(measured.lists),
    }


def find_percentile(values: Sequence[float], rank: float = 0.99) -> float:
    """The value below which so many of the values are; 0 if there is none."""
    return sorted(values)[int(rank * len(values))] if values else 0.0


def format_table(measured: Sequence[Measured]) -> str:
    """A table with one column for each fleet."""
    columns = [describe(each) for each in measured]
    lines = ["| workers | " + " | ".join(str(each.scale.workers) for each in measured) + " |"]
    lines.append("|---|" + "--:|" * len(measured))
    lines += [
        f"| {name} | " + " | ".join(format(column[name], ".3g") for column in columns) + " |" for name in columns[0]
    ]
    return "\n".join(lines)


def format_calls(measured: Measured) -> str:
    """What each kind of call costs Redis, the most expensive kind first."""
    rows = sorted(measured.calls.items(), key=lambda row: -sum(row[1].cpu))
    lines = ["", "| call of Redis | per second | µs of CPU | part of a core |", "|---|--:|--:|--:|"]
    for kind, costs in rows:
        rate, cost = len(costs.cpu) / measured.scale.seconds, sum(costs.cpu) / len(costs.cpu)
        lines.append(f"| {kind} | {rate:.1f} | {cost * 1e6:.0f} | {rate * cost:.2%} |")
    return "\n".join(lines)
