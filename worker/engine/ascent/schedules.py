"""Learning-rate schedules: the factor of the step size for each step of an ascent."""

import math
from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[int], float]
"""From the number of a step, starting at 1, to the factor of its step size."""


def constant(step: int) -> float:  # noqa: ARG001
    """Returns 1 for every step."""
    return 1.0


@dataclass(frozen=True)
class Staircase:
    """Multiplies the step size by `factor` after every `every` steps."""

    every: int
    factor: float

    def __call__(self, step: int) -> float:
        """Returns the factor of a step, counted from 1."""
        return float(self.factor ** ((step - 1) // self.every))


@dataclass(frozen=True)
class Cosine:
    """Cosine annealing with linear warm-up (Loshchilov and Hutter 2016, arXiv 1608.03983).

    Attributes:
        steps: Number of steps after which the factor is 0.
        warm_up: Number of steps in which the factor rises to 1.
    """

    steps: int
    warm_up: int = 0

    def __call__(self, step: int) -> float:
        """Returns the factor of a step, counted from 1."""
        if step <= self.warm_up:
            return step / (self.warm_up + 1)
        done = (step - 1 - self.warm_up) / max(1, self.steps - self.warm_up)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
