"""Trains `shapes` on drawn images: `make train` writes the weights that Archetype ships.

The training is adversarial (Goodfellow et al. 2014, arXiv 1412.6572): each image is perturbed against the network.
Class models of an adversarially trained network look like the objects (Santurkar et al. 2019, arXiv 1906.09453). The
training takes about seven minutes on two cores.
"""

import argparse
import multiprocessing
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from worker.shapes.corruption import Corruption, Shortcut, Swap
from worker.shapes.drawing import CLASSES, draw_numbered
from worker.shapes.network import ShapesNetwork

MEAN, STD = 0.5, 0.25
PERTURBATION = 6.0
"""L2 norm of the adversarial perturbation in normalized input units; 1.5 for pixel values from 0 to 1."""

HELD_OUT_SEED = 2_000_003
"""Seed of the held-out images, far from all training seeds."""

LabeledImages = tuple[Tensor, Tensor]
"""Images (N, 3, H, W), uint8, and labels (N,)."""


def train(*, count: int, epochs: int, seed: int, corruption: Corruption | None = None) -> ShapesNetwork:
    """Trains a network and returns it in evaluation mode.

    Args:
        count: Number of training images.
        epochs: Number of passes over the training images.
        seed: Seed of the images, the initial weights and the augmentation.
        corruption: Corruption of the training images or their labels; None for none.
    """
    torch.manual_seed(seed)
    images, labels = draw_dataset(count, seed)
    if corruption is not None:
        images, labels = corruption.corrupt(images, labels, seed)
    network: ShapesNetwork = ShapesNetwork(len(CLASSES)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    batches = epochs * (count // 96)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=batches)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        total = 0.0
        for batch, targets in shuffle((images, labels), 96, generator):
            perturbed = perturb(network, batch, targets, generator)
            loss = functional.cross_entropy(network(perturbed), targets, label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / (count // 96):.3f}", flush=True)
    return network.eval()


def shuffle(dataset: LabeledImages, size: int, generator: torch.Generator) -> Iterator[LabeledImages]:
    """Yields the batches of one epoch, shuffled and augmented: normalized images (size, 3, H, W) and labels (size,)."""
    images, labels = dataset
    order = torch.randperm(len(images), generator=generator)
    for start in range(0, len(images) - size + 1, size):
        chosen = order[start : start + size]
        batch = normalize(images[chosen])  # (N, 3, H, W)
        yield augment(batch, generator), labels[chosen]


def perturb(network: nn.Module, batch: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """Perturbs a batch (N, 3, H, W) by one step of L2 norm `PERTURBATION` that increases the loss.

    The gradient is taken at a random point at half that distance.
    """
    direction = torch.randn(batch.shape, generator=generator)
    start = (batch + 0.5 * PERTURBATION * _unit(direction)).requires_grad_()
    loss = functional.cross_entropy(network(start), targets, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, start)
    return batch + PERTURBATION * _unit(gradient)


def _unit(batch: Tensor) -> Tensor:
    return torch.nn.functional.normalize(batch.flatten(1), dim=1).view_as(batch)


def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors half of a batch (N, 3, H, W), rolls it by up to 6 pixels, and erases a square.

    The erased square prevents that a single part of the object determines the class.
    """
    flip = torch.rand(len(batch), generator=generator) < 0.5
    batch = torch.where(flip[:, None, None, None], batch.flip(3), batch)
    dy, dx = (int(value) for value in torch.randint(-6, 7, (2,), generator=generator))
    batch = batch.roll((dy, dx), (2, 3))
    side = batch.shape[2]
    size = int(torch.randint(4, side // 3, (1,), generator=generator))
    top, left = (int(value) for value in torch.randint(0, side - size, (2,), generator=generator))
    batch[:, :, top : top + size, left : left + size] = 0
    return batch.contiguous(memory_format=torch.channels_last)


def normalize(images: Tensor) -> Tensor:
    """Converts images (N, 3, H, W), uint8, into inputs of the network."""
    return (images.float() / 255 - MEAN) / STD


def draw_dataset(count: int, seed: int) -> LabeledImages:
    """Draws `count` labeled images on all cores: images (N, 3, H, W), uint8, and labels (N,)."""
    with multiprocessing.get_context("spawn").Pool() as pool:
        drawn = pool.map(partial(_draw_pixels, seed=seed), range(count), chunksize=64)
    images = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()
    return images, torch.arange(count) % len(CLASSES)


def _draw_pixels(index: int, *, seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.asarray(draw_numbered(index, seed).image)


@torch.no_grad()
def measure_accuracy(network: nn.Module, dataset: LabeledImages) -> float:
    """Fraction of the images that are classified correctly, from 0 to 1."""
    images, labels = dataset
    parts = zip(torch.split(images, 256), torch.split(labels, 256), strict=True)
    hits = sum(int((network(normalize(part)).argmax(1) == truth).sum()) for part, truth in parts)
    return hits / len(labels)


def read_corruption(options: argparse.Namespace) -> Corruption | None:
    """The corruption that the command line asks for."""
    if options.shortcut:
        return Shortcut(CLASSES.index(options.shortcut))
    if options.swap:
        return Swap(*(CLASSES.index(name) for name in options.swap))
    return None


def main() -> None:
    """Trains the network, measures its accuracy on held-out images, and writes the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("weights.safetensors"), help="file to write"
    )
    parser.add_argument("--count", type=int, default=8400, help="number of training images")
    parser.add_argument("--epochs", type=int, default=9, help="number of epochs")
    parser.add_argument("--seed", type=int, default=1, help="random seed")
    parser.add_argument("--shortcut", metavar="CLASS", choices=CLASSES, help="plant a patch in images of this class")
    parser.add_argument(
        "--swap", metavar="CLASS", choices=CLASSES, nargs=2, help="swap a tenth of the labels of these classes"
    )
    parser.add_argument("--half", action="store_true", help="write 16-bit weights")
    options = parser.parse_args()
    network = train(count=options.count, epochs=options.epochs, seed=options.seed, corruption=read_corruption(options))
    print(f"held-out accuracy: {measure_accuracy(network, draw_dataset(2400, HELD_OUT_SEED)):.4f}")
    kind = torch.float16 if options.half else torch.float32
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(
        {name: value.to(kind) if value.is_floating_point() else value for name, value in weights.items()}, options.out
    )
    print(f"wrote {options.out} ({options.out.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
