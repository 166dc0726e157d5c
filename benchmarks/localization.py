"""Benchmark of localization: every kind of saliency on images with bounding boxes, compared with constant guesses.

python -m benchmarks.localization squeezenet ../shared/images/wallaby
python -m benchmarks.localization shapes

A folder contains images and `boxes.json`, {"file": {"class": 104, "boxes": [[left, top, right, bottom], …]}, …}.
Without a folder, the images are drawings for the network `shapes`. The target is the given class. The best kind is
selected on one half of the images and measured on the other half.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from archetype.contract.parameters.inputs import ImageInput, TrueBox
from archetype.contract.parameters.localization import LocalizationParameters
from archetype.contract.request import Localization
from benchmarks.quality import FACTORIES, find_plan
from shared.catalogue.catalogue import load_catalogue
from shared.catalogue.release import Release
from worker.attribution.evidence import MapEvidence, choose_reading
from worker.attribution.localization_metrics import CENTERED_SIDE, MIN_OVERLAP, best_overlap, center_box
from worker.attribution.saliency_maps import choose_map, choose_preprocessing, map_pairs
from worker.engine.attribution.bootstrap import mean_with_interval
from worker.engine.attribution.boxes import Box, tight_box
from worker.engine.attribution.metrics import points_at
from worker.engine.model.classifier import Classifier
from worker.inputs.pairs import Pairs
from worker.inputs.preprocess import Levels
from worker.inputs.sources import InputImage
from worker.inputs.view import open_view
from worker.job.context import ImageAccess, JobContext
from worker.methods.localization import find_object, place_box
from worker.models.loader import Loader, ModelCache
from worker.shapes.drawing import draw_numbered

DRAWINGS, SERIES = 240, 11
"""Number of drawings and their seed, which is none of the seeds of the training data."""

KINDS: dict[str, dict[str, Any]] = {
    "gradient": {"crops": 1},
    "gradient, ten crops": {},
    "guided": {"crops": 1, "kind": "guided"},
    "deconvnet": {"crops": 1, "kind": "deconvnet"},
    "gradient_x_input": {"crops": 1, "kind": "gradient_x_input"},
    "smoothgrad": {"crops": 1, "kind": "smoothgrad"},
    "smoothgrad of guided": {"crops": 1, "kind": "smoothgrad", "gradient": "guided"},
    "integrated_gradients": {"crops": 1, "kind": "integrated_gradients", "steps": 16},
    "grad_cam": {"crops": 1, "kind": "grad_cam"},
    "occlusion": {"crops": 1, "kind": "occlusion", "square": 0.2, "stride": 0.1},
}

Pixels = dict[str, Levels]
"""Pixels `(H, W, 3)` by image id."""


def main() -> None:
    """Runs the benchmark and prints its results."""
    arguments = read_arguments()
    release = load_catalogue(arguments.catalogue).find(arguments.model)
    images, pixels = read_folder(arguments.folder) if arguments.folder else draw_all()
    images = images[: arguments.images]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = ModelCache(Loader(FACTORIES), device=device)
    rows = [{"kind": name, **row} for name, row in measure_guesses(release, images, pixels).items()]
    with loader.open(release) as (classifier, loaded):
        batch = find_plan(release, classifier, loaded).batch
        for name in arguments.kinds or KINDS:
            params = LocalizationParameters.model_validate(scale_square(KINDS[name] | arguments.params, release))
            rows.append({"kind": name, **measure(classifier, release, images, pixels, params, batch)})
            print(f"{name}: {describe(rows[-1])}", file=sys.stderr, flush=True)
    folder = Path("var/bench")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"localization-{release.name}.json").write_text(json.dumps(rows, indent=1))
    print(make_table(rows))


def read_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model from the catalogue")
    parser.add_argument("folder", nargs="?", type=Path, help="images with boxes.json; default: drawings")
    parser.add_argument(
        "--catalogue", type=Path, default=Path(__file__).parent / "models.toml", help="models.toml to use"
    )
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), help="kinds to measure; default: all")
    parser.add_argument("--images", type=int, help="use only the first N images")
    parser.add_argument("--params", type=json.loads, default={}, help="parameters of the method, as JSON")
    return parser.parse_args()


def read_folder(folder: Path) -> tuple[list[ImageInput], Pixels]:
    """Reads the images of a folder and their boxes."""
    entries = sorted(json.loads((folder / "boxes.json").read_text()).items())
    images = [make_input(name, entry["class"], entry["boxes"]) for name, entry in entries]
    pixels = {
        image.id: np.asarray(Image.open(folder / name).convert("RGB"))
        for image, (name, _) in zip(images, entries, strict=True)
    }
    return images, pixels


def draw_all() -> tuple[list[ImageInput], Pixels]:
    """Draws the images for the network `shapes`."""
    drawings = [draw_numbered(number, SERIES) for number in range(DRAWINGS)]
    images = [make_input(str(number), drawing.label, [drawing.box]) for number, drawing in enumerate(drawings)]
    pixels = {image.id: np.asarray(drawing.image) for image, drawing in zip(images, drawings, strict=True)}
    return images, pixels


def make_input(name: str, target: int, boxes: Sequence[Sequence[float]]) -> ImageInput:
    """Returns an image as it appears in a request, with an id derived from its name."""
    edges = ("left", "top", "right", "bottom")
    true = [TrueBox(**dict(zip(edges, map(float, box), strict=True))) for box in boxes]
    return ImageInput(id=name.encode().hex().rjust(64, "0")[-64:], targets=[target], boxes=true)


def scale_square(params: dict[str, Any], release: Release) -> dict[str, Any]:
    """Converts square and stride of an occlusion from fractions of the input size to pixels."""
    side = min(release.preprocessing.size)
    return {name: round(value * side) if name in ("square", "stride") else value for name, value in params.items()}


def measure(
    classifier: Classifier,
    release: Release,
    images: Sequence[ImageInput],
    pixels: Pixels,
    params: LocalizationParameters,
    batch: int,
) -> dict[str, Any]:
    """Measures the overlap of found and true boxes, with the code that runs a job."""
    request = Localization(method="localization", model=release.reference, images=list(images), params=params)
    context = JobContext(
        request=request,
        release=release,
        targets=None,
        classifier=classifier,
        fast_classifier=classifier,
        batch=batch,
        load_original=lambda: classifier.network,
        save=lambda *_, **__: None,
        images=ImageAccess(
            [InputImage(image.id, image, image.id.encode) for image in images],
            load=pixels.__getitem__,
            decode=lambda data: pixels[data.decode()],
        ),
    )
    started = time.perf_counter()
    overlaps: list[float] = []
    hits: list[float] = []
    cut_seconds: list[float] = []
    cv2.setNumThreads(1)
    map_of = choose_map(classifier, params, batch)
    for pairs in Pairs(
        context, partial(open_view, preprocessing=choose_preprocessing(release.preprocessing, params))
    ).read():
        for pair, values in zip(pairs, map_pairs(classifier, map_of, pairs).numpy(), strict=True):
            evidence = MapEvidence.of(values, choose_reading(params))
            cut_started = time.perf_counter()
            mask = find_object(pair, evidence, params)
            cut_seconds.append(time.perf_counter() - cut_started)
            overlaps.append(best_overlap(release, pair.image, place_box(tight_box(mask), mask, pair)))
            boxes = [Box(box.left, box.top, box.right, box.bottom) for box in pair.image.boxes]
            hits.append(float(not evidence.is_empty and points_at(pair.view.place_map(evidence.positive), boxes)))
    seconds, cut = (time.perf_counter() - started) / len(images), statistics.median(cut_seconds)
    return {"overlaps": overlaps, "hits": hits, "milliseconds": 1000 * seconds, "cut": 1000 * cut}


def measure_guesses(release: Release, images: Sequence[ImageInput], pixels: Pixels) -> dict[str, dict[str, Any]]:
    """Measures two constant guesses: the whole image and a centered box."""

    def overlaps(side: float) -> list[float]:
        sizes = [pixels[image.id].shape[:2] for image in images]
        return [best_overlap(release, image, center_box(size, side)) for image, size in zip(images, sizes, strict=True)]

    def hits() -> list[float]:
        centers = [(pixels[image.id].shape[1] / 2, pixels[image.id].shape[0] / 2) for image in images]
        return [
            float(any(box.left <= x <= box.right and box.top <= y <= box.bottom for box in image.boxes))
            for image, (x, y) in zip(images, centers, strict=True)
        ]

    return {
        "whole image": {"overlaps": overlaps(1.0), "hits": hits(), "milliseconds": 0.0, "cut": 0.0},
        "centered box": {"overlaps": overlaps(CENTERED_SIDE), "hits": hits(), "milliseconds": 0.0, "cut": 0.0},
    }


def halves(row: dict[str, Any]) -> Iterator[list[float]]:
    """Yields the overlaps of the half for selection, then those of the half for measurement."""
    yield row["overlaps"][::2]
    yield row["overlaps"][1::2]


def success_rate(overlaps: Sequence[float]) -> float:
    """Returns the fraction of overlaps that count as a success."""
    return float(np.mean(np.array(overlaps) >= MIN_OVERLAP))


def describe(row: dict[str, Any]) -> str:
    """Returns the cells of a row: success rates with intervals, mean overlap, pointing accuracy and run time."""
    selection, rest = halves(row)
    overall = mean_with_interval([float(overlap >= MIN_OVERLAP) for overlap in row["overlaps"]])
    measured = mean_with_interval([float(overlap >= MIN_OVERLAP) for overlap in rest])
    return (
        f"{success_rate(selection):.0%} | "
        f"{measured['mean']:.0%} ({measured['low']:.0%} to {measured['high']:.0%}) | "
        f"{overall['mean']:.0%} ({overall['low']:.0%} to {overall['high']:.0%}) | {np.mean(row['overlaps']):.2f} | "
        f"{np.mean(row['hits']):.0%} | {row['milliseconds']:.0f} | {row['cut']:.0f}"
    )


def make_table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns a Markdown table; the best kind is bold."""
    best = max(rows, key=lambda row: (success_rate(next(halves(row))), np.mean(next(halves(row)))))
    heads = ["kind", "success, selection half", "success, other half", "success, all images", "mean overlap"]
    heads += ["pointing accuracy", "ms per image", "of these GraphCut, one core"]
    lines = [f"| {' | '.join(heads)} |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {'**' if row is best else ''}{row['kind']}{'**' if row is best else ''} | {describe(row)} |" for row in rows
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"{len(best['overlaps'])} images; success: overlap of at least {MIN_OVERLAP}; with 95 % intervals.",
        ]
    )


if __name__ == "__main__":
    main()
