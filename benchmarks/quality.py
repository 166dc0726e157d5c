"""Benchmark of quality: whether independent networks recognize the class visualizations (class models) of a network.

python -m benchmarks.quality squeezenet mobilenetv2 --classes 100

The code that runs a job makes the images. The networks classify the images as saved, with 8 bits per channel.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.parameters.presets.class_model import PRESETS
from archetype.contract.request import ClassModel
from shared.catalogue.catalogue import Catalogue, load_catalogue
from shared.catalogue.release import Release
from worker.engine.model.classifier import Classifier
from worker.engine.model.plan.autotune import measure_plan
from worker.engine.model.plan.execution_plan import ExecutionPlan, apply_plan
from worker.job.cobatch import run_alone
from worker.job.context import Evaluator, JobContext
from worker.methods import class_model
from worker.models.loader import LoadedModel, Loader, ModelCache
from worker.models.plan_cache import PlanCache, name_plan

FOLDER = Path("var/bench")
TEN = ["lemon", "cup", "flamingo", "goldfish", "dumbbell", "bell pepper", "ostrich", "tarantula", "pirate", "zebra"]
FACTORIES = {"cifar_resnet": "benchmarks.cifar_resnet:cifar_resnet"}


def main() -> None:
    """Runs the benchmark and prints its results."""
    arguments = read_arguments()
    catalogue = load_catalogue(arguments.catalogue)
    release = catalogue.find(arguments.model)
    targets = choose_targets(release, arguments.classes, arguments.draw)
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = []
    for preset in arguments.presets or PRESETS:
        params = ClassModelParameters.model_validate({"preset": preset, "extras": False, **arguments.params})
        row = measure(catalogue, release, arguments.judges, targets, params)
        rows.append({"preset": preset, **row})
        print(describe(rows[-1]), flush=True)
    name = f"quality-{release.name}-{arguments.classes}"
    (FOLDER / f"{name}.json").write_text(
        json.dumps({"targets": targets, "draw": arguments.draw, "rows": rows}, indent=1)
    )
    print(f"\n{make_table(rows)}\n\n{FOLDER / name}.json; the same folder has a contact sheet of each preset")


def read_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model to visualize, from the catalogue")
    parser.add_argument("judges", nargs="+", help="evaluators: models with the same classes")
    parser.add_argument(
        "--catalogue", type=Path, default=Path(__file__).parent / "models.toml", help="models.toml to use"
    )
    parser.add_argument("--classes", default="ten", help="'ten' fixed classes, 'all', or a number of random classes")
    parser.add_argument("--draw", type=int, default=5, help="seed of the random classes")
    parser.add_argument("--presets", nargs="*", choices=list(PRESETS), help="presets to measure; default: all")
    parser.add_argument("--params", type=json.loads, default={}, help="parameters of the method, as JSON")
    return parser.parse_args()


def choose_targets(release: Release, classes: str, draw: int) -> list[int]:
    """Returns the indices of the classes to visualize."""
    if classes == "all" or (classes == "ten" and len(release.classes) <= 10):
        return release.resolve_targets("all")
    if classes == "ten":
        return release.resolve_targets(list(TEN))
    return sorted(random.Random(draw).sample(range(len(release.classes)), int(classes)))


def measure(
    catalogue: Catalogue, release: Release, judges: Sequence[str], targets: list[int], params: ClassModelParameters
) -> dict[str, Any]:
    """Runs the method like a worker; returns its summary and the seconds per class, and saves its contact sheet."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = ModelCache(Loader(FACTORIES), device=device)
    with ExitStack() as stack:
        classifier, loaded = stack.enter_context(loader.open(release))
        plan = find_plan(release, classifier, loaded)
        request = ClassModel(method="class_model", model=release.reference, targets=list(targets), params=params)
        context = JobContext(
            request=request,
            release=release,
            targets=targets,
            all_targets=targets,
            classifier=classifier,
            fast_classifier=apply_plan(classifier, plan),
            batch=plan.batch,
            evaluators=tuple(
                Evaluator(judge, stack.enter_context(loader.open(judge))[0]) for judge in map(catalogue.find, judges)
            ),
            load_original=partial(loader.load_original, release),
            save=partial(save, f"{release.name}-{params.preset}-{len(targets)}"),
        )
        started = time.perf_counter()
        metrics = class_model.gather(context, [run_alone(class_model.run(context))])
        seconds = (time.perf_counter() - started) / len(targets)
        return {"seconds": round(seconds, 2), "steps": params.steps, **metrics["summary"]}


def find_plan(release: Release, classifier: Classifier, loaded: LoadedModel) -> ExecutionPlan:
    """Returns the execution plan of a network from the cache of the benchmarks, or measures it."""
    plans, name = PlanCache(FOLDER / "plans.json"), name_plan(loaded.sha256, release, classifier)
    plan = plans.find(name) or plans.measure(name, partial(measure_plan, classifier))
    if plan is None:
        raise RuntimeError(f"another process measures the plan of {release.reference}: wait for it")
    return plan


def save(stem: str, name: str, data: bytes, **_: Any) -> None:
    """Saves the contact sheet and drops the other artifacts."""
    if name == "contact-sheet.png":
        (FOLDER / f"{stem}.png").write_bytes(data)


def describe(row: dict[str, Any]) -> str:
    """Returns a line with the results of a preset."""
    cells = [
        f"{name} {scores['top1']:.0%} {scores['top5']:.0%} {scores['probability']:.2f}"
        for name, scores in list_scores(row)
    ]
    return f"{row['preset']:36} {row['seconds']:6.2f} s  {'   '.join(cells)}"


def make_table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns a Markdown table with a row for each preset."""
    names = [name for name, _ in list_scores(rows[0])]
    lines = [f"| preset | steps | s per class | {' | '.join(names)} |", f"|---|--:|--:|{'--:|' * len(names)}"]
    for row in rows:
        cells = [
            f"{scores['top1']:.0%} / {scores['top5']:.0%} / {scores['probability']:.2f}"
            for _, scores in list_scores(row)
        ]
        lines.append(f"| `{row['preset']}` | {row['steps']} | {row['seconds']:.1f} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Cells: top-1 / top-5 / mean probability of the target."])


def list_scores(row: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """Returns the scores of each network, by the name of the network."""
    return [(name, value) for name, value in row.items() if isinstance(value, dict)]


if __name__ == "__main__":
    main()
