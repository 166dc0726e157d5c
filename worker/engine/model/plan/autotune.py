"""Chooses precision, batch size and CUDA graphs for a network by measuring its speed on the device.

None of these is obvious in advance. bfloat16 is twice as fast on a CPU that has units for it, and ten times slower on
one that has none; it is slower for depthwise convolutions in both cases. The largest batch is rarely the fastest on a
CPU, and nearly always on a GPU. CUDA graphs help if a pass takes less time than Python needs to launch it.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from worker.engine.model.classifier import Classifier, in_precision
from worker.engine.model.cuda_graph import WARM_UP, Graphs, Record, record_on_cuda
from worker.engine.model.microbatch import run_in_microbatches
from worker.engine.model.network_call import NetworkError, compute_gradients
from worker.engine.model.plan.execution_plan import ExecutionPlan, Precision, apply_plan, draw_inputs, is_close
from worker.engine.model.plan.machine_load import MachineLoad

BATCH_SIZES = {"cpu": (4, 8, 16, 32), "cuda": (8, 32, 64, 128, 256)}
"""Batch sizes to measure, by type of device."""

MAX_TIME_RATIO = 0.95
"""A larger batch, half precision or CUDA graphs are chosen if the time per image falls to this part or less."""

MAX_PASS_SECONDS = 4.0
"""A pass that takes longer is the last one measured."""

MAX_MEASURE_SECONDS = 0.25
"""Passes that have taken longer than this together are not repeated."""

PAIRS = 2
"""Times that two plans are measured again, one after the other: what slows the machine meanwhile slows both."""

CLEAR_RATIO = 4.0
"""If one of two plans is so many times faster, they are not measured again: another process slows less than that."""

MAX_PAIR_SECONDS = 4.0
"""Plans are not measured again if that takes longer."""


def measure_plan(
    classifier: Classifier,
    batches: Sequence[int] = (),
    *,
    record: Record | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> ExecutionPlan:
    """Measures forward and backward passes in both precisions and at several batch sizes, and chooses the fastest.

    Of batch sizes that are about equally fast, the smallest is chosen. Plans are compared by the shortest of several
    passes, which alternate, so that another process that uses the machine for a while does not decide.

    Args:
        classifier: The network in float32.
        batches: Batch sizes to measure, ascending; without them, those in `BATCH_SIZES`.
        record: Records passes; without it, CUDA graphs if the device is a GPU.
        clock: Returns the time in seconds.

    Returns:
        The plan: float32 and a smaller batch if the network does not run otherwise.

    Raises:
        torch.OutOfMemoryError: The network does not fit into memory with one image.
    """
    started = MachineLoad.now()
    plan = _choose_plan(classifier, batches, record, clock)
    load = started.since() if classifier.device.type == "cpu" else 0.0
    return replace(plan, load=round(load, 2))


def _choose_plan(
    classifier: Classifier, batches: Sequence[int], record: Record | None, clock: Callable[[], float]
) -> ExecutionPlan:
    sizes = list(batches or BATCH_SIZES.get(classifier.device.type, (8,)))
    meter = _Meter(classifier, clock, backward=has_gradient(classifier))
    base = sizes[0]
    best = meter.measure("float32", base, math.inf) or _find_working(meter, base)
    if best is None:
        return ExecutionPlan("float32", 1, 0.0)
    half = meter.measure("bfloat16", base, best.milliseconds) if meter.is_promising("bfloat16", best) else None
    if half is not None:
        best, half = meter.repeat(best, half)
        if half.milliseconds < MAX_TIME_RATIO * best.milliseconds and _agrees(classifier, half.dtype):
            best = half
    best = _choose_batch(meter, best, sizes)
    record = record or (record_on_cuda if classifier.device.type == "cuda" else None)
    if record is None or not meter.backward:
        return best
    return _measure_graphs(classifier, best, Graphs(record), clock)


def time_plan(classifier: Classifier, plan: ExecutionPlan, clock: Callable[[], float] = time.perf_counter) -> float:
    """Measures the milliseconds per image, forward and backward, with a plan."""
    seconds = _time_pass(apply_plan(classifier, plan), slice(0, plan.batch), hopeless=math.inf, clock=clock)
    return 1000 * seconds / plan.batch


def has_gradient(classifier: Classifier) -> bool:
    """Whether class scores have a gradient with respect to the image."""
    inputs = torch.ones(2, classifier.channels, *classifier.size, device=classifier.device).requires_grad_()
    try:
        compute_gradients(classifier.forward(inputs).scores.sum(), [inputs])
    except NetworkError:
        return False
    return True


def _find_working(meter: "_Meter", base: int) -> ExecutionPlan | None:
    """The plan of the largest batch below `base` that works in float32; None if none does."""
    while base > 1:
        base //= 2
        plan = meter.measure("float32", base, math.inf)
        if plan is not None:
            return plan
    return None


def _choose_batch(meter: "_Meter", best: ExecutionPlan, sizes: Sequence[int]) -> ExecutionPlan:
    """The smallest of the batch sizes that are about equally fast, in the precision of a plan."""
    for batch in [size for size in sizes if size > best.batch]:
        plan = meter.measure(best.precision, batch, best.milliseconds)
        if plan is None:
            break
        best, plan = meter.repeat(best, plan)
        if plan.milliseconds >= MAX_TIME_RATIO * best.milliseconds:
            break
        best = plan
        if plan.batch < batch or plan.milliseconds * batch > 1000 * MAX_PASS_SECONDS:
            break
    return best


@torch.no_grad()
def _agrees(classifier: Classifier, dtype: torch.dtype) -> bool:
    """Whether the scores in another precision are about those of float32."""
    inputs = draw_inputs(classifier, 2)
    return is_close(in_precision(classifier, dtype).scores(inputs), classifier.scores(inputs))


class _Meter:
    """Measures passes of a network."""

    def __init__(self, classifier: Classifier, clock: Callable[[], float], *, backward: bool) -> None:
        self.backward = backward
        self._clock = clock
        self._classifiers: dict[str, Classifier] = {"float32": classifier}

    def measure(self, precision: Precision, batch: int, best: float) -> ExecutionPlan | None:
        """Measures passes of so many images.

        Args:
            precision: Precision in which the network computes.
            batch: Images per pass; fewer if memory runs out.
            best: Milliseconds per image of the best plan so far; a pass that takes `CLEAR_RATIO` times as long is
                hopeless.

        Returns:
            The plan; None if the network does not run like that.
        """
        hopeless = CLEAR_RATIO * batch * best / 1000
        try:
            fast_classifier = self._convert(precision)
            time_pass = partial(
                _time_pass, fast_classifier, hopeless=hopeless, clock=self._clock, backward=self.backward
            )
            passes, limit = run_in_microbatches(time_pass, batch, batch)
        except torch.OutOfMemoryError:
            if precision == "float32":  # not even one image fits
                raise
            return None
        except NetworkError:  # some networks run only in float32, some have layers without kernels for bfloat16
            return None
        return ExecutionPlan(
            precision, min(batch, limit, fast_classifier.traits.max_batch or limit), 1000 * sum(passes) / batch
        )

    def repeat(self, first: ExecutionPlan, second: ExecutionPlan) -> tuple[ExecutionPlan, ExecutionPlan]:
        """Measures two plans again, alternately, and returns them with their shortest times.

        Does nothing if one of them is much faster, or if it takes too long.
        """
        times = first.milliseconds, second.milliseconds
        seconds = sum(plan.batch * plan.milliseconds for plan in (first, second)) / 1000
        if max(times) > CLEAR_RATIO * min(times) or PAIRS * seconds > MAX_PAIR_SECONDS:
            return first, second
        for _ in range(PAIRS):
            first, second = self._measure_again(first), self._measure_again(second)
        return first, second

    def _measure_again(self, plan: ExecutionPlan) -> ExecutionPlan:
        again = self.measure(plan.precision, plan.batch, math.inf)
        return plan if again is None else replace(plan, milliseconds=min(plan.milliseconds, again.milliseconds))

    def is_promising(self, precision: Precision, best: ExecutionPlan) -> bool:
        """Whether a pass of two images is not much slower than the best plan: some processors emulate a precision."""
        plan = self.measure(precision, 2, best.milliseconds)
        return plan is not None and plan.milliseconds < CLEAR_RATIO * best.milliseconds

    def _convert(self, precision: Precision) -> Classifier:
        if precision not in self._classifiers:
            self._classifiers[precision] = in_precision(self._classifiers["float32"], torch.bfloat16)
        return self._classifiers[precision]


def _measure_graphs(
    classifier: Classifier, plan: ExecutionPlan, graphs: Graphs, clock: Callable[[], float]
) -> ExecutionPlan:
    """Returns the plan, with recorded passes if they are faster."""
    fast_classifier = replace(in_precision(classifier, plan.dtype), graphs=graphs)
    try:
        seconds = _time_pass(fast_classifier, slice(0, plan.batch), hopeless=math.inf, clock=clock, warm_up=WARM_UP + 1)
    except RuntimeError:  # the plan without recordings is known to work
        return plan
    milliseconds = 1000 * seconds / plan.batch
    is_better = milliseconds < MAX_TIME_RATIO * plan.milliseconds
    return replace(plan, milliseconds=milliseconds, graphs=True) if is_better else plan


def _time_pass(
    fast_classifier: Classifier,
    rows: slice,
    *,
    hopeless: float,
    clock: Callable[[], float],
    warm_up: int = 1,
    backward: bool = True,
) -> float:
    """Returns the seconds of the fastest of up to three passes forward and backward to the inputs.

    If the first pass takes longer than `hopeless` seconds, its time is returned and no other is measured. Slow passes
    are measured less often.
    """
    inputs = draw_inputs(fast_classifier, rows.stop - rows.start).requires_grad_(backward)
    times: list[float] = []
    while len(times) < warm_up + 3 and not (times and times[0] > hopeless):
        started = _read(clock, fast_classifier.device)
        with torch.set_grad_enabled(backward):
            scores = fast_classifier.forward(inputs).scores
        if backward:
            compute_gradients(scores[:, 0].sum(), [inputs])
        times.append(_read(clock, fast_classifier.device) - started)
        if len(times) > warm_up and sum(times) > MAX_MEASURE_SECONDS:
            break
    return min(times[warm_up:] or times)


def _read(clock: Callable[[], float], device: torch.device) -> float:
    """Reads the clock after all work of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()
