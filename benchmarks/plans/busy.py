"""Measures execution plans while another process uses a core, and compares their speed with that of a quiet plan.

python -m benchmarks.plans.busy squeezenet
python -m benchmarks.plans.busy squeezenet --count 5

A plan is good if passes with it take at most 10 % longer than with the plan that was measured on the quiet machine.
All are timed at the end, on the quiet machine, alternately.
"""

import argparse
import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.quality import FACTORIES
from shared.catalogue.catalogue import load_catalogue
from worker.engine.model.classifier import Classifier
from worker.engine.model.plan.autotune import measure_plan, time_plan
from worker.engine.model.plan.execution_plan import ExecutionPlan
from worker.models.loader import Loader, ModelCache

SPIN = "while True: pass"
TOLERANCE, ROUNDS = 1.1, 5

Kind = tuple[str, int]
"""Precision and batch size."""


@contextlib.contextmanager
def run_busy_process() -> Iterator[None]:
    """Runs a process that uses a core."""
    with subprocess.Popen([sys.executable, "-c", SPIN]) as process:
        try:
            yield
        finally:
            process.kill()


def name_kind(plan: ExecutionPlan) -> Kind:
    """What a plan chooses."""
    return plan.precision, plan.batch


def time_kinds(classifier: Classifier, plans: dict[Kind, ExecutionPlan]) -> dict[Kind, float]:
    """The shortest milliseconds per image of each plan, measured alternately."""
    shortest: dict[Kind, float] = {}
    for _ in range(ROUNDS):
        for kind, plan in plans.items():
            taken = time_plan(classifier, plan)
            shortest[kind] = min(taken, shortest.get(kind, taken))
    return shortest


def main() -> None:
    """Measures the plans and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model of the catalogue")
    parser.add_argument("--catalogue", type=Path, default=Path(__file__).parents[1] / "models.toml", help="models.toml")
    parser.add_argument("--count", type=int, default=20, help="number of plans")
    options = parser.parse_args()
    release = load_catalogue(options.catalogue).find(options.model)
    with ModelCache(Loader(FACTORIES), device=torch.device("cpu")).open(release) as (classifier, _):
        quiet = measure_plan(classifier)
        with run_busy_process():
            busy = [measure_plan(classifier) for _ in range(options.count)]
        times = time_kinds(classifier, {name_kind(plan): plan for plan in (quiet, *busy)})
    good = sum(times[name_kind(plan)] <= TOLERANCE * times[name_kind(quiet)] for plan in busy)
    print(f"quiet: {quiet}\n| plan | chosen | ms per image |\n|---|--:|--:|")
    for kind, count in Counter(map(name_kind, busy)).most_common():
        print(f"| {kind[0]}, batch {kind[1]} | {count} | {times[kind]:.1f} |")
    loads = ", ".join(f"{plan.load:.1f}" for plan in busy)
    print(f"{good} of {len(busy)} are within 10 % of the quiet plan ({times[name_kind(quiet)]:.1f} ms); loads: {loads}")


if __name__ == "__main__":
    main()
