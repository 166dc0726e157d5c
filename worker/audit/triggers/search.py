"""Searches triggers in the subject and in the baseline: coarsely for all classes, then finely for suspicious ones."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from archetype.contract.job import Progress
from worker.audit.triggers.sizes import RETRAINED, RETRAINED_MEAN, Sizes, choose_groups, mean_ratios
from worker.engine.model.classifier import Classifier
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.families.family import Family
from worker.engine.triggers.find import COARSE, FAMILIES, FINE, WITHOUT_GRADIENTS, Effort, Networks, Round
from worker.engine.triggers.statistics import common_change
from worker.inputs.preprocess import Levels
from worker.job.cobatch import SavePoint
from worker.triggers.carriers import to_images
from worker.triggers.rounds import Found, Known, Scope, SearchRun, choose_largest

SEEDS = (1, 2)
"""Seeds of the search; the coarse rounds use the first one."""

SUSPICIOUS = 6
"""Largest number of pairs of family and class that are searched finely."""

MIN_RATIO = math.log(1.15)
"""Least logarithm of a coarse ratio that is searched finely: 15 %, which repeated searches differ by."""

BATCH = 96
"""Images per pass: an audit opens its baselines without an execution plan of their own."""


@dataclass(frozen=True)
class Thoroughness:
    """The families and efforts of a search, and whether it follows gradients."""

    families: Sequence[str] = tuple(FAMILIES)
    coarse: Effort = COARSE
    fine: Effort = FINE
    by_gradient: bool = True


FULL = Thoroughness()
BLACK_BOX = Thoroughness(WITHOUT_GRADIENTS, by_gradient=False)
"""For comparisons with a network without gradients; both networks are searched in the same way."""


@dataclass(frozen=True)
class Searched:
    """The triggers of both releases.

    Attributes:
        families: The families, by name.
        coarse: The sizes of all classes, by family.
        fine: The sizes of the suspicious classes, with every seed, by family.
        known: All triggers of the subject and of the baseline, for later searches.
    """

    families: Mapping[str, Family]
    coarse: Mapping[str, Sizes]
    fine: Mapping[str, Sizes]
    known: tuple[Known, Known]


Halves = tuple[Carriers, Carriers]
"""The carriers of the search, and the held-out ones."""


def split_probes(labeled: Sequence[tuple[Levels, int]], device: torch.device) -> Halves:
    """The carriers, from images (H, W, C) with their classes."""
    labels = torch.tensor([label for _, label in labeled], device=device)
    return Carriers(to_images([levels for levels, _ in labeled]).to(device), labels).split()


def search_releases(
    classifiers: tuple[Classifier, Classifier],
    carriers: Halves,
    targets: Sequence[int],
    *,
    thoroughness: Thoroughness = FULL,
    known: Known | None = None,
) -> Generator[Progress, Any, Searched]:
    """Searches the subject and the baseline.

    Args:
        classifiers: The networks of the subject and of the baseline.
        carriers: The carriers of the search, and the held-out ones.
        targets: Class indices.
        thoroughness: The families and efforts of the search.
        known: Triggers of the baseline that an earlier search found, with the same carriers.
    """
    shape = (classifiers[0].channels, *classifiers[0].size)
    families = {name: FAMILIES[name](shape) for name in thoroughness.families}
    scope = Scope(list(families.values()), targets, SEEDS, thoroughness.coarse, thoroughness.fine)
    runs = [SearchRun(carriers, 2 * scope.steps), SearchRun(carriers, 2 * scope.steps, known=known or {})]
    by_gradient = thoroughness.by_gradient
    networks = [Networks(each, each, BATCH, gives_gradients=by_gradient) for each in classifiers]
    coarse, fine = dict[str, Sizes](), dict[str, Sizes]()
    for name, family in families.items():
        coarse[name] = yield from search_both(runs, networks, "coarse", scope.coarse_round(family))
    chosen = choose_suspicious(coarse)
    for name, family in families.items():
        one = scope.fine_round(family, chosen.get(name, ()))
        fine[name] = yield from search_both(runs, networks, "fine", one)
    return Searched(families, coarse, fine, (runs[0].list_known(), runs[1].list_known()))


def search_both(
    runs: Sequence[SearchRun], networks: Sequence[Networks], name: str, one: Round
) -> Generator[Progress, Any, Sizes]:
    """Runs a round in the subject and in the baseline."""
    found = list[Found]()
    for run, network in zip(runs, networks, strict=True):
        found.append((yield from report(run.run(f"{name} {one.family.name}", network, one), runs)))
    subject, baseline = found
    counts_missing = not all(network.gives_gradients for network in networks)
    return Sizes(subject, baseline, largest=2 * one.family.typical, counts_missing=counts_missing)


def report(steps: Generator[SavePoint, None, Found], runs: Sequence[SearchRun]) -> Generator[Progress, Any, Found]:
    """Yields the progress of both searches together."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            found: Found = stop.value
            return found
        done = sum(run.steps_taken for run in runs)
        yield Progress(done=min(done, runs[0].total), total=runs[0].total, unit="search step")


def choose_suspicious(coarse: Mapping[str, Sizes]) -> dict[str, list[int]]:
    """The classes of each family with the largest coarse ratios, relative to the others and to chance.

    A class whose ratio is large on average over a group of similar families is searched in the best one of them.
    """
    values: dict[tuple[str, int], float] = {}
    for name, sizes in coarse.items():
        for target, relative in find_relative(sizes.ratios(SEEDS[0]), partial(sizes.shared, seed=SEEDS[0])).items():
            values[name, target] = relative / RETRAINED[name]
    for group in choose_groups(coarse):
        mean = mean_ratios([coarse[name] for name in group], SEEDS[0])
        for target, relative in find_relative(mean, partial(common_change, mean)).items():
            best = max(group, key=lambda name: values.get((name, target), 0.0))
            values[best, target] = max(values.get((best, target), 0.0), relative / RETRAINED_MEAN)
    return choose_largest(values, SUSPICIOUS)


def find_relative(ratios: Mapping[int, float], shared: Callable[[int], tuple[float, float]]) -> dict[int, float]:
    """Logarithms of the ratios relative to what the other classes share, of the classes where they are large."""
    relative = {target: ratio - shared(target)[0] for target, ratio in ratios.items()}
    return {target: value for target, value in relative.items() if value > MIN_RATIO}
