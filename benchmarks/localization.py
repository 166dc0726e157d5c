"""Which kind of saliency finds objects: every kind, on pictures with true boxes, against guesses that look at nothing.

python -m benchmarks.localization squeezenet ../shared/images/wallaby
python -m benchmarks.localization shapes

A folder holds pictures and `boxes.json`, {"file": {"class": 104, "boxes": [[left, top, right, bottom], …]}, …}; the
network `shapes` is shown drawings of its own. The target is the given class. The best kind is chosen on one half of the
pictures and measured on the other.
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

from benchmarks.quality import FACTORIES, find_plan
from shared.catalogue import Release, load_catalogue
from shared.methods import Localization
from shared.parameters.localization import LocalizationParameters
from shared.parameters.subjects import Picture, TrueBox
from worker.engine.bootstrap import mean_with_interval
from worker.engine.classifier import Classifier
from worker.engine.localization import Box, tight_box
from worker.engine.measure import points_at
from worker.localization_error import CENTRE, ENOUGH, best_overlap, centred
from worker.mapping import choose_map, choose_shape, map_pairs
from worker.methods.localization import find_object, place_box
from worker.networks import Loader, Networks
from worker.pairs import Pairs
from worker.preprocess import Levels
from worker.shapes.drawing import draw_numbered
from worker.sources import Entry
from worker.task import Task
from worker.view import open_view

DRAWINGS, SERIES = 240, 11
"""Of `shapes`: how many, and of which series; its network was trained on others."""

KINDS: dict[str, dict[str, Any]] = {
    "gradient": {"crops": 1},
    "gradient, ten crops": {},
    "guided": {"crops": 1, "kind": "guided"},
    "deconvnet": {"crops": 1, "kind": "deconvnet"},
    "gradient_x_input": {"crops": 1, "kind": "gradient_x_input"},
    "smoothgrad": {"crops": 1, "kind": "smoothgrad"},
    "smoothgrad of guided": {"crops": 1, "kind": "smoothgrad", "slope": "guided"},
    "integrated_gradients": {"crops": 1, "kind": "integrated_gradients", "steps": 16},
    "grad_cam": {"crops": 1, "kind": "grad_cam"},
    "occlusion": {"crops": 1, "kind": "occlusion", "square": 0.2, "stride": 0.1},
}

Loaded = dict[str, Levels]


def main() -> None:
    arguments = read_arguments()
    release = load_catalogue(arguments.catalogue).find(arguments.model)
    pictures, loaded = read_folder(arguments.folder) if arguments.folder else draw_all()
    pictures = pictures[: arguments.pictures]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = Networks(Loader(FACTORIES), device=device)
    rows = [{"kind": name, **each} for name, each in measure_guesses(release, pictures, loaded).items()]
    with networks.open(release) as (classifier, found):
        batch = find_plan(classifier, found).batch
        for name in arguments.kinds or KINDS:
            given = KINDS[name] | arguments.params
            params = LocalizationParameters.model_validate(fit_square(given, release))
            rows.append({"kind": name, **measure(classifier, release, pictures, loaded, params, batch)})
            print(f"{name}: {describe(rows[-1])}", file=sys.stderr, flush=True)
    folder = Path("var/bench")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"localization-{release.name}.json").write_text(json.dumps(rows, indent=1))
    print(make_table(rows))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="from the catalogue")
    parser.add_argument("folder", nargs="?", type=Path, help="pictures with boxes.json; else drawings of shapes")
    parser.add_argument("--catalogue", type=Path, default=Path(__file__).parent / "models.toml")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), help="all of them unless told")
    parser.add_argument("--pictures", type=int, help="only the first so many")
    parser.add_argument("--params", type=json.loads, default={}, help="parameters to override, as JSON")
    return parser.parse_args()


def read_folder(folder: Path) -> tuple[list[Picture], Loaded]:
    known = json.loads((folder / "boxes.json").read_text())
    pictures = [describe_picture(name, one["class"], one["boxes"]) for name, one in sorted(known.items())]
    loaded = {
        picture.id: np.asarray(Image.open(folder / name).convert("RGB"))
        for picture, name in zip(pictures, sorted(known), strict=True)
    }
    return pictures, loaded


def draw_all() -> tuple[list[Picture], Loaded]:
    drawings = [draw_numbered(number, SERIES) for number in range(DRAWINGS)]
    pictures = [describe_picture(str(number), one.label, [one.box]) for number, one in enumerate(drawings)]
    return pictures, {picture.id: np.asarray(one.picture) for picture, one in zip(pictures, drawings, strict=True)}


def describe_picture(name: str, target: int, boxes: Sequence[Sequence[float]]) -> Picture:
    edges = ("left", "top", "right", "bottom")
    true = [TrueBox(**dict(zip(edges, map(float, box), strict=True))) for box in boxes]
    return Picture(id=name.encode().hex().rjust(64, "0")[-64:], targets=[target], boxes=true)


def fit_square(given: dict[str, Any], release: Release) -> dict[str, Any]:
    """An occlusion's square and stride, given relative to the network's input, in pixels."""
    side = min(release.preprocessing.size)
    return {name: round(value * side) if name in ("square", "stride") else value for name, value in given.items()}


def measure(
    classifier: Classifier,
    release: Release,
    pictures: Sequence[Picture],
    loaded: Loaded,
    params: LocalizationParameters,
    batch: int,
) -> dict[str, Any]:
    """Overlaps of what a kind finds with what is there, by the code that runs a job."""
    request = Localization(method="localization", model=release.reference, images=list(pictures), params=params)
    task = Task(
        request=request, release=release, targets=None, classifier=classifier, climber=classifier, batch=batch,
        judges=(), load_picture=loaded.__getitem__, load_original=lambda: classifier.network,
        save=lambda *_, **__: None,
        entries=[Entry(picture.id, picture, picture.id.encode) for picture in pictures],
        decode=lambda data: loaded[data.decode()],
    )  # fmt: skip
    started = time.perf_counter()
    overlaps: list[float] = []
    hits: list[float] = []
    cuts: list[float] = []
    cv2.setNumThreads(1)
    map_of = choose_map(classifier, params, batch)
    for pairs in Pairs(task, partial(open_view, preprocessing=choose_shape(release.preprocessing, params))).read():
        for pair, values in zip(pairs, map_pairs(classifier, map_of, pairs).numpy(), strict=True):
            cutting = time.perf_counter()
            mask = find_object(pair, np.abs(values), params)
            cuts.append(time.perf_counter() - cutting)
            overlaps.append(best_overlap(release, pair.picture, place_box(tight_box(mask), mask, pair)))
            true = [Box(one.left, one.top, one.right, one.bottom) for one in pair.picture.boxes]
            hits.append(float(points_at(pair.view.place_map(np.abs(values)), true)))
    seconds = (time.perf_counter() - started) / len(pictures)
    return {"overlaps": overlaps, "hits": hits, "milliseconds": 1000 * seconds, "cut": 1000 * statistics.median(cuts)}


def measure_guesses(release: Release, pictures: Sequence[Picture], loaded: Loaded) -> dict[str, dict[str, Any]]:
    """The same of the whole picture and of the centred box."""

    def overlaps(side: float) -> list[float]:
        sizes = [loaded[picture.id].shape[:2] for picture in pictures]
        return [
            best_overlap(release, picture, centred(size, side)) for picture, size in zip(pictures, sizes, strict=True)
        ]

    def hits() -> list[float]:
        middles = [(loaded[picture.id].shape[1] / 2, loaded[picture.id].shape[0] / 2) for picture in pictures]
        return [
            float(any(one.left <= x <= one.right and one.top <= y <= one.bottom for one in picture.boxes))
            for picture, (x, y) in zip(pictures, middles, strict=True)
        ]

    return {
        "the whole picture": {"overlaps": overlaps(1.0), "hits": hits(), "milliseconds": 0.0, "cut": 0.0},
        "the centred box": {"overlaps": overlaps(CENTRE), "hits": hits(), "milliseconds": 0.0, "cut": 0.0},
    }


def halves(row: dict[str, Any]) -> Iterator[list[float]]:
    """Overlaps of the half that is chosen on, and of the half that is measured on."""
    yield row["overlaps"][::2]
    yield row["overlaps"][1::2]


def share(overlaps: Sequence[float]) -> float:
    return float(np.mean(np.array(overlaps) >= ENOUGH))


def describe(row: dict[str, Any]) -> str:
    """Success on both halves, and on all with its interval; mean overlap; pointing; milliseconds."""
    choice, rest = halves(row)
    found = mean_with_interval([float(overlap >= ENOUGH) for overlap in row["overlaps"]])
    held = mean_with_interval([float(overlap >= ENOUGH) for overlap in rest])
    return (
        f"{share(choice):.0%} | {held['mean']:.0%} ({held['low']:.0%} to {held['high']:.0%}) | "
        f"{found['mean']:.0%} ({found['low']:.0%} to {found['high']:.0%}) | {np.mean(row['overlaps']):.2f} | "
        f"{np.mean(row['hits']):.0%} | {row['milliseconds']:.0f} | {row['cut']:.0f}"
    )


def make_table(rows: Sequence[dict[str, Any]]) -> str:
    best = max(rows, key=lambda row: (share(next(halves(row))), np.mean(next(halves(row)))))
    heads = (
        "kind", "found, half chosen on", "found, other half", "found, all", "mean overlap", "points at it",
        "ms per picture", "of these GraphCut, one core",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {'**' if row is best else ''}{row['kind']}{'**' if row is best else ''} | {describe(row)} |" for row in rows
    ]
    return "\n".join(
        [*lines, "", f"{len(best['overlaps'])} pictures; found: overlap of at least {ENOUGH}, with its 95 % interval."]
    )


if __name__ == "__main__":
    main()
