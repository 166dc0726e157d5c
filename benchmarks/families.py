"""Sweep over architectures: loads one small network of every family of timm and torchvision, and runs three methods.

python -m benchmarks.families                     timm's networks for tests, then every family
python -m benchmarks.families --test              only timm's networks for tests
python -m benchmarks.families --only timm.levit   some families
python -m benchmarks.families --http              over HTTP: registration and jobs of a stack of its own

Each network has random weights at its own input size. Its scores and gradients must be those of the plain network, its
maps must be finite and not all zero. The command prints a table and ends with the exit code 1 if a network fails.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import nn

from benchmarks.architectures import (
    Architecture,
    build_lively,
    list_families,
    list_test_architectures,
    make_release,
)
from benchmarks.family_checks import MAX_SCORE_ERROR, Row, examine, explain
from benchmarks.registration import Service, open_service
from shared.catalogue.release import Release

FOLDER = Path("var/bench")


def main() -> int:
    """Runs the sweep and returns the exit code."""
    arguments = read_arguments()
    FOLDER.mkdir(parents=True, exist_ok=True)
    architectures = [] if arguments.only else list_test_architectures()
    architectures += [] if arguments.test else list_families(arguments.only)
    rows: list[Row] = []
    for row in sweep(architectures, arguments.http):
        rows.append(row)
        print(describe(row), file=sys.stderr, flush=True)
        (FOLDER / "families.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    failed = [row for row in rows if row.failures]
    print(make_table(rows))
    print(f"\n{len(rows) - len(failed)} of {len(rows)} pass")
    for row in failed:
        print(f"- {row.name}: {'; '.join(row.failures)}")
    return 1 if failed else 0


def read_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", action="store_true", help="only timm's networks for tests")
    parser.add_argument("--only", nargs="+", default=[], help="families, for example timm.levit torchvision.vgg")
    parser.add_argument("--http", action="store_true", help="register each network and run jobs over HTTP")
    return parser.parse_args()


def sweep(architectures: Iterable[Architecture], http: bool) -> Iterable[Row]:
    """Yields the result of each network."""
    if http:
        with open_service() as service:
            for architecture in architectures:
                yield measure(architecture, partial(examine_over_http, service))
    else:
        for architecture in architectures:
            yield measure(architecture, examine)


Examine = Callable[[Release, nn.Module, Row], None]
"""Loads a release, compares it with the plain network, and runs the methods; writes what it finds to the row."""


def measure(architecture: Architecture, examine: Examine) -> Row:
    """Builds a network, saves its weights as a training script does, and examines the release."""
    row = Row(architecture.name, architecture.family, architecture.parameters, architecture.size)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            plain = build_lively(architecture)
            row.parameters = sum(weight.numel() for weight in plain.parameters())
            weights = Path(folder) / "weights.pth"
            torch.save(plain.state_dict(), weights)
            examine(make_release(architecture, weights), plain, row)
        except Exception as error:  # any network may raise anything; the sweep goes on with the next one
            row.failures.append(explain(error))
    row.seconds = round(time.perf_counter() - started, 1)
    return row


def examine_over_http(service: Service, release: Release, plain: nn.Module, row: Row) -> None:
    """Examines a release as a client of a running service."""
    row.score_error, failures = service.examine(release, plain)
    row.failures += failures
    if not row.score_error <= MAX_SCORE_ERROR:
        row.failures.append(f"scores differ from the plain network by {row.score_error:.1g}")


def describe(row: Row) -> str:
    """Returns a line with the result of a network."""
    return f"{row.name:44} {row.seconds:6.1f} s  {'; '.join(row.failures) or 'pass'}"


def make_table(rows: Iterable[Row]) -> str:
    """Returns a Markdown table with a row for each network."""
    lines = ["| family | network | parameters | input | score error | gradient error | Grad-CAM layer | result |"]
    lines.append("|---|---|--:|--:|--:|--:|---|---|")
    for row in rows:
        errors = [f"{error:.0e}" if error is not None else "" for error in (row.score_error, row.gradient_error)]
        cells = [row.family, row.name, f"{row.parameters / 1e6:.1f} M", f"{row.size[0]} × {row.size[1]}", *errors]
        lines.append(f"| {' | '.join(cells)} | {row.layer or ''} | {'fail' if row.failures else 'pass'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
