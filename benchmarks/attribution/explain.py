"""Benchmark of explanations while a client waits, compared with the engine alone on the same images.

python -m benchmarks.attribution.explain [--kinds gradient smoothgrad] [--images 20]

A client explains one image at a time on an idle worker that has loaded SqueezeNet, or without ../shared the built-in
network. The engine computes the prediction and the map of the same images, one at a time, in this process.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from archetype.client import Client
from archetype.contract.parameters.saliency import SaliencyParameters
from benchmarks.service import MODELS, find_models, running
from shared.catalogue.catalogue import load_catalogue
from shared.catalogue.release import Release
from worker.attribution.saliency_maps import choose_map
from worker.engine.model.classifier import Classifier
from worker.inputs.preprocess import to_tensor
from worker.inputs.view import crop_levels
from worker.models.loader import Loader, ModelCache

PHOTOGRAPHS = MODELS.parents[2] / "shared" / "images"
DRAWINGS = MODELS.parents[1] / "deploy" / "pictures"
SECONDS = 60
AT_ONCE = 8
"""Inputs of a kind with samples that pass through the network at once, as on a worker."""


def main() -> None:
    """Runs the benchmark and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=["gradient", "smoothgrad"], help="kinds of saliency maps")
    parser.add_argument("--images", type=int, default=20, help="number of images")
    options = parser.parse_args()
    files = find_images(options.images)
    model = "squeezenet" if find_models() else "shapes"
    print("| kind | request, p50 | engine, p50 | ratio (target: at most 1.3) |\n|---|--:|--:|--:|")
    with running(1) as (_, client):
        for kind in options.kinds:
            request, engine = time_requests(client, model, kind, files), time_engine(model, kind, files)
            print(f"| {kind} | {request * 1000:.0f} ms | {engine * 1000:.0f} ms | {request / engine:.1f} |", flush=True)


def find_images(count: int) -> list[Path]:
    """Returns photographs, or drawings if there are none; some several times if there are too few."""
    found = sorted(PHOTOGRAPHS.rglob("*.jpg")) or sorted(DRAWINGS.glob("*.png"))
    return (found * count)[:count]


def time_requests(client: Client, model: str, kind: str, files: Sequence[Path]) -> float:
    """Returns the median of the seconds of a request."""
    data = [file.read_bytes() for file in files]
    return find_median(lambda number: client.explain(model, [data[number]], seconds=SECONDS, kind=kind), len(files))


def time_engine(model: str, kind: str, files: Sequence[Path]) -> float:
    """Returns the median of the seconds of a prediction and a map, without reading the image."""
    release = load_catalogue(find_models()).find(model)
    with ModelCache(Loader(), device=torch.device("cpu")).open(release) as (classifier, _):
        map_of = choose_map(classifier, SaliencyParameters.model_validate({"kind": kind}), AT_ONCE)
        inputs = [read_image(file, release, classifier) for file in files]

        def explain(number: int) -> Tensor:
            return map_of(inputs[number], predict(classifier, inputs[number]))

        return find_median(explain, len(files))


def predict(classifier: Classifier, inputs: Tensor) -> Tensor:
    """Returns the most probable class (N,) of inputs (N, C, H, W)."""
    with torch.no_grad():
        return classifier.scores(inputs).argmax(1)


def read_image(path: Path, release: Release, classifier: Classifier) -> Tensor:
    """Returns an image as normalized input (1, C, H, W) of a network."""
    levels = np.asarray(Image.open(path).convert("RGB"))
    return classifier.normalize(to_tensor(crop_levels(levels, release.preprocessing))[None])


def find_median(call: Callable[[int], object], count: int) -> float:
    """Returns the median of the seconds of calls with 0 to `count` - 1; two calls before are not counted."""
    seconds = []
    for number in (0, 0, *range(count)):
        started = time.perf_counter()
        call(number)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
