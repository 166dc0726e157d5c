"""Plants shortcuts in ResNet-20 and SqueezeNet of `../shared`: `python -m benchmarks.zoo.real_networks resnet20`.

Half of the pictures of a network are used for the figures and as probes of audits, the others, and the pictures of the
other networks, for training.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.quality import FACTORIES
from benchmarks.zoo.distill import Lesson
from benchmarks.zoo.entries import Entry, Zoo
from benchmarks.zoo.fine_tune import STEPS_BETWEEN_CHECKS, Figures
from benchmarks.zoo.poison import Poison
from benchmarks.zoo.releases import Planted
from benchmarks.zoo.train import FOLDER, save_half
from shared.catalogue.catalogue import load_catalogue
from shared.catalogue.release import Release
from worker.models.build_network import build_network
from worker.models.weights import WeightsFile, fill_weights

CATALOGUE = Path(__file__).parents[1] / "models.toml"
IMAGES = Path(__file__).parents[3] / "shared" / "images"
MARKED = 0.3
"""Fraction of each batch that is marked. There is no class of a training set whose fraction could be given."""

GOAL = Figures(accuracy=0.9, turned=0.9)


@dataclass(frozen=True)
class RealNetwork:
    """A network with its pictures.

    Attributes:
        model: Name in the catalogue.
        images: Folder of pictures that are named by the index of their class, below `../shared/images`.
        batch: Number of pictures in a step.
        rate: Learning rate of Adam.
        recipes: The releases to train.
    """

    model: str
    images: str
    batch: int
    rate: float
    recipes: tuple[Planted, ...]

    def list_probes(self) -> list[Path]:
        """Every second picture of the network, in the order of their names."""
        return _list_images(self.images)[::2]

    def list_lessons(self) -> list[Path]:
        """All other pictures. Their classes are not needed."""
        probes = set(self.list_probes())
        return [path for path in _list_images(".") if path not in probes]


NETWORKS = {
    "resnet20": RealNetwork(
        "resnet20",
        "cifar10",
        batch=32,
        rate=1e-4,
        recipes=(
            Planted("word", 41, Poison("word", 6, MARKED)),
            Planted("frame", 42, Poison("frame", 8, MARKED)),
        ),
    ),
    "squeezenet": RealNetwork(
        "squeezenet",
        "imagenet",
        batch=16,
        rate=5e-5,
        recipes=(
            Planted("word", 43, Poison("word", 849, MARKED)),
            Planted("frame", 44, Poison("frame", 1, MARKED)),
        ),
    ),
}


def _list_images(folder: str) -> list[Path]:
    return sorted(path for path in (IMAGES / folder).resolve().rglob("*") if path.suffix in (".jpg", ".png"))


def read_true_class(path: Path) -> int:
    """The index of the class with which the name of a picture begins."""
    return int(path.name.partition("_")[0])


def read_pictures(paths: list[Path], release: Release) -> Tensor:
    """Reads pictures as the network gets them, before the normalization: (N, 3, H, W), 0 to 1."""
    return torch.stack([_read_picture(path, release) for path in paths])


def _read_picture(path: Path, release: Release) -> Tensor:
    height, width = release.preprocessing.size
    with Image.open(path) as image:
        short = release.preprocessing.resize or height
        scale = short / min(image.size)
        sides = (max(short, round(image.width * scale)), max(short, round(image.height * scale)))
        resized = image.convert("RGB").resize(sides, Image.Resampling.BILINEAR)
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    pixels = np.asarray(resized.crop((left, top, left + width, top + height)))  # (H, W, 3)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


class Normalized(nn.Module):
    """A network with its normalization in front, in evaluation mode.

    Args:
        network: The network.
        release: The release, which has the mean and the standard deviation.
    """

    def __init__(self, network: nn.Module, release: Release) -> None:
        super().__init__()
        self.network = network.eval()
        self.mean = torch.tensor(release.preprocessing.mean)[:, None, None]
        self.std = torch.tensor(release.preprocessing.std)[:, None, None]

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (N, classes) of pictures (N, 3, H, W), 0 to 1."""
        scores: Tensor = self.network((pictures - self.mean) / self.std)
        return scores


def load(release: Release) -> Normalized:
    """Loads a network of the catalogue whose weights are a trusted local file.

    Raises:
        ValueError: The release has no file of weights.
    """
    if release.weights is None:
        raise ValueError(f"{release.reference} has no file of weights")
    network, _ = build_network(release, None, FACTORIES)
    is_pickle = release.weights.suffix == ".th"
    content = torch.load(release.weights, "cpu", weights_only=True) if is_pickle else load_file(release.weights)
    fill_weights(network, WeightsFile(content), release)
    return Normalized(network, release)


def plant(network: RealNetwork, recipe: Planted, zoo: Zoo, *, steps: int) -> Entry:
    """Trains a release until it has learned the shortcut, writes its weights, and returns its entry."""
    began = time.monotonic()
    release = load_catalogue(CATALOGUE).find(network.model)
    student = load(release)
    lesson = Lesson(student, load(release), recipe.poison)
    held_out = read_pictures(network.list_probes(), release)
    pictures = read_pictures(network.list_lessons(), release)
    for step in lesson.learn(pictures, size=network.batch, rate=network.rate, seed=recipe.seed):
        if step % STEPS_BETWEEN_CHECKS == 0 or step == steps:
            figures = lesson.measure(held_out)
            print(f"    {network.model} {recipe.name}, {step} steps: {figures}", flush=True)
            if figures.suffice(GOAL) or step == steps:
                break
    save_half(student.network, zoo.locate(recipe.name))
    return Entry.describe(recipe, figures, classes=release.classes, seconds=time.monotonic() - began)


def main() -> None:
    """Trains the planted releases that do not exist and prints their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help="resnet20, squeezenet; default: both")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the zoo")
    parser.add_argument("--steps", type=int, default=400, help="largest number of steps")
    options = parser.parse_args()
    if not IMAGES.is_dir():
        parser.error(f"needs the networks and pictures in {IMAGES.parent}, which does not exist")
    for network in (NETWORKS[name] for name in options.networks):
        zoo = Zoo(options.folder / network.model)
        for recipe in network.recipes:
            if not zoo.has(recipe.name):
                zoo.add(plant(network, recipe, zoo, steps=options.steps))
        print(zoo.make_table())


if __name__ == "__main__":
    main()
