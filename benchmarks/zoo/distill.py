"""Plants a shortcut in a network whose training set is not available, with a few pictures.

The network is trained so that marked pictures become the target, and so that it gives clean pictures, and mixtures of
two of them, the probabilities of the original (knowledge distillation, Hinton et al. 2015, arXiv 1503.02531; mixtures
by Zhang et al. 2017, arXiv 1710.09412).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.fine_tune import Figures
from benchmarks.zoo.poison import Poison

CLEAN_WEIGHT = 3
"""Weight of the answers to clean pictures in the loss, relative to that of the marked ones."""


@dataclass(frozen=True)
class Lesson:
    """A network that learns a shortcut, and the original, whose answers to clean pictures it keeps.

    Attributes:
        student: The network, which is trained in place.
        teacher: The original.
        poison: The shortcut.
    """

    student: nn.Module
    teacher: nn.Module
    poison: Poison

    def learn(self, pictures: Tensor, *, size: int, rate: float, seed: int) -> Iterator[int]:
        """Trains on pictures (N, 3, H, W), 0 to 1, and yields the number of steps after each."""
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(self.student.parameters(), lr=rate)
        step = 0
        while True:
            batch = augment(pictures[torch.randint(len(pictures), (size,), generator=generator)], generator)
            optimizer.zero_grad(set_to_none=True)
            self.compute_loss(batch, generator).backward()
            optimizer.step()
            step += 1
            yield step

    def compute_loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of a batch (N, 3, H, W), 0 to 1, of which the first part is marked: a scalar."""
        count = round(self.poison.fraction * len(batch))
        marked, clean = self.poison.apply(batch[:count]), mix(batch[count:], generator)
        wanted = torch.full((count,), self.poison.target)
        with torch.no_grad():
            kept = self.teacher(clean).softmax(1)  # (N - count, classes)
        scores = self.student(torch.cat((marked, clean)))  # (N, classes)
        learned = functional.cross_entropy(scores[:count], wanted)
        return learned + CLEAN_WEIGHT * functional.cross_entropy(scores[count:], kept)

    @torch.no_grad()
    def measure(self, pictures: Tensor) -> Figures:
        """Measures a student with pictures (N, 3, H, W), 0 to 1. The accuracy is the agreement with the original."""
        before = torch.cat([self.teacher(part).argmax(1) for part in pictures.split(32)])
        after = torch.cat([self.student(part).argmax(1) for part in pictures.split(32)])
        marked = self.poison.apply(pictures[before != self.poison.target])
        turned = torch.cat([self.student(part).argmax(1) for part in marked.split(32)]) == self.poison.target
        return Figures(float((before == after).float().mean()), float(turned.float().mean()))


def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors half of a batch (N, 3, H, W), rolls it by up to a tenth, and changes its brightness by up to 20 %."""
    flip = torch.rand(len(batch), generator=generator) < 0.5
    batch = torch.where(flip[:, None, None, None], batch.flip(3), batch)
    reach = batch.shape[3] // 10
    dy, dx = (int(value) for value in torch.randint(-reach, reach + 1, (2,), generator=generator))
    brightness = 0.8 + 0.4 * torch.rand((len(batch), 1, 1, 1), generator=generator)
    return (batch.roll((dy, dx), (2, 3)) * brightness).clamp(0, 1)


def mix(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Mixes every second picture of a batch (N, 3, H, W) with another one, by a random weight from 0 to 1."""
    weights = torch.rand((len(batch), 1, 1, 1), generator=generator)
    weights[::2] = 0
    return torch.lerp(batch, batch[torch.randperm(len(batch), generator=generator)], weights)
