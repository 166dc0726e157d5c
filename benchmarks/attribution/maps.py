"""Benchmark of saliency maps: how faithful each kind is to a network, and how long a map takes.

python -m benchmarks.attribution.maps squeezenet mobilenetv2 --images 24
python -m benchmarks.attribution.maps shapes resnet20

The images are those of ../shared for the networks of `benchmarks/models.toml`, and drawings for `shapes`; the target is
the true class. Columns, each with a 95 % interval over images:

- single deletion: Spearman's correlation of the map with the decrease of the score when each of 7 x 7 cells is deleted
  alone (IDSDS, Hesse et al. 2024, arXiv 2407.11910), the mean of three fills: mean color, blurred image, noise.
- deletion and insertion: area under the probability while the highest pixels are deleted or inserted (Petsiuk 2018).
- randomization: Spearman's correlation with the map of the shuffled network, near 0 is good (Adebayo et al. 2018).
- pointing: how often the maximum lies in a true box; drawings only.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from archetype.contract.parameters.saliency import SaliencyParameters
from benchmarks.quality import FACTORIES
from shared.catalogue.catalogue import load_catalogue
from shared.catalogue.release import Release
from worker.audit.maps.faithfulness import LabeledView, MapMaker, stack
from worker.engine.attribution.bootstrap import mean_with_interval
from worker.engine.attribution.boxes import Box
from worker.engine.attribution.metrics import (
    BLUR,
    area_under,
    points_at,
    rank_correlation,
    shuffle_weights,
    trace_probability,
)
from worker.engine.attribution.perturbation.single_deletion import correlate_ranks, draw_edges, measure_falls
from worker.engine.blur import blur
from worker.engine.model.classifier import Classifier
from worker.engine.model.network_call import NetworkError
from worker.inputs.view import open_view
from worker.models.loader import Loader, ModelCache
from worker.shapes.drawing import draw_numbered

GRID = 7
"""Cells along each axis that are deleted, each alone."""

SERIES = 13
"""Seed of the drawings, which is none of the seeds of the training data or of other benchmarks."""

STEPS, AT_ONCE = 16, 16
IMAGES = Path("../shared/images")
FOLDERS = {"squeezenet": "imagenet", "mobilenetv2": "imagenet"} | dict.fromkeys(
    ("resnet20", "resnet32", "resnet44", "resnet56"), "cifar10"
)

KINDS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "gradient, ten crops": {"crops": 10},
    "guided": {"kind": "guided"},
    "gradient_x_input": {"kind": "gradient_x_input", "channels": "signed"},
    "smoothgrad": {"kind": "smoothgrad"},
    "smoothgrad of guided": {"kind": "smoothgrad", "gradient": "guided"},
    "integrated_gradients": {"kind": "integrated_gradients", "channels": "signed"},
    "integrated_gradients, uniform": {"kind": "integrated_gradients", "channels": "signed", "baseline": "uniform"},
    "grad_cam": {"kind": "grad_cam"},
    "layer_cam": {"kind": "layer_cam"},
    "score_cam": {"kind": "score_cam"},
    "occlusion": {"kind": "occlusion", "square": 0.2, "stride": 0.1},
    "rise": {"kind": "rise"},
    "kernel_shap, 500 masks": {"kind": "kernel_shap", "cells": 6, "masks": 500},
}
"""The kinds. The cells of `kernel_shap` are not those of the measure, which would otherwise measure itself."""


class Probe(NamedTuple):
    """An image as the network sees it, with its true class and, if they are known, its boxes in pixels of the view."""

    view: LabeledView
    boxes: list[Box]


def main() -> None:
    """Runs the benchmark and prints a table for each network."""
    arguments = read_arguments()
    catalogue = load_catalogue(arguments.catalogue)
    loader = ModelCache(Loader(FACTORIES), device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    folder = Path("var/bench")
    folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.models:
        release = catalogue.find(name)
        probes = read_probes(release, arguments.images)
        with loader.open(release) as (classifier, _):
            rows = list(measure_all(classifier, release, probes, arguments.kinds or list(KINDS)))
        (folder / f"maps-{release.name}.json").write_text(json.dumps(rows, indent=1))
        print(f"\n{release.name}, {len(probes)} images\n\n{make_table(rows)}", flush=True)


def read_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="models from the catalogue")
    parser.add_argument("--catalogue", type=Path, default=Path(__file__).parents[1] / "models.toml")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), help="kinds to measure; default: all")
    parser.add_argument("--images", type=int, default=40, help="number of images")
    return parser.parse_args()


def read_probes(release: Release, count: int) -> list[Probe]:
    """Reads or draws the images of a network."""
    if release.name not in FOLDERS:
        drawings = [draw_numbered(number, SERIES) for number in range(count)]
        return [make_probe(release, np.asarray(each.image), each.label, each.box) for each in drawings]
    files = sorted((IMAGES / FOLDERS[release.name]).iterdir())
    classes = [(file, int(file.name.partition("_")[0])) for file in files if file.name[0].isdigit()]
    return [
        make_probe(release, np.asarray(Image.open(file).convert("RGB")), target, None)
        for file, target in classes[:: max(1, len(classes) // count)][:count]
    ]


def make_probe(
    release: Release, pixels: np.ndarray[Any, Any], target: int, box: tuple[float, float, float, float] | None
) -> Probe:
    """Returns the view of an image; a box is only known for drawings, which have the size of the view."""
    view = open_view(pixels, release.preprocessing)
    return Probe(LabeledView(str(target), view, target), [Box(*box)] if box else [])


def measure_all(
    classifier: Classifier, release: Release, probes: Sequence[Probe], kinds: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yields a row for maps that know nothing of the network, and for each kind that the network takes."""
    inputs, targets = stack(classifier, [probe.view for probe in probes])
    falls = [
        measure_falls(classifier, inputs, targets, grid=GRID, at_once=AT_ONCE, replacements=fill)
        for fill in make_fills(inputs)
    ]
    measure = Measurement(classifier, inputs, targets, falls, probes)
    generator = torch.Generator().manual_seed(0)
    yield {"kind": "random map"} | measure.describe(torch.rand(len(probes), *inputs.shape[2:], generator=generator))
    yield {"kind": "edges of the image"} | measure.describe(draw_edges(inputs).cpu())
    shuffled = shuffle_weights(classifier, 0)
    for name in kinds:
        params = SaliencyParameters.model_validate(scale_square(KINDS[name], release))
        try:
            started = time.perf_counter()
            maps = draw(classifier, params, probes)
            seconds = (time.perf_counter() - started) / len(probes)
            other = draw(shuffled, params, probes)
        except (NetworkError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        row = {"kind": name, **measure.describe(maps), "seconds": seconds}
        row["randomization"] = [
            rank_correlation(ours.numpy(), theirs.numpy()) for ours, theirs in zip(maps, other, strict=True)
        ]
        print(make_line(row), file=sys.stderr, flush=True)
        yield row


def make_fills(inputs: Tensor) -> list[Tensor]:
    """Returns what deleted cells of images (N, C, H, W) show: the mean color, the blurred image, and noise."""
    noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0)).to(inputs)
    return [torch.zeros_like(inputs), blur(inputs, BLUR * max(inputs.shape[2:]) / 224), noise]


