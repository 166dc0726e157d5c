"""Replayed passes equal plain ones. A stand-in records as CUDA does, in fixed memory."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.networks import Small, seeded
from worker.engine.ascent.config import Ascent, Slot
from worker.engine.ascent.initial import Normal
from worker.engine.ascent.loop import ascend
from worker.engine.ascent.optimizers import Adam
from worker.engine.ascent.parameterization import BoundedPixels
from worker.engine.ascent.transforms import Chain
from worker.engine.gradients.relaxed import RelaxedGradient
from worker.engine.model.classifier import Classifier, open_classifier
from worker.engine.model.cuda_graph import Graphs, Pass, record_on_cuda

SIZE = (16, 20)
ASCENT = Ascent(
    steps=12,
    parameterization=BoundedPixels(),
    size=SIZE,
    start=Normal(0.1),
    optimizer=Adam.start,
    transform=Chain(SIZE),
    relaxed=RelaxedGradient(0.1, 0.5),
)
SLOTS = [Slot(target, seed=target, rate=0.1) for target in (0, 1, 2, 3, 4)]


class Recorder:
    """Records like CUDA: the shape is fixed, and every replay overwrites the output of the one before."""

    def __init__(self, *, wrong: bool = False) -> None:
        self.recorded: list[tuple[int, ...]] = []
        self.replays = 0
        self.wrong = wrong

    def __call__(self, run: Pass, sample: Tensor) -> Pass:
        scores, gradient = run(sample).detach().clone(), torch.zeros_like(sample)
        self.recorded.append(tuple(sample.shape))

        class Replay(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, inputs: Tensor) -> Tensor:
                assert inputs.shape == sample.shape
                self.replays += 1
                with torch.enable_grad():
                    ctx.inputs = inputs.detach().requires_grad_()
                    ctx.scores = run(ctx.inputs)
                scores.copy_(ctx.scores)
                return scores.detach()

            @staticmethod
            def backward(ctx: Any, signal: Tensor) -> Tensor:
                gradient.copy_(torch.autograd.grad(ctx.scores, ctx.inputs, signal)[0] * (-1 if self.wrong else 1))
                return gradient.detach()

        return Replay.apply


def run_ascent(classifier: Classifier) -> list[Tensor]:
    """The images of five slots, three and two at a time, so that two shapes are recorded."""
    ends = [end for step in ascend(classifier, ASCENT, SLOTS, at_once=3) for end in step.ended]
    return [end.image for end in ends]


@pytest.fixture
def classifier():
    with open_classifier(
        seeded(Small), mean=[0.5] * 3, std=[0.2] * 3, size=SIZE, device=torch.device("cpu")
    ) as classifier:
        yield classifier


def test_replayed_passes_give_the_same_images(classifier: Classifier) -> None:
    recorder = Recorder()
    replayed = run_ascent(replace(classifier, graphs=Graphs(recorder)))
    assert recorder.recorded == [(3, 3, *SIZE), (2, 3, *SIZE)]
    assert recorder.replays > 12
    for ours, theirs in zip(replayed, run_ascent(classifier), strict=True):
        assert torch.equal(ours, theirs)


def test_a_recording_with_a_wrong_gradient_is_not_used(classifier: Classifier) -> None:
    replayed = run_ascent(replace(classifier, graphs=Graphs(Recorder(wrong=True))))
    for ours, theirs in zip(replayed, run_ascent(classifier), strict=True):
        assert torch.equal(ours, theirs)


def test_a_network_that_cannot_be_recorded_runs_without_a_recording(classifier: Classifier) -> None:
    def refuse(run: Pass, sample: Tensor) -> Pass:
        raise RuntimeError("operation not permitted when stream is capturing")

    replayed = run_ascent(replace(classifier, graphs=Graphs(refuse)))
    for ours, theirs in zip(replayed, run_ascent(classifier), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_records_and_replays_passes() -> None:
    recorded: list[Pass] = []

    def record(run: Pass, sample: Tensor) -> Pass:
        recorded.append(record_on_cuda(run, sample))
        return recorded[-1]

    device = torch.device("cuda")
    with open_classifier(seeded(Small), mean=[0.5] * 3, std=[0.2] * 3, size=SIZE, device=device) as on_gpu:
        replayed, plain = run_ascent(replace(on_gpu, graphs=Graphs(record))), run_ascent(on_gpu)
    assert len(recorded) == 2
    for ours, theirs in zip(replayed, plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)
