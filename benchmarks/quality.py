"""Whether strangers recognise class models: ascends on one network and asks others that took no part.

python -m benchmarks.quality squeezenet mobilenetv2 --classes 100

Every picture is made by the code that runs a job, and judged as it is saved, in 8 bits.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch

from shared.catalogue import Catalogue, Release, load_catalogue
from shared.methods import ClassModel
from shared.parameters.class_model import ClassModelParameters
from shared.parameters.presets import PRESETS
from worker.engine.classifier import Classifier
from worker.engine.plan import Plan, as_planned, measure_plan
from worker.methods import class_model
from worker.networks import Loaded, Loader, Networks
from worker.plans import Plans, name_plan
from worker.pool import work_alone
from worker.task import Judge, Task

FOLDER = Path("var/bench")
TEN = ["lemon", "cup", "flamingo", "goldfish", "dumbbell", "bell pepper", "ostrich", "tarantula", "pirate", "zebra"]
FACTORIES = {"cifar_resnet": "benchmarks.cifar_resnet:cifar_resnet"}


def main() -> None:
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
    print(f"\n{make_table(rows)}\n\n{FOLDER / name}.json, and a poster of each preset beside it")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the network to ascend on, from the catalogue")
    parser.add_argument("judges", nargs="+", help="networks with the same classes")
    parser.add_argument("--catalogue", type=Path, default=Path(__file__).parent / "models.toml")
    parser.add_argument("--classes", default="ten", help="'ten' that are always the same, 'all', or a number to draw")
    parser.add_argument("--draw", type=int, default=5, help="seed of the draw")
    parser.add_argument("--presets", nargs="*", choices=list(PRESETS), help="all of them unless told")
    parser.add_argument("--params", type=json.loads, default={}, help="parameters to override, as JSON")
    return parser.parse_args()


def choose_targets(release: Release, classes: str, draw: int) -> list[int]:
    if classes == "all" or (classes == "ten" and len(release.classes) <= 10):
        return release.resolve_targets("all")
    if classes == "ten":
        return release.resolve_targets(list(TEN))
    return sorted(random.Random(draw).sample(range(len(release.classes)), int(classes)))


def measure(
    catalogue: Catalogue, release: Release, judges: Sequence[str], targets: list[int], params: ClassModelParameters
) -> dict[str, Any]:
    """Runs the method as a worker does, and keeps its summary, its seconds per class and its poster."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = Networks(Loader(FACTORIES), device=device)
    with ExitStack() as stack:
        classifier, loaded = stack.enter_context(networks.open(release))
        plan = find_plan(classifier, loaded)
        request = ClassModel(method="class_model", model=release.reference, targets=list(targets), params=params)
        task = Task(
            request=request, release=release, targets=targets, all_targets=targets, classifier=classifier,
            climber=as_planned(classifier, plan), batch=plan.batch,
            judges=tuple(
                Judge(judge, stack.enter_context(networks.open(judge))[0]) for judge in map(catalogue.find, judges)
            ),
            load_picture=no_picture, decode=no_picture, load_original=partial(networks.load_original, release),
            save=partial(save, f"{release.name}-{params.preset}-{len(targets)}"),
        )  # fmt: skip
        started = time.perf_counter()
        metrics = class_model.gather(task, [work_alone(class_model.run(task))])
        seconds = (time.perf_counter() - started) / len(targets)
        return {"seconds": round(seconds, 2), "steps": params.steps, **metrics["summary"]}


def find_plan(classifier: Classifier, loaded: Loaded) -> Plan:
    return Plans(FOLDER / "plans.json").find(name_plan(loaded.sha256, classifier), partial(measure_plan, classifier))


def no_picture(_: object) -> NoReturn:
    sys.exit("this benchmark starts from no picture")


def save(stem: str, name: str, data: bytes, **_: Any) -> None:
    """Keeps the contact sheet of a job's artefacts."""
    if name == "contact-sheet.png":
        (FOLDER / f"{stem}.png").write_bytes(data)


def describe(row: dict[str, Any]) -> str:
    said = [
        f"{name} {verdict['top1']:.0%} {verdict['top5']:.0%} {verdict['probability']:.2f}"
        for name, verdict in verdicts(row)
    ]
    return f"{row['preset']:36} {row['seconds']:6.2f} s  {'   '.join(said)}"


def make_table(rows: Sequence[dict[str, Any]]) -> str:
    names = [name for name, _ in verdicts(rows[0])]
    lines = [f"| preset | steps | s per class | {' | '.join(names)} |", f"|---|--:|--:|{'--:|' * len(names)}"]
    for row in rows:
        cells = [f"{one['top1']:.0%} / {one['top5']:.0%} / {one['probability']:.2f}" for _, one in verdicts(row)]
        lines.append(f"| `{row['preset']}` | {row['steps']} | {row['seconds']:.1f} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Cells: top-1 / top-5 / mean probability of the target."])


def verdicts(row: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return [(name, value) for name, value in row.items() if isinstance(value, dict)]


if __name__ == "__main__":
    main()