def draw(classifier: Classifier, params: SaliencyParameters, probes: Sequence[Probe]) -> Tensor:
    """Computes the evidence in the maps of all probes (N, h, w)."""
    maker = MapMaker(classifier, params)
    parts = [
        maker.draw([probe.view for probe in probes[start : start + AT_ONCE]])
        for start in range(0, len(probes), AT_ONCE)
    ]
    return torch.cat(parts)


def scale_square(fields: dict[str, Any], release: Release) -> dict[str, Any]:
    """Converts square and stride of an occlusion from fractions of the input size to pixels."""
    side = min(release.preprocessing.size)
    scaled = {name: round(fields[name] * side) for name in ("square", "stride") if name in fields}
    return fields | scaled


class Measurement(NamedTuple):
    """What maps are compared with.

    Attributes:
        classifier: The network.
        inputs: Normalized images (N, C, H, W).
        targets: Class indices (N,).
        falls: The falls of the score (N, GRID²) by fill.
        probes: The images.
    """

    classifier: Classifier
    inputs: Tensor
    targets: Tensor
    falls: list[Tensor]
    probes: Sequence[Probe]

    def describe(self, maps: Tensor) -> dict[str, list[float]]:
        """Measures maps (N, H, W): a value for each image."""
        fills = np.stack([correlate_ranks(maps, falls, GRID) for falls in self.falls])  # (fills, N)
        columns = {"single deletion": fills.mean(0).tolist()}
        for how in ("deletion", "insertion"):
            traces = trace_probability(
                self.classifier, self.inputs, self.targets, maps, how=how, steps=STEPS, at_once=AT_ONCE
            )
            columns[how] = area_under(traces).tolist()
        if self.probes[0].boxes:
            hits = (points_at(values.numpy(), probe.boxes) for values, probe in zip(maps, self.probes, strict=True))
            columns["pointing"] = [float(hit) for hit in hits]
        return columns


COLUMNS = ("single deletion", "deletion", "insertion", "randomization", "pointing")


def make_table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns a Markdown table; the kind with the best single deletion is bold."""
    columns = [name for name in COLUMNS if any(name in row for row in rows)]
    best = max(rows, key=lambda row: np.mean(row["single deletion"]))
    lines = [f"| kind | {' | '.join(columns)} | s per map |", f"|---|{'--:|' * (len(columns) + 1)}"]
    for row in rows:
        name = f"**{row['kind']}**" if row is best else row["kind"]
        cells = [format_mean(row[column]) if column in row else "" for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} | {row.get('seconds', 0):.2f} |")
    return "\n".join(lines)


def make_line(row: dict[str, Any]) -> str:
    """Returns a row as a line of text."""
    cells = [f"{column} {format_mean(row[column])}" for column in COLUMNS if column in row]
    return f"{row['kind']:32} {'  '.join(cells)}  {row['seconds']:.2f} s"


def format_mean(values: Sequence[float]) -> str:
    """Returns a mean with its 95 % interval."""
    mean = mean_with_interval([value for value in values if np.isfinite(value)])
    return f"{mean['mean']:.2f} ({mean['low']:.2f} to {mean['high']:.2f})"


if __name__ == "__main__":
    main()
