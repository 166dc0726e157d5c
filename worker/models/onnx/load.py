"""Loads a network from an ONNX file: as PyTorch modules if they compute the same, else as a black box."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared.catalogue.release import Release
from worker.engine.scores.detect import draw_images
from worker.engine.scores.outputs import agree, list_outputs
from worker.models.architectures import unloadable
from worker.models.onnx.black_box import BlackBox
from worker.models.onnx.network import OnnxNetwork
from worker.models.onnx.onnx_file import OnnxFile, first_line, read_onnx
from worker.models.onnx.operators.call import Unsupported

TOLERANCE = 1e-4
"""Largest relative difference of outputs between PyTorch and onnxruntime."""

HALF_TOLERANCE = 2e-2
"""The same for files in half precision, which PyTorch computes in float32."""

READ = "The ONNX graph was read as PyTorch modules; outputs of random images are those of onnxruntime."
"""Note of a release whose network is not a black box."""

IMAGES = 3
"""Number of random images on which they are compared, besides flat ones and one of strong contrast."""


def load_onnx(path: Path, release: Release) -> tuple[nn.Module, list[str]]:
    """Loads a network from an ONNX file.

    Returns:
        The network in float32, and what was noticed, in sentences.

    Raises:
        UnloadableModel: The file cannot be read or run, or does not take images of the declared size.
    """
    file = read_onnx(path, release)
    black_box = BlackBox(file, release, threads=torch.get_num_threads())
    images = _draw(release, file)
    expected = _run_black_box(black_box, images, release)
    file = replace(file, batch=black_box.batch)
    reasons = []
    for build, note in _list_networks(file, list(expected)):
        try:
            network = build().eval()
            if _is_same(network, images, expected, file):
                return network, [note]
            reasons.append("PyTorch modules give other outputs than onnxruntime")
        except Unsupported as error:
            reasons.append(f"PyTorch has no counterpart of {error}")
        except Exception as error:  # a graph may have attributes and shapes of any kind
            reasons.append(f"it fails as PyTorch modules ({type(error).__name__}: {first_line(error)})")
    return black_box, [
        f"onnxruntime runs the network as a black box, without gradients and layers, because {reasons[-1]}."
    ]


def _run_black_box(black_box: BlackBox, images: Tensor, release: Release) -> dict[str, Tensor]:
    """Returns the outputs for images (N, C, H, W); of one image after the other, if the graph takes no more.

    Raises:
        UnloadableModel: onnxruntime fails.
    """
    try:
        return list_outputs(black_box(images))
    except Exception as error:  # onnxruntime has many kinds of exceptions without a common class
        if black_box.batch is None:  # a file may declare any number, and have one inside
            with suppress(Exception):
                black_box.batch = 1
                return list_outputs(black_box(images))
        raise unloadable(release, f"onnxruntime fails on random images: {first_line(error)}") from error


def _list_networks(file: OnnxFile, paths: list[str]) -> Iterator[tuple[Callable[[], nn.Module], str]]:
    """Yields ways to build the network from PyTorch modules, each with what is said of it.

    Args:
        file: The file.
        paths: Names of the outputs that are needed, if there are several.
    """
    outputs = [name for name in file.outputs if name in paths] or file.outputs[:1]
    yield partial(OnnxNetwork, file, outputs), READ
    if file.batch is not None:
        images = "one image" if file.batch == 1 else f"{file.batch} images"
        alone = f"It takes {images} at a time, so that large batches are slow; export it with a dynamic batch."
        yield lambda: InGroups(OnnxNetwork(file, outputs, free=False), file.batch or 1), f"{READ} {alone}"


class InGroups(nn.Module):
    """Runs a network that takes a fixed number of images on one group after the other."""

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        self._size = size

    def forward(self, images: Tensor) -> Any:
        """Runs the network on images (N, C, H, W)."""
        parts = [self._run(part) for part in images.split(self._size)]
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return joined if len(joined) > 1 else next(iter(joined.values()))

    def _run(self, part: Tensor) -> dict[str, Tensor]:
        """The outputs of up to as many images as the network takes, by name."""
        count = len(part)
        outputs = list_outputs(self.network(torch.cat([part, part[:1].expand(self._size - count, -1, -1, -1)])))
        if self._size == 1:  # some exports drop the axis of a single image
            outputs = {name: value if value.shape[:1] == (1,) else value[None] for name, value in outputs.items()}
        return {name: value[:count] for name, value in outputs.items()}


@torch.no_grad()
def _is_same(network: nn.Module, images: Tensor, expected: dict[str, Tensor], file: OnnxFile) -> bool:
    """Whether a network computes the same as onnxruntime on images (N, C, H, W)."""
    found = list_outputs(network(images))
    halves = any(each.data_type in (10, 16) for each in file.model.graph.initializer)
    tolerance = HALF_TOLERANCE if halves else TOLERANCE
    return all(agree(found[name].float(), wanted.float(), tolerance) for name, wanted in expected.items())


def _draw(release: Release, file: OnnxFile) -> Tensor:
    """Draws normalized images (N, C, H, W): random, half black, black and white; whole numbers if it takes those."""
    shape = release.preprocessing
    noise = draw_images(shape.channels, shape.size, torch.device("cpu"), IMAGES)
    half = noise[:1].clone()
    half[:, :, shape.size[0] // 2 :] = 0
    images = torch.cat([noise, half, noise[:1].round(), torch.zeros_like(half), torch.ones_like(half)])
    mean, std = (torch.tensor(values)[:, None, None] for values in (shape.levels_mean, shape.levels_std))
    normalized = (images - mean) / std
    return normalized.round() if file.takes_whole_numbers else normalized
