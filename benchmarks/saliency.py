"""Benchmark of the speed of saliency maps, compared with a minimal loop and with Captum.

python -m benchmarks.saliency [--networks googlenet resnet50] [--images 32] [--rounds 3]

All candidates process the same images on the same network in turns. Captum gets one image at a time and the original
network, as its users would do; it is left out if it is not installed. The networks have random weights, because speed
does not depend on them. Needs only torch, torchvision and NumPy.
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
from benchmarks.speed import FOLDER, Subject, build, choose_plan, describe_device, find_device, prepared, time_per_step
from worker.engine.attribution.channels import reduce_channels
from worker.engine.attribution.gradient import gradient
from worker.engine.attribution.gradient_fn import in_microbatches
from worker.engine.model.classifier import Classifier, in_precision

NETWORKS = ("googlenet", "resnet50")


def main() -> None:
    """Runs the benchmark and prints its results."""
    arguments = read_arguments()
    device = find_device()
    rows = []
    for name in arguments.networks:
        rows += measure_network(name, device, arguments)
        print(f"{name}: measured", file=sys.stderr, flush=True)
    result = {"device": describe_device(device), "torch": torch.__version__, "rows": rows, **vars(arguments)}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "saliency.json").write_text(json.dumps(result, indent=1))
    print(f"{make_table(rows)}\n\n{result['device']}, torch {torch.__version__}; {FOLDER / 'saliency.json'}")


def read_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="networks of torchvision")
    parser.add_argument("--images", type=int, default=32, help="images per candidate and round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the result is the median")
    parser.add_argument("--batch", type=int, help="batch size in float32; default: the measured execution plan")
    return parser.parse_args()


def measure_network(name: str, device: torch.device, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns a row for each candidate."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(arguments.images, 3, SIZE, SIZE, generator=generator).to(device)
    targets = torch.arange(arguments.images, device=device)
    with prepared(name, device) as classifier:
        batch = choose_plan(classifier, arguments.batch).batch
        half = in_precision(classifier, torch.bfloat16)
        subjects: dict[str, Subject] = {
            f"engine, float32, {batch} at a time": lambda: run_engine(classifier, inputs, targets, batch),
            f"minimal loop, {batch} at a time": lambda: loop_bare(classifier, inputs, targets, batch),
            f"engine, bfloat16, {batch} at a time": lambda: run_engine(half, inputs, targets, batch),
        }
        if importlib.util.find_spec("captum"):
            network = build(name).to(device)  # not prepared: Captum gets the original network
            subjects["Captum, one at a time"] = lambda: run_captum(network, inputs, targets)
        seconds: dict[str, list[float]] = {subject: [] for subject in subjects}
        for number in range(arguments.rounds + 1):
            for subject, run in subjects.items():
                measured = time_per_step(run, device, 1)
                seconds[subject] += [measured] if number else []  # the first round is a warm-up
    medians = {subject: statistics.median(times) for subject, times in seconds.items()}
    engine = next(iter(medians.values()))
    return [
        {"network": name, "subject": subject, "milliseconds": 1000 * median, "engine_is_faster_by": median / engine}
        for subject, median in medians.items()
    ]


def run_engine(classifier: Classifier, inputs: Tensor, targets: Tensor, batch: int) -> int:
    """Computes gradient maps with the engine; `inputs` is `(N, 3, H, W)`, `targets` is `(N,)`."""
    reduce_channels(in_microbatches(gradient, batch)(classifier, inputs, targets), "max")
    return len(inputs)


def loop_bare(classifier: Classifier, inputs: Tensor, targets: Tensor, batch: int) -> int:
    """Computes only a forward and a backward pass per batch: the minimum cost of a gradient map."""
    for part, classes in zip(inputs.split(batch), targets.split(batch), strict=True):
        part.requires_grad_()
        scores = classifier.network(part).gather(1, classes[:, None])
        torch.autograd.grad(scores.sum(), part)[0].abs().amax(1)
    return len(inputs)


def run_captum(network: nn.Module, inputs: Tensor, targets: Tensor) -> int:
    """Computes gradient maps with Captum, one image at a time."""
    from captum.attr import Saliency  # type: ignore[import-untyped]

    method = Saliency(network)
    for image, target in zip(inputs, targets.tolist(), strict=True):
        method.attribute(image[None].clone().requires_grad_(), target=target).amax(1)
    return len(inputs)


def make_table(rows: list[dict[str, Any]]) -> str:
    """Returns a Markdown table."""
    lines = ["| network | candidate | ms per image | engine faster by |", "|---|---|--:|--:|"]
    lines += [
        f"| {row['network']} | {row['subject']} | {row['milliseconds']:.1f} | {row['engine_is_faster_by']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
