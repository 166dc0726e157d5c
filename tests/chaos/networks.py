"""Networks that crash, block, wait or exhaust their process when a job computes a gradient."""

import json
import os
import signal
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.chaos.requests import NAMES

CATALOGUE = """
[[model]]
name = "{name}"
architecture = "factory:{name}"
arguments = {{ always = {always} }}
classes = ["one", "two", "three"]
preprocessing = {{ size = [16, 16] }}
"""

BAD = ("crash", "hang", "oom")

STEP_SECONDS = 0.03
"""Time that a step of the network `wait` takes."""

WAITING = """
[[model]]
name = "wait"
architecture = "factory:wait"
classes = {classes}
preprocessing = {{ size = [16, 16] }}
"""


class Bad(nn.Module):
    """A convolution with a fault.

    Args:
        fail: Called before each forward pass whose input needs a gradient.
        always: Whether to fail also without a gradient, for example in the inspection before the first job.
        classes: Number of classes.
    """

    def __init__(self, fail: Callable[[], None], *, always: bool, classes: int = 3) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, classes, 1)
        self.fail, self.always = fail, always

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad or self.always:
            self.fail()
        scores: Tensor = self.layer(x).mean((2, 3))
        return scores


def crash(always: bool = False) -> nn.Module:
    """A network that ends its process with a segmentation fault."""
    return _seeded(lambda: os.kill(os.getpid(), signal.SIGSEGV), always)


def hang(always: bool = False) -> nn.Module:
    """A network whose forward pass does not return."""
    return _seeded(lambda: time.sleep(1_000_000), always)


def oom(always: bool = False) -> nn.Module:
    """A network that runs out of memory with any batch size."""
    return _seeded(_raise_out_of_memory, always)


def wait() -> nn.Module:
    """A network that waits instead of computing: for jobs that only need to run, and leave the cores to others."""
    return _seeded(lambda: time.sleep(STEP_SECONDS), False, classes=len(NAMES))


def write_entries(*, always: bool = False) -> str:
    """Returns the catalogue entries of the networks."""
    bad = "".join(CATALOGUE.format(name=name, always=str(always).lower()) for name in BAD)
    return bad + WAITING.format(classes=json.dumps(NAMES))


def _raise_out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def _seeded(fail: Callable[[], None], always: bool, classes: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Bad(fail, always=always, classes=classes)
