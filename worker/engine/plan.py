"""In which precision and how many pictures at a time a network runs fastest here: measured, as neither is obvious.

bfloat16 is twice as fast where a CPU has units for it and ten times slower where it has none; it loses on depthwise
convolutions even there. The largest batch is rarely the fastest on a CPU, and nearly always on a GPU. CUDA graphs pay
where a pass takes less time than Python needs to ask for it.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch

from worker.engine.classifier import Classifier, in_precision
from worker.engine.cuda_graph import WARM_UP, Graphs, Record, record_on_cuda
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
        graphs: Whether passes are recorded and replayed.
    """

    precision: Precision
    batch: int
    milliseconds: float
    graphs: bool = False

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32


def as_planned(classifier: Classifier, plan: Plan) -> Classifier:
    """The same classifier, run as the plan says."""
    return replace(in_precision(classifier, plan.dtype), graphs=Graphs() if plan.graphs else None)


def measure_plan(
    classifier: Classifier,
    batches: Sequence[int] = (),
    *,
    record: Record | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Plan:
    """Times the passes of an ascent at growing batches, in both precisions; the smallest that is about the fastest.

    Args:
        batches: To try; without them, ones that suit the device.
        record: What records passes; without it, CUDA where there is one.
        clock: Seconds.

    Raises:
        torch.OutOfMemoryError: The network does not fit into memory with one picture.
    """
    batches = batches or BATCHES.get(classifier.device.type, (8,))
    best = _measure(classifier, "float32", batches, None, clock)
    if best is None:
        raise torch.OutOfMemoryError("the network does not fit into memory with one picture; use a larger device")
    with suppress(RuntimeError):  # there are layers without kernels for bfloat16
        best = _measure(classifier, "bfloat16", batches, best, clock) or best
    record = record or (record_on_cuda if classifier.device.type == "cuda" else None)
    return best if record is None else _measure_graphs(classifier, best, Graphs(record), clock)


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


def _measure_graphs(classifier: Classifier, plan: Plan, graphs: Graphs, clock: Callable[[], float]) -> Plan:
    """The same plan, with recorded passes where those are faster."""
    climber = replace(in_precision(classifier, plan.dtype), graphs=graphs)
    try:
        seconds = _time_pass(climber, slice(0, plan.batch), hopeless=math.inf, clock=clock, warm_up=WARM_UP + 1)
    except RuntimeError:  # nothing is lost: the plan without them is known to work
        return plan
    milliseconds = 1000 * seconds / plan.batch
    better = milliseconds < WORTH * plan.milliseconds
    return replace(plan, milliseconds=milliseconds, graphs=True) if better else plan


def _time_pass(
    climber: Classifier, rows: slice, *, hopeless: float, clock: Callable[[], float], warm_up: int = 1
) -> float:
    """Median seconds of three passes forward and back to the inputs; of the first alone where that was hopeless."""
    inputs = torch.zeros(rows.stop - rows.start, climber.channels, *climber.size, device=climber.device)
    inputs.uniform_(-1, 1, generator=torch.Generator(climber.device).manual_seed(0)).requires_grad_()
    times: list[float] = []
    while len(times) < warm_up + 3 and not (times and times[0] > hopeless):
        started = _read(clock, climber.device)
        torch.autograd.grad(climber.look(inputs).scores[:, 0].sum(), inputs)
        times.append(_read(clock, climber.device) - started)
    return statistics.median(times[warm_up:] or times)


def _read(clock: Callable[[], float], device: torch.device) -> float:
    """The time when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()
