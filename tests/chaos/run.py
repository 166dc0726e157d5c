"""Chaos tests: injects faults into a local stack and counts lost and doubled jobs.

python -m tests.chaos.run                     all scenarios, about an hour
python -m tests.chaos.run --short             short form, a few minutes
python -m tests.chaos.run --only 1 3 --seed 7
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from tests.chaos.apart import played_apart
from tests.chaos.ledger import Row
from tests.chaos.networks import write_entries
from tests.chaos.play import (
    AUDIT,
    DISK_AND_CLOCK,
    SCENARIOS,
    STORM,
    WAITING,
    Scenario,
    play,
    warm_up,
)
from tests.chaos.scenarios import bad_networks, storm
from tests.chaos.stage import open_stage

NUMBERS = range(1, max(scenario.number for scenario in (*SCENARIOS, *WAITING)) + 1)
ALWAYS_BAD = Scenario(7, "networks that fail when they are inspected", bad_networks.run)


def main() -> int:
    """Runs the scenarios; returns 0 if no job was lost or doubled and all expectations hold."""
    options = read_options()
    signal.signal(signal.SIGTERM, _interrupt)
    seed = Random().getrandbits(32) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"seed {seed}; data and logs are in {folder}", flush=True)
    rows: list[Row] = []
    try:
        for row in play_all(folder, seed, options):
            rows.append(row)
            print_row(row)
    except KeyboardInterrupt:
        print("stopped")
        return 130
    rows.sort(key=lambda row: row.number)
    print_table(rows, seed)
    if options.json:
        options.json.write_text(json.dumps({"seed": seed, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    if all(row.good for row in rows):
        shutil.rmtree(folder)
        return 0
    return 1


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, nargs="+", choices=NUMBERS, default=NUMBERS, help="scenarios by number")
    parser.add_argument("--short", action="store_true", help="the short form for CI")
    parser.add_argument("--seconds", type=float, help="duration of scenario 9; default: 600, in the short form 15")
    parser.add_argument("--seed", type=int, help="seed of all random choices")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to a file")
    return parser.parse_args()


def play_all(folder: Path, seed: int, options: argparse.Namespace) -> Iterator[Row]:
    """Yields the rows. In the short form, scenarios that mostly wait run in parallel on a separate stage."""
    numbers = [number for number in choose_apart(options.short) if number in options.only]
    with ExitStack() as stack:
        if numbers:
            collect = stack.enter_context(played_apart(folder / "apart", numbers, seed=seed, short=options.short))
            if not options.short:
                yield from collect()
        yield from play_shared(folder, seed, options)
        if numbers and options.short:
            yield from collect()
    if ALWAYS_BAD.number in options.only and not options.short:
        (folder / "bad").mkdir()
        with open_stage(folder / "bad", seed=seed, short=False, bad=write_entries(always=True)) as stage:
            yield play(ALWAYS_BAD, stage)


def choose_apart(short: bool) -> list[int]:
    """Returns the numbers of the scenarios that do not use the shared stage."""
    return [*(scenario.number for scenario in WAITING if short), DISK_AND_CLOCK[0]]


def play_shared(folder: Path, seed: int, options: argparse.Namespace) -> Iterator[Row]:
    """Runs the scenarios on the shared stage."""
    shared = [scenario for scenario in all_shared(options.short, options.seconds) if scenario.number in options.only]
    if shared:
        (folder / "shared").mkdir()
        with open_stage(folder / "shared", seed=seed, short=options.short) as stage:
            warm_up(stage)
            for scenario in shared:
                yield play(scenario, stage)


def all_shared(short: bool, seconds: float | None = None) -> list[Scenario]:
    """Returns the scenarios on the shared stage; the storm is the last."""
    seconds = seconds or (15 if short else 600)
    return [*SCENARIOS, *(() if short else WAITING), AUDIT, Scenario(*STORM, partial(storm.run, seconds=seconds))]


def print_row(row: Row) -> None:
    """Prints the verdict, the failed expectations and the notes of a scenario."""
    verdict = "ok" if row.good else "FAILED"
    print(f"{row.number} {row.title}: {verdict}, {row.seconds} s", flush=True)
    for text in row.unmet:
        print(f"    unmet: {text}")
    for text in row.notes:
        print(f"    {text}", flush=True)


def print_table(rows: list[Row], seed: int) -> None:
    """Prints the numbers of all scenarios."""
    table = Table(title=f"Chaos, seed {seed}")
    names = ("accepted", "ended", "succeeded", "failed", "cancelled", "lost", "doubled", "recovery", "seconds", "unmet")
    for name in ("", "scenario", *names):
        table.add_column(name, justify="left" if name == "scenario" else "right", overflow="fold")
    for row in rows:
        values = {**asdict(row), "unmet": len(row.unmet), "recovery": "–" if row.recovery is None else row.recovery}
        table.add_row(str(row.number), row.title, *(str(values[name]) for name in names))
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
