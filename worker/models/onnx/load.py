"""Loads a network from an ONNX file: as PyTorch modules if they compute the same, else as a black box."""

from collections.abc import Callable, Iterator
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

IMAGES = 3
"""Number of random images on which they are compared."""


def load_onnx(path: Path, release: Release) -> tuple[nn.Module, list[str]]:
    """Load a network from an ONNX file.

    Returns:
        The network in float32, and what was noticed, in sentences.

    Raises:
        UnloadableModel: The file cannot be read or run, or does not take images of the declared size.
    """
    file = read_onnx(path, release)
    black_box = BlackBox(file, release, threads=torch.get_num_threads())
    images = _draw(release, file)
    try:
        expected = list_outputs(black_box(images))
    except Exception as error:  # onnxruntime has many kinds of exceptions without a common class
        raise unloadable(release, f"onnxruntime fails on random images: {first_line(error)}") from error
    reasons = []
    for build, note in _list_networks(file):
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


READ = "The ONNX graph was read as PyTorch modules; outputs of random images are those of onnxruntime."


def _list_networks(file: OnnxFile) -> Iterator[tuple[Callable[[], nn.Module], str]]:
    """Yield ways to build the network from PyTorch modules, each with what is said of it."""
    yield partial(OnnxNetwork, file), READ
    if file.batch == 1:
        alone = "It was exported for one image, so that images run one after the other; export it with a dynamic batch."
        yield lambda: OneByOne(OnnxNetwork(file, free=False)), f"{READ} {alone}"


class OneByOne(nn.Module):
    """Runs a network on one image after the other."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        """Run the network on images (N, C, H, W)."""
        outputs = [self.network(image[None]) for image in images]
        if isinstance(outputs[0], Tensor):
            return torch.cat(outputs)
        return {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}


@torch.no_grad()
def _is_same(network: nn.Module, images: Tensor, expected: dict[str, Tensor], file: OnnxFile) -> bool:
    """Whether a network computes the same as onnxruntime on images (N, C, H, W)."""
    found = list_outputs(network(images))
    halves = any(each.data_type in (10, 16) for each in file.model.graph.initializer)
    tolerance = HALF_TOLERANCE if halves else TOLERANCE
    return all(agree(found[name].float(), wanted.float(), tolerance) for name, wanted in expected.items())


def _draw(release: Release, file: OnnxFile) -> Tensor:
    """Draw normalized random images (N, C, H, W); whole numbers if the network takes those."""
    shape = release.preprocessing
    images = draw_images(shape.channels, shape.size, torch.device("cpu"), IMAGES)
    mean, std = (torch.tensor(values)[:, None, None] for values in (shape.levels_mean, shape.levels_std))
    normalized = (images - mean) / std
    return normalized.round() if file.takes_whole_numbers else normalized
