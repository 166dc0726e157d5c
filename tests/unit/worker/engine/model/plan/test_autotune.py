"""Execution plans, measured with a simulated clock."""

import pytest
import torch
from torch import Tensor

from tests.support.networks import Small, seeded
from worker.engine.model.classifier import in_precision, open_classifier
from worker.engine.model.cuda_graph import Pass
from worker.engine.model.plan.autotune import measure_plan
from worker.engine.model.plan.execution_plan import ExecutionPlan, apply_plan

SIZE = (16, 16)


def measure(network: "Timed", *batches: int) -> ExecutionPlan:
    opened = open_classifier(network, mean=[0.5] * 3, std=[0.2] * 3, size=SIZE, device=torch.device("cpu"))
    with opened as classifier:
        return measure_plan(classifier, batches, clock=lambda: Timed.now)


class Timed(Small):
    """Advances its own clock by milliseconds per pass and per image; `half` is the factor in bfloat16."""

    now = 0.0

    def __init__(self, per_pass: float, per_image: float, half: float) -> None:
        super().__init__()
        self.per_pass, self.per_image, self.half = per_pass, per_image, half

    def forward(self, x: Tensor) -> Tensor:
        milliseconds = self.per_pass + self.per_image * len(x)
        Timed.now += milliseconds * (self.half if x.dtype == torch.bfloat16 else 1) / 1000
        return super().forward(x)


@pytest.mark.parametrize(
    ("milliseconds", "precision", "batch"),
    [
        ((40, 0, 1), "float32", 8),  # the time of a pass does not depend on the batch size: the largest
        ((0, 20, 1), "float32", 2),  # the time is proportional to the number of images: the smallest
        ((0, 40, 0.4), "bfloat16", 2),
        ((0, 20, 3), "float32", 2),
    ],
)
def test_the_plan_has_the_fastest_precision_and_the_smallest_batch_that_is_as_fast(
    milliseconds, precision: str, batch: int
) -> None:
    plan = measure(Timed(*milliseconds), 2, 4, 8)
    assert (plan.precision, plan.batch) == (precision, batch)


def test_the_plan_has_no_larger_batch_than_fits_into_memory() -> None:
    class Cramped(Timed):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 3:
                raise torch.OutOfMemoryError("out of memory")
            return super().forward(x)

    assert measure(Cramped(20, 0, 1), 2, 4, 8).batch == 2


@pytest.mark.parametrize(("speed", "graphs"), [(0.5, True), (0.99, False)])
def test_the_plan_uses_cuda_graphs_only_if_they_are_faster(speed: float, graphs: bool) -> None:
    def record(run: Pass, sample: Tensor) -> Pass:
        def replay(inputs: Tensor) -> Tensor:
            before = Timed.now
            scores = run(inputs)
            Timed.now = before + (Timed.now - before) * speed
            return scores

        return replay

    opened = open_classifier(Timed(0, 20, 1), mean=[0.5] * 3, std=[0.2] * 3, size=SIZE, device=torch.device("cpu"))
    with opened as classifier:
        plan = measure_plan(classifier, (2, 4), record=record, clock=lambda: Timed.now)
        assert (plan.graphs, apply_plan(classifier, plan).graphs is not None) == (graphs, graphs)


def test_a_classifier_in_bfloat16_has_a_copy_of_the_weights() -> None:
    network = seeded(Small)
    opened = open_classifier(network, mean=[0.5] * 3, std=[0.2] * 3, size=SIZE, device=torch.device("cpu"))
    with opened as classifier:
        half = in_precision(classifier, torch.bfloat16)
        assert in_precision(classifier, torch.float32) is classifier
        images = classifier.normalize(torch.rand(2, 3, *SIZE))
        torch.testing.assert_close(half.forward(images).scores, classifier.forward(images).scores, atol=0.03, rtol=0.03)
    assert all(weight.dtype == torch.float32 for weight in network.parameters())


class Disturbed(Timed):
    """Another process slows some passes: all that begin within a part of every period."""

    def forward(self, x: Tensor) -> Tensor:
        slow = Timed.now % 0.5 < 0.2
        before = Timed.now
        scores = super().forward(x)
        if slow:
            Timed.now = before + 2.5 * (Timed.now - before)
        return scores


def test_a_process_that_slows_the_machine_for_a_while_does_not_decide() -> None:
    plans = [measure(Disturbed(5, 10, 0.5), 2, 4, 8) for _ in range(20)]
    assert {(plan.precision) for plan in plans} == {"bfloat16"}
    assert sum(plan.batch == measure(Timed(5, 10, 0.5), 2, 4, 8).batch for plan in plans) >= 19


def test_a_plan_says_how_busy_the_machine_was() -> None:
    assert 0 <= measure(Timed(5, 10, 0.5), 2, 4).load < 1000
