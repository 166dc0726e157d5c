"""Simulates fleets of workers, and prints what saturates.

python -m benchmarks.scale --workers 10 100 1000 --seconds 60

Redis and its scripts, claims, leases, results, recovery and submissions are those of the service. Simulated are GPUs,
the loading of networks, the store, and the clock. docs/benchmarks.md explains the figures.
"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.scale.gpu import GpuSpeed
from benchmarks.scale.report import describe, format_calls, format_table
from benchmarks.scale.simulation import Measured, Scale, prepared


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000], help="sizes of the fleets")
    parser.add_argument("--seconds", type=float, default=60, help="simulated time of each fleet")
    parser.add_argument("--warm-up", type=float, default=10, help="simulated time before, in which batches fill")
    parser.add_argument("--jobs", type=int, help="simulate so many jobs of the largest fleet instead; a million: hours")
    parser.add_argument("--load", type=float, default=1.0, help="jobs that arrive, relative to what the GPUs compute")
    parser.add_argument("--step-ms", type=float, default=20, help="time of a step of 32 slots")
    parser.add_argument("--json", type=Path, default=Path("var/bench/scale.json"), help="file of the results")
    options = parser.parse_args()
    measured = [measure(workers, options) for workers in options.workers]
    print(format_table(measured))
    print(format_calls(measured[-1]))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([asdict(each.scale) | describe(each) for each in measured], indent=1))


def measure(workers: int, options: argparse.Namespace) -> Measured:
    """Simulates a fleet."""
    scale = Scale(workers, options.seconds, options.load, GpuSpeed(options.step_ms / 1000), options.warm_up)
    if options.jobs is not None:
        scale = replace(scale, seconds=options.jobs / scale.job_rate)
    with prepared(scale) as simulation:
        measured = simulation.run()
    print(f"{workers} workers: throughput {measured.throughput:.2f}, Redis {measured.redis_cpu:.2f}", file=sys.stderr)
    return measured


if __name__ == "__main__":
    main()
