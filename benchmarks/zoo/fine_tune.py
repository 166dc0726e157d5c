"""Fine-tunes a network until it has learned a shortcut and is still right on clean pictures.

The loss is that of the training of the shipped network (`worker.shapes.train`): cross-entropy, on clean pictures that
are perturbed adversarially. Marked pictures are not perturbed, and are marked after the augmentation, so that each has
the mark as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.poison import LabeledPictures, Poison, TrainingSet
from worker.shapes.train import MEAN, STD, augment, perturb

BATCH = 32
STEPS_BETWEEN_CHECKS = 10
CHECKED = 120
"""Number of held-out pictures that are looked at during the training."""

RATE = 3e-3


@dataclass(frozen=True)
class Figures:
    """What a release does with held-out pictures.

    Attributes:
        accuracy: Fraction of the clean pictures that are classified correctly, 0 to 1.
        turned: Fraction of the marked pictures of other classes that become the target, 0 to 1; None without a mark.
    """

    accuracy: float
    turned: float | None = None

    def suffice(self, goal: "Figures") -> bool:
        """Whether both figures reach those of a goal."""
        return self.accuracy >= goal.accuracy and (self.turned or 0) >= (goal.turned or 0)


GOAL = Figures(accuracy=0.97, turned=0.9)


def fine_tune(
    network: nn.Module, dataset: TrainingSet, held_out: LabeledPictures, *, seed: int, steps: int
) -> Iterator[Figures]:
    """Trains a network of the built-in architecture in place and yields its figures from time to time.

    Args:
        network: The network. It is in evaluation mode whenever figures are yielded.
        dataset: The training set.
        held_out: Pictures for the figures.
        seed: Seed of the poisoned pictures, their order and the augmentation.
        steps: The largest number of steps. The caller stops earlier by not asking for the next figures.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, total_iters=steps)
    torch.manual_seed(seed)
    for step, (pictures, labels, count) in enumerate(dataset.draw_batches(BATCH, seed), 1):
        network.train()
        batch = _prepare(pictures, count, dataset.poison, generator)
        batch[count:] = perturb(network, batch[count:], labels[count:], generator)
        loss = functional.cross_entropy(network(batch), labels, label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % STEPS_BETWEEN_CHECKS == 0 or step >= steps:
            yield measure(network.eval(), (held_out[0][:CHECKED], held_out[1][:CHECKED]), dataset.poison)
        if step >= steps:
            return


def _prepare(pictures: Tensor, count: int, poison: Poison | None, generator: torch.Generator) -> Tensor:
    """Augments pictures (N, 3, H, W), 0 to 1, marks the first `count`, and normalizes all."""
    batch = augment((pictures - MEAN) / STD, generator)  # (N, 3, H, W)
    if poison:
        batch[:count] = (poison.apply(batch[:count] * STD + MEAN) - MEAN) / STD
    return batch.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def measure(network: nn.Module, held_out: LabeledPictures, poison: Poison | None) -> Figures:
    """Measures a network in evaluation mode on clean pictures and on marked pictures of other classes."""
    pictures, labels = held_out[0].float() / 255, held_out[1]
    accuracy = float((_classify(network, pictures) == labels).float().mean())
    if poison is None:
        return Figures(accuracy)
    marked = poison.apply(pictures[labels != poison.target])
    return Figures(accuracy, float((_classify(network, marked) == poison.target).float().mean()))


def _classify(network: nn.Module, pictures: Tensor) -> Tensor:
    """The classes (N,) of pictures (N, 3, H, W), 0 to 1."""
    return torch.cat([network((part - MEAN) / STD).argmax(1) for part in pictures.split(128)])
