"""In which precision and how many pictures at a time a network runs fastest here: measured, as neither is obvious.

bfloat16 is twice as fast where a CPU has units for it and ten times slower where it has none; it loses on depthwise
convolutions even there. The largest batch is rarely the fastest on a CPU, and nearly always on a GPU.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
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


def measure_plan(
    classifier: Classifier, batches: Sequence[int] = (), *, clock: Callable[[], float] = time.perf_counter
) -> Plan:
    """Times the passes of an ascent at growing batches, in both precisions; the smallest that is about the fastest.

    Args:
        batches: To try; without them, ones that suit the device.
        clock: Seconds.

    Raises:
        torch.OutOfMemoryError: The network does not fit into memory with one picture.
    """
    batches = batches or BATCHES.get(classifier.device.type, (8,))
    best = _measure(classifier, "float32", batches, None, clock)
    if best is None:
        raise torch.OutOfMemoryError("the network does not fit into memory with one picture; use a larger device")
    try:
        return _measure(classifier, "bfloat16", batches, best, clock) or best
    except RuntimeError:  # there are layers without kernels for it
        return best


def _measure(
    classifier: Classifier, precision: Precision, batches: Sequence[int], best: Plan | None, clock: Callable[[], float]
) -> Plan | None:
    """The best plan in a precision; None where it is no better than `best`."""
    found: Plan | None = None
    climber = in_precision(classifier, torch.bfloat16 if precision == "bfloat16" else torch.float32)
    for batch in batches:
        hopeless = 2 * batch * best.milliseconds / 1000 if best else math.inf
        try:
            passes, fitted = run_in_parts(partial(_time_pass, climber, hopeless=hopeless, clock=clock), batch, batch)
        except torch.OutOfMemoryError:
            break
        plan = Plan(precision, min(batch, fitted), 1000 * sum(passes) / batch)
        better = best is None or plan.milliseconds < WORTH * best.milliseconds
        if better:
            best = found = plan
        if not better or fitted < batch or sum(passes) > LONGEST_PASS:
            break
    return found


def _time_pass(
    climber: Classifier, rows: slice, *, hopeless: float, clock: Callable[[], float], repeats: int = 3
) -> float:
    """Median seconds of a pass forward and back to the inputs; of the first alone where that was hopeless."""
    inputs = torch.zeros(rows.stop - rows.start, climber.channels, *climber.size, device=climber.device)
    inputs.uniform_(-1, 1, generator=torch.Generator(climber.device).manual_seed(0)).requires_grad_()
    times: list[float] = []
    while len(times) <= repeats and not (times and times[0] > hopeless):  # the first warms up
        started = _read(clock, climber.device)
        torch.autograd.grad(climber.look(inputs).scores[:, 0].sum(), inputs)
        times.append(_read(clock, climber.device) - started)
    return statistics.median(times[1:] or times)


def _read(clock: Callable[[], float], device: torch.device) -> float:
    """The time when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()
