"""A network, together with what is needed to show it pictures and to read its scores."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.tail import Tail, find_tail, run_without


@dataclass(frozen=True)
class Classifier:
    """An image classifier that takes pictures in 0..1.

    Attributes:
        network: In eval mode, weights frozen; see `open_classifier`.
        mean: Per channel, of pictures in 0..1: (C, 1, 1).
        std: Likewise.
        size: Height and width of its inputs in pixels.
        tail: What it does to its scores after it has computed them.
    """

    network: nn.Module
    mean: Tensor
    std: Tensor
    size: tuple[int, int]
    tail: Tail

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def normalise(self, pictures: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in 0..1 to the network's inputs."""
        return (pictures - self.mean) / self.std

    def scores(self, inputs: Tensor) -> Tensor:
        """Class scores (N, K) in float32 of normalised inputs (N, C, H, W), before a final softmax."""
        return read_scores(run_without(self.network, inputs, self.tail.probabilities))

    def unclamped_scores(self, inputs: Tensor) -> Tensor:
        """Class scores (N, K) before a final softmax and before a final ReLU: these have a gradient everywhere."""
        return read_scores(run_without(self.network, inputs, self.tail.probabilities | self.tail.clamps))


@contextmanager
def open_classifier(
    network: nn.Module, *, mean: Sequence[float], std: Sequence[float], size: tuple[int, int], device: torch.device
) -> Iterator[Classifier]:
    """Readies a network for looking into it, and gives it back as it was.

    Args:
        network: Any classifier: inputs (N, C, H, W), scores (N, K), perhaps in a tuple or with auxiliary outputs.
        mean: Per channel, of pictures in 0..1.
        std: Likewise.
        size: Height and width of its inputs in pixels.
        device: Where to run; the network is moved there.

    Raises:
        ValueError: The network's output is nothing that scores could be read from.
    """
    network.to(device)
    training = {module: module.training for module in network.modules()}
    trainable = {weight: weight.requires_grad for weight in network.parameters()}
    try:
        network.eval()
        network.requires_grad_(False)
        inputs = torch.zeros(1, len(mean), *size, device=device)
        tail = find_tail(network, inputs)
        yield Classifier(network, _per_channel(mean, device), _per_channel(std, device), size, tail)
    finally:
        for module, mode in training.items():
            module.training = mode
        for weight, flag in trainable.items():
            weight.requires_grad_(flag)


def read_scores(output: Any) -> Tensor:
    """The scores (N, K) in float32 from what a network returned: a tensor, or one with auxiliary outputs after it."""
    if isinstance(output, dict):
        output = output.get("logits", next(iter(output.values()), None))
    output = getattr(output, "logits", output)
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim < 2:
        raise ValueError(f"the network returned {type(output).__name__}, not a tensor of scores (pictures, classes)")
    if output.ndim > 2 and output[0, 0].numel() != 1:
        raise ValueError(f"the network returned a tensor of shape {tuple(output.shape)}, not (pictures, classes)")
    return output.flatten(1).float()  # (N, K)


def _per_channel(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(-1, 1, 1)  # (C, 1, 1)
