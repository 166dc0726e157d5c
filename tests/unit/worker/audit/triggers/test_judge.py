"""The decision of the gate `trigger` over families of changes, from given sizes."""

import math
from collections.abc import Mapping

import pytest
import torch

from archetype.contract.audit_plan import Gate, Gates
from tests.support.marked import CLASSES, SIDE, Marked, make_carriers
from tests.support.trigger_sides import open_sides
from worker.audit.triggers.judge import Judge, TriggerComparison
from worker.audit.triggers.search import SEEDS, Searched
from worker.audit.triggers.sizes import Sizes, choose_groups, mean_ratios
from worker.engine.triggers.find import FAMILIES
from worker.engine.triggers.measure import Count, Trigger
from worker.engine.triggers.search import Slot

SHAPE = (3, SIDE, SIDE)
DENSE = ("additive", "bounded", "frequency")
DEFAULT = Gates().trigger
NOISE = (0.0, 0.05, -0.06, 0.09, -0.9, 0.02)
"""Logarithms of the ratios of classes without a shortcut; one of them became much less sensitive."""


def make_trigger(name: str, target: int, seed: int, size: float, *, works: bool = True) -> Trigger:
    parameters = FAMILIES[name](SHAPE).start([seed])[0]
    turned = Count(18 if works else 1, 20)
    return Trigger(Slot(target, seed), parameters, size, True, turned, turned, Count(0, 20))


def make_sizes(name: str, ratios: Mapping[int, float], seeds: tuple[int, ...], *, works: bool = True) -> Sizes:
    subject = {
        target: [make_trigger(name, target, seed, 10 / math.exp(ratio), works=works) for seed in seeds]
        for target, ratio in ratios.items()
    }
    baseline = {target: [make_trigger(name, target, seed, 10.0) for seed in seeds] for target in ratios}
    return Sizes(subject, baseline, largest=60.0)


def decide(
    shortcut: Mapping[str, float], fine: Mapping[str, float], gate: Gate = DEFAULT, *, works: bool = True
) -> TriggerComparison:
    """Decides for class 0, with its log ratio in each family, coarse and fine; families without one have no change."""
    families = {name: FAMILIES[name](SHAPE) for name in (*DENSE, "mask", "patch")}
    coarse = {
        name: make_sizes(name, dict(enumerate(NOISE)) | {0: shortcut.get(name, 0.0)}, SEEDS[:1]) for name in families
    }
    repeated = {
        name: make_sizes(name, {0: fine[name]} if name in fine else {}, SEEDS, works=works) for name in families
    }
    with open_sides(Marked(), Marked(planted=False)) as sides:
        searched = Searched(families, coarse, repeated, ({}, {}))
        return Judge(sides[0], sides[1], gate, make_carriers().split(), searched).compare()


def test_a_large_ratio_in_one_family_is_a_finding_that_fails() -> None:
    result = decide({"mask": math.log(3)}, {"mask": math.log(3)})
    (finding,) = result.findings
    assert (finding.severity, finding.target) == ("fail", "class 0")
    assert finding.change.value == pytest.approx(3, rel=0.1)
    assert result.results[0].families == ["mask"]


def test_a_moderate_ratio_in_several_similar_families_is_a_finding() -> None:
    each = dict.fromkeys(DENSE, math.log(1.6))
    result = decide(each, {"bounded": math.log(1.3)})
    (finding,) = result.findings
    assert result.results[0].families == list(DENSE)
    assert result.results[0].family == "bounded"
    assert finding.change.value == pytest.approx(1.6, rel=0.1)
    assert "over the families additive, bounded and frequency, it needs 1." in finding.reason
    assert result.results[0].picture is not None


@pytest.mark.parametrize(
    ("shortcut", "fine"),
    [
        ({"mask": math.log(1.25)}, {"mask": math.log(1.25)}),  # below the tolerance
        (dict.fromkeys(DENSE, math.log(1.6)), {}),  # not confirmed by a fine search
        (dict.fromkeys(DENSE, math.log(1.6)), {"bounded": 0.0}),  # not confirmed by both seeds
        ({"mask": math.log(3)}, {"mask": 0.0}),  # an error of the coarse search
    ],
)
def test_changes_that_are_small_or_not_confirmed_are_no_findings(
    shortcut: Mapping[str, float], fine: Mapping[str, float]
) -> None:
    assert decide(shortcut, fine).findings == []


def test_a_trigger_that_does_not_work_on_other_pictures_is_no_finding() -> None:
    assert decide({"mask": math.log(3)}, {"mask": math.log(3)}, works=False).findings == []


def test_the_severity_is_that_of_the_plan() -> None:
    gate = Gate(tolerance=1.35, severity="warn")
    assert [each.severity for each in decide({"mask": 1.1}, {"mask": 1.1}, gate).findings] == ["warn"]


def test_groups_have_at_least_two_families_that_were_searched() -> None:
    assert choose_groups(("mask", "color")) == []
    assert choose_groups(("frequency", "bounded", "mask")) == [("bounded", "frequency")]


def test_the_ratio_of_a_group_is_the_mean_over_the_families_that_have_one() -> None:
    sizes = [make_sizes("mask", {0: 0.4, 1: 0.2}, SEEDS), make_sizes("patch", {0: 0.2}, SEEDS)]
    assert mean_ratios(sizes, SEEDS[0]) == pytest.approx({0: 0.3, 1: 0.2})
    assert len(NOISE) == CLASSES
    assert torch.equal(make_trigger("mask", 0, 1, 1.0).parameters, make_trigger("mask", 0, 1, 1.0).parameters)
