"""How fast saliency maps are made, beside a bare loop and Captum.

python -m benchmarks.saliency [--networks googlenet resnet50] [--pictures 32] [--rounds 3]

All subjects map the same pictures on the same network, in turns. Captum gets one picture at a time, as its users give
them, and the network as it comes; where it is not installed it is left out. Random weights do. Needs torch, torchvision
and NumPy alone.
"""

import argparse
import importlib.util
import json
import statistics
import sys
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers import SIZE
from benchmarks.speed import FOLDER, Subject, build, describe_device, find_device, prepared, time_per_step
from worker.engine.classifier import Classifier, in_precision
from worker.engine.plan import measure_plan
from worker.engine.saliency.channels import reduce_channels
from worker.engine.saliency.gradient import gradient
from worker.engine.saliency.slope import in_parts

NETWORKS = ("googlenet", "resnet50")


def main() -> None:
    arguments = read_arguments()
    device = find_device()
    rows = []
    for name in arguments.networks:
        rows += measure_network(name, device, arguments)
        print(f"{name}: measured", file=sys.stderr, flush=True)
    found = {"device": describe_device(device), "torch": torch.__version__, "rows": rows, **vars(arguments)}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "saliency.json").write_text(json.dumps(found, indent=1))
    print(f"{make_table(rows)}\n\n{found['device']}, torch {torch.__version__}; {FOLDER / 'saliency.json'}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="of torchvision")
    parser.add_argument("--pictures", type=int, default=32, help="that each subject maps in a round")
    parser.add_argument("--rounds", type=int, default=3, help="the median of which counts")
    return parser.parse_args()


def measure_network(name: str, device: torch.device, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row per subject."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(arguments.pictures, 3, SIZE, SIZE, generator=generator).to(device)
    targets = torch.arange(arguments.pictures, device=device)
    with prepared(name, device) as classifier:
        batch = measure_plan(classifier).batch
        half = in_precision(classifier, torch.bfloat16)
        subjects: dict[str, Subject] = {
            f"engine, float32, {batch} at a time": lambda: run_engine(classifier, inputs, targets, batch),
            f"bare loop, {batch} at a time": lambda: loop_bare(classifier, inputs, targets, batch),
            f"engine, bfloat16, {batch} at a time": lambda: run_engine(half, inputs, targets, batch),
        }
        if importlib.util.find_spec("captum"):
            network = build(name).to(device)  # theirs is not prepared: Captum takes it as it comes
            subjects["Captum, one at a time"] = lambda: run_captum(network, inputs, targets)
        seconds: dict[str, list[float]] = {subject: [] for subject in subjects}
        for number in range(arguments.rounds + 1):
            for subject, run in subjects.items():
                taken = time_per_step(run, device, 1)
                seconds[subject] += [taken] if number else []  # the first round warms up
    medians = {subject: statistics.median(times) for subject, times in seconds.items()}
    ours = next(iter(medians.values()))
    return [
        {"network": name, "subject": subject, "milliseconds": 1000 * median, "engine_is_faster_by": median / ours}
        for subject, median in medians.items()
    ]


def run_engine(classifier: Classifier, inputs: Tensor, targets: Tensor, batch: int) -> int:
    reduce_channels(in_parts(gradient, batch)(classifier, inputs, targets), "max")
    return len(inputs)


def loop_bare(classifier: Classifier, inputs: Tensor, targets: Tensor, batch: int) -> int:
    """Forward and back to the inputs: what no map can do without."""
    for part, classes in zip(inputs.split(batch), targets.split(batch), strict=True):
        part.requires_grad_()
        scores = classifier.network(part).gather(1, classes[:, None])
        torch.autograd.grad(scores.sum(), part)[0].abs().amax(1)
    return len(inputs)


def run_captum(network: nn.Module, inputs: Tensor, targets: Tensor) -> int:
    from captum.attr import Saliency  # type: ignore[import-untyped]

    method = Saliency(network)
    for picture, target in zip(inputs, targets.tolist(), strict=True):
        method.attribute(picture[None].clone().requires_grad_(), target=target).amax(1)
    return len(inputs)


def make_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| network | subject | ms per picture | engine faster by |", "|---|---|--:|--:|"]
    lines += [
        f"| {row['network']} | {row['subject']} | {row['milliseconds']:.1f} | {row['engine_is_faster_by']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
