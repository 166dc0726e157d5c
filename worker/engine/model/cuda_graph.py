"""CUDA graphs: records the passes of a network once, and replays them without Python between the kernels.

A pass of a small network consists of hundreds of kernels. A GPU runs each of them faster than Python launches it.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from typing import cast

import torch
from torch import Tensor

Pass = Callable[[Tensor], Tensor]
"""From normalized inputs (N, C, H, W) to scores (N, K)."""

Record = Callable[[Pass, Tensor], Pass]
"""Records a forward and backward pass for inputs of a sample's shape (N, C, H, W); a replay overwrites its output."""

WARM_UP = 4
"""Passes of a shape before it is recorded: a shape that occurs only a few times is not worth a recording."""

MAX_RECORDINGS = 4
"""Recordings that are kept: each keeps its activations in memory."""

TOLERANCE = 1e-2
"""Largest difference between a replay and the plain pass, relative to the largest value.

Atomic sums and bfloat16 are not exact.
"""


def record_on_cuda(run: Pass, sample: Tensor) -> Pass:
    """Records a pass with `torch.cuda.make_graphed_callables`.

    Args:
        run: The pass to record.
        sample: Inputs (N, C, H, W) of the shape to record.

    Returns:
        The recorded pass, which takes inputs of the sample's shape.

    Raises:
        RuntimeError: The network does something that cannot be recorded.
    """
    recorded = torch.cuda.make_graphed_callables(run, (sample,))
    return cast("Pass", recorded)


class Graphs:
    """The recorded passes of one network."""

    def __init__(self, record: Record = record_on_cuda) -> None:
        self._record = record
        self._counts: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, Pass] = {}

    def run(self, run: Pass, inputs: Tensor, key: Hashable) -> Tensor:
        """Runs a pass, from a recording if there is one.

        Args:
            run: The pass; always the same function for the same key.
            inputs: Normalized images (N, C, H, W) that require a gradient.
            key: What determines the pass apart from the inputs' shape.

        Returns:
            Scores (N, K).
        """
        key = (tuple(inputs.shape), key)
        self._counts[key] += 1
        if key not in self._recorded and self._counts[key] > WARM_UP and len(self._recorded) < MAX_RECORDINGS:
            self._recorded[key] = self._try_to_record(run, inputs.detach().clone().requires_grad_())
        return self._recorded.get(key, run)(inputs).clone()

    def _try_to_record(self, run: Pass, sample: Tensor) -> Pass:
        """Returns the recording; the pass itself if it cannot be recorded or its replay differs."""
        try:
            recorded = self._record(run, sample)
            agrees = all(map(_is_close, _run_with_gradient(recorded, sample), _run_with_gradient(run, sample)))
        except RuntimeError:  # the network synchronizes with the host, or memory does not suffice for a recording
            return run
        return recorded if agrees else run


def _run_with_gradient(run: Pass, sample: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (N, K), and the gradient of their sum (N, C, H, W)."""
    scores = run(sample)
    (gradient,) = torch.autograd.grad(scores.sum(), sample)
    return scores.detach().clone(), gradient.clone()


def _is_close(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=0, atol=TOLERANCE * float(theirs.abs().max()), equal_nan=True)
