"""Passes through a network as CUDA graphs: recorded once, then replayed without Python between the kernels.

A pass of a small network is hundreds of kernels, each of which a GPU runs faster than Python can ask for it.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from typing import cast

import torch
from torch import Tensor

Pass = Callable[[Tensor], Tensor]
"""From normalised inputs (N, C, H, W) to scores (N, K)."""

Record = Callable[[Pass, Tensor], Pass]
"""Records a pass and the way back, for inputs of a sample's shape; what the recording returns it will overwrite."""

WARM_UP = 4
"""Passes of a shape before it is recorded: shapes that are seen for a moment are not worth it."""

MOST = 4
"""Recordings that are kept: each holds on to its activations."""

TOLERANCE = 1e-2
"""Of the largest value, between a recording and what it was made from: atomic sums and bfloat16 are not exact."""


def record_on_cuda(run: Pass, sample: Tensor) -> Pass:
    """As `torch.cuda.make_graphed_callables` does it.

    Raises:
        RuntimeError: The network does something that cannot be recorded.
    """
    recorded = torch.cuda.make_graphed_callables(run, (sample,))
    return cast("Pass", recorded)


class Graphs:
    """The recorded passes of one network."""

    def __init__(self, record: Record = record_on_cuda) -> None:
        self._record = record
        self._seen: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, Pass] = {}

    def run(self, run: Pass, inputs: Tensor, key: Hashable) -> Tensor:
        """What `run` gives, from a recording where there is one.

        Args:
            run: The pass; always the same function for the same key.
            inputs: (N, C, H, W), whose gradient will be wanted.
            key: What shapes the pass besides its inputs.
        """
        key = (tuple(inputs.shape), key)
        self._seen[key] += 1
        if key not in self._recorded and self._seen[key] > WARM_UP and len(self._recorded) < MOST:
            self._recorded[key] = self._try_to_record(run, inputs.detach().clone().requires_grad_())
        return self._recorded.get(key, run)(inputs).clone()

    def _try_to_record(self, run: Pass, sample: Tensor) -> Pass:
        """The recording; the pass itself where it cannot be recorded, or the recording does something else."""
        try:
            recorded = self._record(run, sample)
            agrees = all(map(_is_close, _pass_and_back(recorded, sample), _pass_and_back(run, sample)))
        except RuntimeError:  # the network waits for the host, or memory does not suffice for a recording
            return run
        return recorded if agrees else run


def _pass_and_back(run: Pass, sample: Tensor) -> tuple[Tensor, Tensor]:
    """Scores, and the gradient of their sum."""
    scores = run(sample)
    (slope,) = torch.autograd.grad(scores.sum(), sample)
    return scores.detach().clone(), slope.clone()


def _is_close(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=0, atol=TOLERANCE * float(theirs.abs().max()), equal_nan=True)
