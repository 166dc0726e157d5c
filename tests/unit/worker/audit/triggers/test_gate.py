"""The gate `trigger`: it names a planted class, passes a release that changed a little, and says when it cannot run."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from archetype.contract.audit_plan import Gate
from archetype.contract.job import Progress
from tests.support.marked import CLASSES, PLANTED, Marked
from tests.support.trigger_sides import COUNT, GATE, QUICK, make_images, open_sides
from worker.audit.triggers.gate import compare_triggers, explain_abstention
from worker.audit.triggers.judge import TriggerComparison
from worker.audit.triggers.search import choose_suspicious
from worker.audit.triggers.sizes import Sizes
from worker.engine.triggers.find import WITHOUT_GRADIENTS
from worker.engine.triggers.measure import Count, Trigger
from worker.engine.triggers.search import Slot
from worker.job.cobatch import run_alone


def trained_again() -> nn.Module:
    network = Marked(planted=False)
    network.weights.data += 0.3 * torch.randn(network.weights.shape, generator=torch.Generator().manual_seed(1))
    return network


def compare(subject: nn.Module, baseline: nn.Module, gate: Gate = GATE, count: int = COUNT) -> TriggerComparison:
    with open_sides(subject, baseline) as sides:
        progress: list[Progress] = []
        result = run_alone(
            compare_triggers(sides[0], sides[1], make_images(count), gate, thoroughness=QUICK), progress.append
        )
        assert result.abstained or not progress or progress[-1].done == progress[-1].total
    return result


@pytest.fixture(scope="module")
def planted() -> TriggerComparison:
    return compare(Marked(), Marked(planted=False))


def test_a_planted_class_fails_and_is_named_first(planted: TriggerComparison) -> None:
    (finding,) = planted.findings
    assert (finding.gate, finding.severity, finding.target) == ("trigger", "fail", f"class {PLANTED}")
    assert finding.change.value > 2
    assert finding.change.low > 1
    assert f"of other pictures into class {PLANTED} (before: " in finding.reason
    assert "times the size" in finding.reason
    assert planted.results[0].target == f"class {PLANTED}"
    assert planted.changes["trigger"][f"class {PLANTED}"] == finding.change


def test_the_planted_class_has_a_picture_and_the_others_have_sizes(planted: TriggerComparison) -> None:
    first, *others = planted.results
    assert first.picture.startswith("data:image/webp;base64,")
    assert first.seeds == [1, 2]
    assert first.turned > first.pictures / 2
    assert len(others) == CLASSES - 1
    assert all(other.picture is None and other.subject_size > 0 for other in others)


def test_a_release_that_was_trained_again_has_no_finding() -> None:
    result = compare(trained_again(), Marked(planted=False))
    assert result.abstained is None
    assert result.findings == []
    assert len(result.results) == CLASSES


def test_equal_weights_are_not_searched() -> None:
    result = compare(Marked(), Marked())
    assert "same weights" in result.abstained
    assert result.findings == []


def test_the_gate_abstains_if_there_are_too_few_probes() -> None:
    result = compare(Marked(), Marked(planted=False), count=5)
    assert (result.findings, result.changes) == ([], {})
    assert result.abstained.startswith("the plan has 5 readable probes of")
    assert explain_abstention([0] * 20) is not None
    assert explain_abstention([0, 1, 2] * 3) is None


class Detached(Marked):
    """Fails if a gradient is asked for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.requires_grad:
            raise RuntimeError("no gradients here")
        return super().forward(x)


def test_a_planted_class_of_a_network_without_gradients_is_found_by_trying() -> None:
    result = compare(Detached(), Marked(planted=False))
    (finding,) = result.findings
    assert finding.target == f"class {PLANTED}"
    assert {each.family for each in result.results} <= set(WITHOUT_GRADIENTS)
    assert "masks and additive patterns are not searched" in result.left_out[0]


def test_a_clean_network_without_gradients_has_no_finding() -> None:
    clean = Detached(planted=False)
    clean.load_state_dict(trained_again().state_dict())
    result = compare(clean, Marked(planted=False))
    assert (result.abstained, result.findings) == (None, [])
    assert result.left_out


def test_a_search_by_gradient_leaves_nothing_out(planted: TriggerComparison) -> None:
    assert planted.left_out == ()


class Failing(Marked):
    """Fails after some passes."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        if self.passes > 20:
            raise RuntimeError("no scores any more")
        return super().forward(x)


def test_the_gate_abstains_with_the_reason_if_the_network_fails() -> None:
    result = compare(Failing(), Marked(planted=False))
    assert result.abstained.startswith("the search failed")
    assert "no scores any more" in result.abstained


def test_a_gate_that_is_off_searches_nothing() -> None:
    result = compare(Marked(), Marked(planted=False), GATE.model_copy(update={"severity": "off"}))
    assert replace(result) == TriggerComparison(abstained="the gate is off")


def make_trigger(target: int, size: float, *, reached: bool = True) -> Trigger:
    nothing = Count(0, 0)
    return Trigger(Slot(target, 1), torch.zeros(1), size, reached, nothing, nothing, nothing)


def test_a_trigger_that_the_baseline_lacks_counts_as_its_largest_one() -> None:
    subject = {target: [make_trigger(target, 3.0)] for target in range(3)}
    baseline = {
        0: [make_trigger(0, 500.0, reached=False)],
        1: [make_trigger(1, 30.0)],
        2: [make_trigger(2, 4.0, reached=False)],
    }
    sizes = Sizes(subject, baseline, largest=16.0)
    assert sizes.ratios(1) == pytest.approx({0: math.log(10), 1: math.log(10), 2: math.log(4 / 3)})
    assert [sizes.baseline_size(target) for target in range(3)] == [30, 30, 4]
    assert sizes.ratios(2) == {}


def test_without_any_trigger_of_the_baseline_a_usual_size_is_the_limit() -> None:
    sizes = Sizes({0: [make_trigger(0, 2.0)]}, {0: [make_trigger(0, 500.0, reached=False)]}, largest=16.0)
    assert sizes.ratios(1) == pytest.approx({0: math.log(8)})


def test_a_class_whose_trigger_was_not_found_in_the_subject_has_no_ratio() -> None:
    sizes = Sizes({0: [make_trigger(0, 2.0, reached=False)]}, {0: [make_trigger(0, 5.0)]}, largest=16.0)
    assert sizes.ratios(1) == {}


def test_the_pairs_with_the_largest_ratios_are_searched_again() -> None:
    subject = {target: [make_trigger(target, 10.0 if target else 2.0)] for target in range(8)}
    baseline = {target: [make_trigger(target, 10.0)] for target in range(8)}
    coarse = {name: Sizes(subject, baseline, largest=16.0) for name in ("mask", "frame")}
    assert choose_suspicious(coarse) == {"mask": [0], "frame": [0]}
