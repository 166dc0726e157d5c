"""Siege: attacks a local stack, and measures what an unconcerned client of another tenant sees meanwhile.

python -m tests.siege.run                          all attacks, about ten minutes
python -m tests.siege.run --short                  the short form
python -m tests.siege.run --only headers-70 store-hangs

All traffic stays on the loopback and is bounded. The tables are written to var/siege/.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.siege.attack import Attack
from tests.siege.attacks.registry import ATTACKS
from tests.siege.play import play
from tests.siege.row import Row
from tests.siege.stage import open_stage
from tests.siege.table import write_tables, write_times

SECONDS, SHORT_SECONDS = 12.0, 4.0


def main() -> int:
    """Runs the attacks; returns 0 if every row meets its limits."""
    options = read_options()
    signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="siege-"))
    print(f"data and logs are in {folder}", flush=True)
    rows: list[Row] = []
    try:
        for row in play_all(choose(options), folder, options):
            rows.append(row)
            print_row(row)
            write_tables(rows, options.folder, patience=options.patience)
    except KeyboardInterrupt:
        print("stopped")
        return 130
    good = sum(row.good for row in rows)
    print(f"{good} of {len(rows)} rows meet their limits; the table is {options.folder / 'siege.md'}")
    if good < len(rows):
        return 1
    shutil.rmtree(folder)
    return 0


def read_options() -> argparse.Namespace:
    names = [attack.name for attack in ATTACKS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"attacks: {', '.join(names)}")
    parser.add_argument("--short", action="store_true", help="the short form: one attack of each kind")
    parser.add_argument("--seconds", type=float, help=f"duration of each attack; default: {SECONDS:g}")
    parser.add_argument("--patience", type=float, default=1, help="factor of all time limits, for a busy machine")
    parser.add_argument("--folder", type=Path, default=Path("var/siege"), help="folder of the tables")
    return parser.parse_args()


def choose(options: argparse.Namespace) -> list[Attack]:
    """Returns the attacks that the options name."""
    return [
        attack
        for attack in ATTACKS
        if (attack.name in options.only if options.only else attack.short or not options.short)
    ]


def play_all(attacks: list[Attack], folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Runs attacks on one stage and yields their rows."""
    seconds = options.seconds or (SHORT_SECONDS if options.short else SECONDS)
    with open_stage(folder, seconds=seconds, patience=options.patience, short=options.short) as stage:
        for attack in attacks:
            yield play(attack, stage)


def print_row(row: Row) -> None:
    """Prints the verdict, the response times and the failed expectations of an attack."""
    times = ", ".join(f"{name} {write_times(one)}" for name, one in row.times.items())
    print(f"{row.point} {row.name}: {'ok' if row.good else 'FAILED'}, {row.seconds} s; {times}", flush=True)
    for sentence in row.unmet:
        print(f"    unmet: {sentence}")
    for sentence in row.notes:
        print(f"    {sentence}", flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
