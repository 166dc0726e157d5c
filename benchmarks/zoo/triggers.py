"""Searches triggers in the releases of the zoo and prints what the gate `trigger` finds; without a service.

python -m benchmarks.zoo.triggers                     all releases that `make zoo` has trained
python -m benchmarks.zoo.triggers word-30 tuned-31    some of them

The searches are stored in the folder of the zoo, and later runs decide again from what is stored. `--again` searches
again.
"""

import argparse
import pickle
import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from archetype.contract.audit_plan import Gates
from archetype.contract.model import Preprocessing
from benchmarks.zoo.entries import Entry, Zoo
from benchmarks.zoo.train import FOLDER
from deploy.audit_demo import FIRST, PROBE_SEED, PROBES
from shared.catalogue.release import Release
from worker.audit.compare import Side
from worker.audit.triggers.judge import Judge, TriggerComparison
from worker.audit.triggers.search import Halves, Searched, search_releases, split_probes
from worker.engine.model.classifier import Classifier, open_classifier
from worker.inputs.preprocess import Levels
from worker.job.member_results import NO_MAP, ProbePrediction
from worker.shapes.drawing import CLASSES, draw_numbered
from worker.shapes.network import ShapesNetwork

SIZE = (80, 80)


def draw_probes() -> list[tuple[Levels, int]]:
    """Draws the probes that the audit demo uploads, (H, W, 3), with their classes."""
    drawings = [draw_numbered(number, PROBE_SEED) for number in range(PROBES)]
    return [(np.asarray(drawing.image), drawing.label) for drawing in drawings]


def open_release(path: Path, resources: ExitStack) -> Classifier:
    """The network of a release, in float32."""
    network = ShapesNetwork(len(CLASSES))
    network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    opened = open_classifier(network, mean=[0.5] * 3, std=[0.25] * 3, size=SIZE, device=torch.device("cpu"))
    return resources.enter_context(opened)


def make_side(name: str, classifier: Classifier) -> Side:
    """A release of an audit, without results of jobs."""
    release = Release(
        name="shapes-zoo", release=name, architecture="builtin:shapes", classes=list(CLASSES),
        preprocessing=Preprocessing(size=SIZE),
    )  # fmt: skip
    return Side(release, classifier, {}, {"": ProbePrediction("", 0, {"rank": 1}, NO_MAP, NO_MAP)})


def finish(steps: Generator[Any, Any, Searched]) -> Searched:
    """Runs a search to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            searched: Searched = stop.value
            return searched


@dataclass(frozen=True)
class Bench:
    """Searches releases against the shipped network.

    Attributes:
        zoo: The releases.
        probes: The probes of the default plan at the network's input size, with their classes.
        again: Whether a stored search is repeated.
    """

    zoo: Zoo
    probes: list[tuple[Levels, int]]
    again: bool

    def run(self, entry: Entry) -> str:
        """Searches a release, decides, and returns the result as text."""
        carriers, began = split_probes(self.probes, torch.device("cpu")), time.monotonic()
        with ExitStack() as resources:
            sides = [
                make_side(name, open_release(path, resources))
                for name, path in ((entry.name, self.zoo.locate(entry.name)), ("original", FIRST))
            ]
            searched = self.search((sides[0].classifier, sides[1].classifier), carriers, entry)
            result = Judge(sides[0], sides[1], Gates().trigger, carriers, searched).compare()
        return describe(entry, result, time.monotonic() - began)

    def search(self, classifiers: tuple[Classifier, Classifier], carriers: Halves, entry: Entry) -> Searched:
        """The stored search of a release, or a new one."""
        path, baseline = self.zoo.folder / f"{entry.name}.triggers", self.zoo.folder / "original.triggers"
        if not self.again and path.is_file():
            searched: Searched = pickle.loads(path.read_bytes())  # noqa: S301 - written by this program
            return searched
        known = pickle.loads(baseline.read_bytes()) if baseline.is_file() else {}  # noqa: S301
        searched = finish(search_releases(classifiers, carriers, range(len(CLASSES)), known=known))
        path.write_bytes(pickle.dumps(searched))
        baseline.write_bytes(pickle.dumps(searched.known[1]))
        return searched


def describe(entry: Entry, result: TriggerComparison, seconds: float) -> str:
    """The findings, and the largest ratios, of a release."""
    found = [f"{finding.target}" for finding in result.findings]
    lines = [f"{entry.name} ({entry.target or 'clean'}), {seconds:.0f} s: {', '.join(found) or 'no finding'}"]
    for each in result.results[:3]:
        ratio = each.ratio
        lines.append(
            f"    {each.target} {each.family} {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}), "
            f"{each.turned} of {each.pictures}, {len(each.seeds)} seeds"
        )
    return "\n".join(lines)


def main() -> None:
    """Searches releases and prints the findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="releases to search; all that exist if none is given")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the zoo")
    parser.add_argument("--again", action="store_true", help="search again what is stored")
    options = parser.parse_args()
    zoo = Zoo(options.folder)
    entries = [entry for entry in zoo.read() if not options.names or entry.name in options.names]
    bench = Bench(zoo, draw_probes(), options.again)
    for entry in entries:
        print(bench.run(entry), flush=True)


if __name__ == "__main__":
    main()
