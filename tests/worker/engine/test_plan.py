"""Plans are measured."""

import pytest
import torch
from torch import Tensor

from tests.networks import Small, seeded
from worker.engine.classifier import in_precision, open_classifier
from worker.engine.cuda_graph import Pass
from worker.engine.plan import Plan, as_planned, measure_plan

SIZE = (16, 16)


def measure(network: "Timed", *batches: int) -> Plan:
    opened = open_classifier(network, mean=[0.5] * 3, std=[0.2] * 3, size=SIZE, device=torch.device("cpu"))
    with opened as classifier:
        return measure_plan(classifier, batches, clock=lambda: Timed.now)


class Timed(Small):
    """By its own clock it takes so many milliseconds for a pass and for each picture, more or less in bfloat16."""

    now = 0.0

    def __init__(self, per_pass: float, per_picture: float, half: float) -> None:
        super().__init__()
        self.per_pass, self.per_picture, self.half = per_pass, per_picture, half

    def forward(self, x: Tensor) -> Tensor:
        milliseconds = self.per_pass + self.per_picture * len(x)
        Timed.now += milliseconds * (self.half if x.dtype == torch.bfloat16 else 1) / 1000
        return super().forward(x)


@pytest.mark.parametrize(
    ("milliseconds", "precision", "batch"),
    [
        ((40, 0, 1), "float32", 8),  # a pass costs the same whatever its size: the largest
        ((0, 20, 1), "float32", 2),  # a picture costs the same whatever the batch: the smallest
        ((0, 40, 0.4), "bfloat16", 2),
        ((0, 20, 3), "float32", 2),
    ],
)
def test_the_fastest_precision_and_the_smallest_batch_that_is_as_fast(milliseconds, precision: str, batch: int) -> None:
    plan = measure(Timed(*milliseconds), 2, 4, 8)
    assert (plan.precision, plan.batch) == (precision, batch)


def test_no_larger_batch_than_memory_has_room_for() -> None:
    class Cramped(Timed):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 3:
                raise torch.OutOfMemoryError("out of memory")
            return super().forward(x)

    assert measure(Cramped(20, 0, 1), 2, 4, 8).batch == 2


@pytest.mark.parametrize(("speed", "graphs"), [(0.5, True), (0.99, False)])
def test_recorded_passes_are_planned_where_they_are_faster(speed: float, graphs: bool) -> None:
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
        assert (plan.graphs, as_planned(classifier, plan).graphs is not None) == (graphs, graphs)


def test_half_the_precision_has_weights_of_its_own() -> None:
    network = seeded(Small)
    opened = open_classifier(network, mean=[0.5] * 3, std=[0.2] * 3, size=SIZE, device=torch.device("cpu"))
    with opened as classifier:
        half = in_precision(classifier, torch.bfloat16)
        assert in_precision(classifier, torch.float32) is classifier
        pictures = classifier.normalise(torch.rand(2, 3, *SIZE))
        torch.testing.assert_close(half.look(pictures).scores, classifier.look(pictures).scores, atol=0.03, rtol=0.03)
    assert all(weight.dtype == torch.float32 for weight in network.parameters())
