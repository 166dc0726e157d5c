"""Runs scenario 8, and optionally others, in a separate process with its own mount namespace.

unshare -rm python -m tests.chaos.apart FOLDER --only 7 8 --seed N

All mounts disappear with the last process of the namespace, however the processes end.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from shared.process.parent import die_with_parent
from tests.chaos.clock import Clock, replaced_clock
from tests.chaos.ledger import Ledger, Row
from tests.chaos.play import DISK_AND_CLOCK, WAITING, Scenario, play, warm_up
from tests.chaos.scenarios.machine import fill_disks, jump, jump_alone, small_disks
from tests.chaos.stage import Stage, open_stage
from tests.support.paths import ROOT

LIMIT_SECONDS = 600
SHORT_ATTEMPTS = 3
"""In the short form, jobs that fail after all attempts have fewer of them: each takes ten seconds."""

NAMESPACE = ["unshare", "--map-root-user", "--mount"]


@contextmanager
def played_apart(folder: Path, numbers: Sequence[int], *, seed: int, short: bool) -> Iterator[Callable[[], list[Row]]]:
    """Runs scenarios in another process during the block; yields a function that waits for their rows.

    The process has its own mount namespace if this machine allows it.
    """
    folder.mkdir()
    namespace = NAMESPACE if can_mount() else []
    command = [*namespace, sys.executable, "-m", "tests.chaos.apart", str(folder), "--seed", str(seed), "--only"]
    command += [*map(str, numbers), *["--short"] * short, *["--no-disks"] * (not namespace)]
    child = subprocess.Popen(command, cwd=ROOT, preexec_fn=die_with_parent)
    try:
        yield partial(_collect, child, folder, numbers)
    finally:
        child.terminate()
        child.wait(60)


def _collect(child: "subprocess.Popen[bytes]", folder: Path, numbers: Sequence[int]) -> list[Row]:
    try:
        child.wait(LIMIT_SECONDS)
        return [Row(**json.loads((folder / f"{number}.json").read_text())) for number in numbers]
    except (subprocess.TimeoutExpired, OSError) as error:
        return [Row(*DISK_AND_CLOCK, unmet=[f"the scenarios {numbers} run to their end; instead: {error}"])]


def can_mount() -> bool:
    """Whether this machine allows a mount namespace with a root user."""
    if shutil.which(NAMESPACE[0]) is None:
        return False
    probe = [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/tmp"]
    return subprocess.run(probe, capture_output=True, timeout=10, check=False).returncode == 0


def act(stage: Stage, ledger: Ledger, *, disks: bool, clock: Clock | None) -> None:
    """Runs the parts of scenario 8 that are possible on this machine."""
    if disks:
        fill_disks(stage, ledger)
    else:
        ledger.notes.append("disk full: skipped, because mounts are not possible, not even with unshare -rm")
    if clock is not None:
        jump(stage, ledger, clock)
        jump_alone(stage, ledger, clock)
    else:
        ledger.notes.append("clock jumped: skipped, because there is no C compiler (cc)")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", type=int, nargs="+", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--no-disks", action="store_true")
    options = parser.parse_args()
    die_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = options.folder
    with ExitStack() as stack:
        clock = stack.enter_context(replaced_clock(folder))
        if not options.no_disks:
            stack.enter_context(small_disks(folder))
        attempts = SHORT_ATTEMPTS if options.short else None
        stage = stack.enter_context(open_stage(folder, seed=options.seed, short=options.short, max_attempts=attempts))
        warm_up(stage)
        machine = Scenario(*DISK_AND_CLOCK, partial(act, disks=not options.no_disks, clock=clock))
        for scenario in (*WAITING, machine):
            if scenario.number in options.only:
                row = play(scenario, stage)
                (folder / f"{row.number}.json").write_text(json.dumps(asdict(row)))


if __name__ == "__main__":
    main()
