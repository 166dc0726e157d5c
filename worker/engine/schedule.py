"""How the step size changes over an ascent: a factor for each step."""

import math
from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[int], float]
"""The factor of a step, counted from 1."""


def constant(step: int) -> float:  # noqa: ARG001
    """No change."""
    return 1.0


@dataclass(frozen=True)
class Staircase:
    """Times `factor` after every `every` steps."""

    every: int
    factor: float

    def __call__(self, step: int) -> float:
        return float(self.factor ** ((step - 1) // self.every))


@dataclass(frozen=True)
class Cosine:
    """Up in a line over `warm_up` steps, then down half a wave to nothing after `steps` (arXiv 1608.03983)."""

    steps: int
    warm_up: int = 0

    def __call__(self, step: int) -> float:
        if step <= self.warm_up:
            return step / (self.warm_up + 1)
        done = (step - 1 - self.warm_up) / max(1, self.steps - self.warm_up)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
