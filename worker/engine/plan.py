"""In which precision and how many pictures at a time a network runs fastest here: measured, as neither is obvious.

bfloat16 is twice as fast where a CPU has units for it and ten times slower where it has none; it loses on depthwise
convolutions even there. The largest batch is rarely the fastest on a CPU, and nearly always on a GPU.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from worker.engine.classifier import Classifier, in_precision
from worker.engine.memory import run_in_parts

Precision = Literal["float32", "bfloat16"]

BATCHES = {"cpu": (4, 8, 16, 32), "cuda": (8, 32, 64, 128, 256)}

WORTH = 0.95
"""What takes a larger batch, or half the precision, must take at most this part of the time without it."""

LONGEST_PASS = 4.0
"""Seconds: a pass that takes longer is the last one tried."""


@dataclass(frozen=True)
class Plan:
    """How a network is run.

    Attributes:
        precision: What it computes in.
        batch: Pictures at a time.
        milliseconds: What one picture then takes, forward and back; measured, and for information.
    """

    precision: Precision
    batch: int
    milliseconds: float

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32


def measure_plan(classifier: Classifier, batches: Sequence[int] = ()) -> Plan:
    """Times the passes of an ascent at growing batches, in both precisions; the smallest that is about the fastest."""
    best: Plan | None = None
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        plan = _measure(classifier, precision, tuple(batches) or BATCHES.get(classifier.device.type, (8,)))
        if best is None or (plan is not None and plan.milliseconds < WORTH * best.milliseconds):
            best = plan
    if best is None:
        raise torch.OutOfMemoryError("the network does not fit into memory with one picture; use a larger device")
    return best


def _measure(classifier: Classifier, precision: Precision, batches: Sequence[int]) -> Plan | None:
    best: Plan | None = None
    for batch in batches:
        try:
            passes, fitted = run_in_parts(partial(_time_pass, classifier, precision), batch, batch)
        except RuntimeError:  # no memory for one, or no kernels for this precision
            return best
        seconds = sum(passes)
        plan = Plan(precision, min(batch, fitted), 1000 * seconds / batch)
        if best is None or plan.milliseconds < WORTH * best.milliseconds:
            best = plan
        if fitted < batch or seconds > LONGEST_PASS or plan.milliseconds > best.milliseconds / WORTH:
            break
    return best


def _time_pass(classifier: Classifier, precision: Precision, rows: slice, repeats: int = 3) -> float:
    """Median seconds of a pass forward and back to the inputs."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    climber = in_precision(classifier, dtype)
    inputs = torch.rand(
        rows.stop - rows.start, climber.channels, *climber.size, generator=torch.Generator().manual_seed(0)
    )
    inputs = climber.normalise(inputs.to(climber.device)).requires_grad_()
    times = []
    for _ in range(repeats + 1):  # the first warms up
        started = _now(climber)
        torch.autograd.grad(climber.look(inputs).scores[:, 0].sum(), inputs)
        times.append(_now(climber) - started)
    return statistics.median(times[1:])


def _now(classifier: Classifier) -> float:
    if classifier.device.type == "cuda":
        torch.cuda.synchronize(classifier.device)
    return time.perf_counter()
