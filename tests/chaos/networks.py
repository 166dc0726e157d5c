"""Networks that take the process down with them, each in its own way, once a job asks for a gradient."""

import os
import signal
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

CATALOGUE = """
[[model]]
name = "{name}"
architecture = "factory:{name}"
arguments = {{ always = {always} }}
classes = ["one", "two", "three"]
preprocessing = {{ size = [16, 16] }}
"""

BAD = ("crash", "hang", "oom")


class Bad(nn.Module):
    """A convolution that does something terrible first.

    Args:
        always: Also where nobody asks for a gradient: when the network is looked at before its first job.
    """

    def __init__(self, terror: Callable[[], None], *, always: bool) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
        self.terror, self.always = terror, always

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad or self.always:
            self.terror()
        scores: Tensor = self.layer(x).mean((2, 3))
        return scores


def crash(always: bool = False) -> nn.Module:
    """The process dies as from a wild pointer."""
    return _seeded(lambda: os.kill(os.getpid(), signal.SIGSEGV), always)


def hang(always: bool = False) -> nn.Module:
    """It never comes back."""
    return _seeded(lambda: time.sleep(1_000_000), always)


def oom(always: bool = False) -> nn.Module:
    """Memory runs out, however small the batch."""
    return _seeded(_run_out, always)


def write_entries(*, always: bool = False) -> str:
    """What a catalogue says of them."""
    return "".join(CATALOGUE.format(name=name, always=str(always).lower()) for name in BAD)


def _run_out() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def _seeded(terror: Callable[[], None], always: bool) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Bad(terror, always=always)
