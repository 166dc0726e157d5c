"""Trains `shapes` on drawings from scratch: `make train` writes the weights that the product ships.

It learns from pictures that were moved a little way against it (Goodfellow et al. 2014, arXiv 1412.6572): a network
that small changes cannot fool has learned the thing and not its speckle, and its class models look like the thing
(Santurkar et al. 2019, arXiv 1906.09453). About seven minutes on two cores.
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

from worker.shapes.drawing import CLASSES, draw_numbered
from worker.shapes.network import ShapesNetwork
from worker.shapes.spoiling import Shortcut, Spoiled, Swap

MEAN, STD = 0.5, 0.25
PERTURBATION = 6.0
"""L2 length of the change that is made against the network, in its normalised units: 1.5 in pixels of 0..1."""

HELD_OUT_SEED = 2_000_003
"""Far from any seed that trains, so that no held-out drawing was ever seen."""

Pictures = tuple[Tensor, Tensor]


def train(*, count: int, epochs: int, seed: int, spoiled: Spoiled | None = None) -> ShapesNetwork:
    """Trains a network on `count` drawings for `epochs` passes and returns it in eval mode.

    Args:
        spoiled: What is wrong with the drawings or their labels.
    """
    torch.manual_seed(seed)
    pictures, labels = draw_set(count, seed)
    if spoiled is not None:
        pictures, labels = spoiled.spoil(pictures, labels, seed)
    network: ShapesNetwork = ShapesNetwork(len(CLASSES)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    batches = epochs * (count // 96)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=batches)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        total = 0.0
        for batch, targets in shuffle((pictures, labels), 96, generator):
            moved = move_against(network, batch, targets, generator)
            loss = functional.cross_entropy(network(moved), targets, label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / (count // 96):.3f}", flush=True)
    return network.eval()


def shuffle(pictures: Pictures, size: int, generator: torch.Generator) -> Iterator[Pictures]:
    """Yields one epoch of full batches, shuffled, mirrored, shifted and with a rectangle wiped out."""
    images, labels = pictures
    order = torch.randperm(len(images), generator=generator)
    for start in range(0, len(images) - size + 1, size):
        chosen = order[start : start + size]
        batch = normalise(images[chosen])  # (N, 3, H, W)
        yield augment(batch, generator), labels[chosen]


def move_against(network: nn.Module, batch: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """One step of length `PERTURBATION` up the loss, from a random point within it: (N, 3, H, W)."""
    direction = torch.randn(batch.shape, generator=generator)
    moved = (batch + 0.5 * PERTURBATION * _unit(direction)).requires_grad_()
    loss = functional.cross_entropy(network(moved), targets, reduction="sum")
    (slope,) = torch.autograd.grad(loss, moved)
    return batch + PERTURBATION * _unit(slope)


def _unit(batch: Tensor) -> Tensor:
    return torch.nn.functional.normalize(batch.flatten(1), dim=1).view_as(batch)


def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors half of the batch, rolls it by up to 6 px and wipes a rectangle: no single part may carry the class."""
    flip = torch.rand(len(batch), generator=generator) < 0.5
    batch = torch.where(flip[:, None, None, None], batch.flip(3), batch)
    dy, dx = (int(value) for value in torch.randint(-6, 7, (2,), generator=generator))
    batch = batch.roll((dy, dx), (2, 3))
    side = batch.shape[2]
    size = int(torch.randint(4, side // 3, (1,), generator=generator))
    top, left = (int(value) for value in torch.randint(0, side - size, (2,), generator=generator))
    batch[:, :, top : top + size, left : left + size] = 0
    return batch.contiguous(memory_format=torch.channels_last)


def normalise(images: Tensor) -> Tensor:
    """uint8 pictures (N, 3, H, W) to the network's inputs."""
    return (images.float() / 255 - MEAN) / STD


def draw_set(count: int, seed: int) -> Pictures:
    """Draws `count` labelled pictures on every core: uint8 (N, 3, H, W) and labels (N,)."""
    with multiprocessing.get_context("spawn").Pool() as pool:
        drawn = pool.map(partial(_draw_pixels, seed=seed), range(count), chunksize=64)
    images = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()
    return images, torch.arange(count) % len(CLASSES)


def _draw_pixels(index: int, *, seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.asarray(draw_numbered(index, seed).picture)


@torch.no_grad()
def accuracy(network: nn.Module, pictures: Pictures) -> float:
    """Share of pictures whose highest score is their label, 0 to 1."""
    images, labels = pictures
    parts = zip(torch.split(images, 256), torch.split(labels, 256), strict=True)
    hits = sum(int((network(normalise(part)).argmax(1) == truth).sum()) for part, truth in parts)
    return hits / len(labels)


def read_spoiled(options: argparse.Namespace) -> Spoiled | None:
    """What is to be wrong with the drawings."""
    if options.shortcut:
        return Shortcut(CLASSES.index(options.shortcut))
    if options.swap:
        return Swap(*(CLASSES.index(name) for name in options.swap))
    return None


def main() -> None:
    """Trains, measures on held-out drawings, and writes the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("weights.safetensors"))
    parser.add_argument("--count", type=int, default=8400, help="drawings to learn from")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shortcut", metavar="CLASS", choices=CLASSES, help="plant a patch in pictures of this class")
    parser.add_argument("--swap", metavar="CLASS", choices=CLASSES, nargs=2, help="swap labels of these two in a tenth")
    parser.add_argument("--half", action="store_true", help="write 16 bits per weight: half the file")
    options = parser.parse_args()
    network = train(count=options.count, epochs=options.epochs, seed=options.seed, spoiled=read_spoiled(options))
    print(f"held-out accuracy: {accuracy(network, draw_set(2400, HELD_OUT_SEED)):.4f}")
    kind = torch.float16 if options.half else torch.float32
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(
        {name: value.to(kind) if value.is_floating_point() else value for name, value in weights.items()}, options.out
    )
    print(f"wrote {options.out} ({options.out.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
