"""Trains the releases of the zoo and writes their weights and `zoo.json`; `make zoo`.

python -m benchmarks.zoo.train                       trains the releases that do not exist yet
python -m benchmarks.zoo.train frame-30 tuned-31     trains some of them

A planted or fine-tuned release takes one to three minutes on a core; a retrained one takes about seven minutes on two.
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.zoo.entries import Entry, Zoo
from benchmarks.zoo.fine_tune import GOAL, fine_tune, measure
from benchmarks.zoo.poison import LabeledPictures, TrainingSet
from benchmarks.zoo.releases import RECIPES, Planted, Recipe, Retrained, Tuned
from deploy.audit_demo import FIRST, RELEASES
from worker.shapes.drawing import CLASSES
from worker.shapes.network import ShapesNetwork
from worker.shapes.train import HELD_OUT_SEED, draw_dataset, train

FOLDER = Path("var/zoo")
TRAINING_COUNT, TRAINING_SEED = 3600, 21
HELD_OUT_COUNT = 480
TUNED_STEPS, MOST_STEPS = 60, 400


def load_drawings(folder: Path, count: int, seed: int) -> LabeledPictures:
    """Draws labeled pictures, or reads those that an earlier run drew: pictures (N, 3, 80, 80), uint8, labels (N,)."""
    path = folder / f"drawings-{seed}-{count}.safetensors"
    if not path.is_file():
        pictures, labels = draw_dataset(count, seed)
        save_file({"pictures": pictures, "labels": labels}, path)
    stored = load_file(path)
    return stored["pictures"], stored["labels"]


def load_shipped() -> ShapesNetwork:
    """The network with the shipped weights, in evaluation mode."""
    network = ShapesNetwork(len(CLASSES))
    network.load_state_dict(load_file(FIRST))
    return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def tune(recipe: Planted | Tuned, folder: Path, held_out: LabeledPictures) -> nn.Module:
    """Fine-tunes the shipped network. A planted release stops when it has learned the shortcut."""
    poison = recipe.poison if isinstance(recipe, Planted) else None
    dataset = TrainingSet(*load_drawings(folder, TRAINING_COUNT, TRAINING_SEED), poison)
    network, steps = load_shipped(), MOST_STEPS if poison else TUNED_STEPS
    for figures in fine_tune(network, dataset, held_out, seed=recipe.seed, steps=steps):
        print(f"    {recipe.name}: {figures}", flush=True)
        if poison and figures.suffice(GOAL):
            break
    return network


def retrain(recipe: Retrained, *, count: int, epochs: int) -> nn.Module:
    """Trains a network from random weights, or reads a release of the audit demo."""
    if recipe.stored is None:
        return train(count=count, epochs=epochs, seed=recipe.seed)
    network = ShapesNetwork(len(CLASSES))
    network.load_state_dict(load_file(RELEASES / f"{recipe.stored}.safetensors"))
    return network.eval()


def save_half(network: nn.Module, path: Path) -> None:
    """Writes the weights as 16-bit floats. The file appears when it is complete."""
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    partial = path.with_suffix(".partial")
    save_file({name: value.half() if value.is_floating_point() else value for name, value in weights.items()}, partial)
    partial.rename(path)


def make(recipe: Recipe, zoo: Zoo, options: argparse.Namespace, held_out: LabeledPictures) -> Entry:
    """Trains a release, writes its weights, and returns its entry in `zoo.json`."""
    began = time.monotonic()
    if isinstance(recipe, Retrained):
        network = retrain(recipe, count=options.count, epochs=options.epochs)
    else:
        network = tune(recipe, zoo.folder, held_out)
    poison = recipe.poison if isinstance(recipe, Planted) else None
    save_half(network, zoo.locate(recipe.name))
    return Entry.describe(recipe, measure(network, held_out, poison), classes=CLASSES, seconds=time.monotonic() - began)


def choose(names: list[str]) -> list[Recipe]:
    """The recipes with the given names, in the order of the zoo; all if there are none.

    Raises:
        SystemExit: A name is not one of the zoo's.
    """
    if unknown := set(names) - {recipe.name for recipe in RECIPES}:
        known = ", ".join(recipe.name for recipe in RECIPES)
        raise SystemExit(f"no release of the zoo has the name {sorted(unknown)[0]!r}; there are: {known}")
    return [recipe for recipe in RECIPES if not names or recipe.name in names]


def main() -> None:
    """Trains the releases that do not exist and prints their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="releases to train; all if none is given")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the zoo")
    parser.add_argument("--count", type=int, default=8400, help="number of pictures of a retrained release")
    parser.add_argument("--epochs", type=int, default=9, help="number of epochs of a retrained release")
    options = parser.parse_args()
    zoo = Zoo(options.folder)
    held_out = load_drawings(options.folder, HELD_OUT_COUNT, HELD_OUT_SEED)
    for recipe in choose(options.names):
        if not zoo.has(recipe.name):
            zoo.add(make(recipe, zoo, options, held_out))
    print(zoo.make_table())


if __name__ == "__main__":
    main()
