"""Benchmark of the speed of class visualizations (class models), compared with a minimal loop and other libraries.

python -m benchmarks.speed [--networks googlenet vgg16] [--steps 8] [--rounds 3]

All candidates visualize the same targets on the same network with the same size and number of steps. They run in turns,
so that other load on the machine affects all of them. The networks have random weights, because speed does not depend
on them. Needs only torch, torchvision, NumPy and Pillow; libraries that are not installed are left out.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.peers import MEAN, SIZE, STD, find_peers
from worker.engine.ascent.config import Ascent, Slot
from worker.engine.ascent.fourier import Fourier
from worker.engine.ascent.initial import Normal, start_zero
from worker.engine.ascent.loop import ascend
from worker.engine.ascent.optimizers import Adam
from worker.engine.ascent.parameterization import BoundedPixels
from worker.engine.ascent.regularizers.image import l2
from worker.engine.ascent.transforms import Chain, Window
from worker.engine.gradients.relaxed import RelaxedGradient
from worker.engine.model.classifier import Classifier, open_classifier
from worker.engine.model.plan.autotune import measure_plan
from worker.engine.model.plan.execution_plan import ExecutionPlan, apply_plan
from worker.engine.model.prepare import prepare
from worker.engine.model.torchvision_import import import_torchvision
from worker.engine.scores.detect import draw_images

NETWORKS = ("googlenet", "vgg16", "resnet50", "mobilenet_v2", "squeezenet1_0")
FOLDER = Path("var/bench")
MODEL_STEPS = 256
"""Steps of a class visualization in the column "class models per minute"; the default of torchbearer."""

Subject = Callable[[], int]
"""Runs a fixed number of steps and returns the number of targets."""


def main() -> None:
    """Runs the benchmark and prints its results."""
    arguments = read_arguments()
    if arguments.memory:
        print(measure_memory(*arguments.memory, targets=arguments.targets))
        return
    device = find_device()
    rows = []
    for name in arguments.networks:
        rows += measure_network(name, device, arguments)
        print(f"{name}: measured", file=sys.stderr, flush=True)
    result = {
        "device": describe_device(device),
        "torch": torch.__version__,
        "targets": arguments.targets,
        "rows": rows,
        "steps": arguments.steps,
        "rounds": arguments.rounds,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "speed.json").write_text(json.dumps(result, indent=1))
    print(f"{make_table(rows)}\n\n{result['device']}, torch {torch.__version__}; {FOLDER / 'speed.json'}")


def read_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="networks of torchvision")
    parser.add_argument("--targets", type=int, default=8, help="targets; other libraries process them one by one")
    parser.add_argument("--steps", type=int, default=8, help="steps per candidate and round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the result is the median")
    parser.add_argument("--batch", type=int, help="batch size in float32; default: the measured execution plan")
    parser.add_argument("--memory", nargs=2, metavar=("SUBJECT", "NETWORK"), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_network(name: str, device: torch.device, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns a row for each candidate."""
    with prepared(name, device) as classifier:
        plan = choose_plan(classifier, arguments.batch)
        subjects = make_subjects(name, classifier, plan, arguments.targets, arguments.steps)
        seconds: dict[str, list[float]] = {subject: [] for subject in subjects}
        for _ in range(arguments.rounds):
            for subject, run in subjects.items():
                seconds[subject].append(time_per_step(run, device, arguments.steps))
    medians = {subject: statistics.median(times) for subject, times in seconds.items()}
    engine = medians["engine"]
    return [
        {
            "network": name,
            "subject": subject,
            "plan": "one at a time" if subject in find_peers() else describe_plan(plan, subject),
            "milliseconds": 1000 * median,
            "models_per_minute": 60 / (median * MODEL_STEPS),
            "engine_is_faster_by": median / engine,
            "peak_megabytes": measure_memory_apart(subject, name, arguments.targets),
        }
        for subject, median in medians.items()
    ]


def choose_plan(classifier: Classifier, batch: int | None) -> ExecutionPlan:
    """Returns a plan with a fixed batch size, or measures the plan if the batch size is None."""
    return measure_plan(classifier) if batch is None else ExecutionPlan("float32", batch, 0.0)


def describe_plan(plan: ExecutionPlan, subject: str) -> str:
    """Returns precision, batch size and use of CUDA graphs as text."""
    graphs = ", CUDA graphs" if plan.graphs and subject != "minimal loop" else ""
    return f"{plan.precision}, {plan.batch} at a time{graphs}"


def make_subjects(
    name: str, classifier: Classifier, plan: ExecutionPlan, targets: int, steps: int, only: str | None = None
) -> dict[str, Subject]:
    """Returns the candidates: the engine with two recipes, the minimal loop, and other libraries."""
    fast_classifier = apply_plan(classifier, plan)
    subjects: dict[str, Subject] = {
        "engine": lambda: run_ascent(fast_classifier, plain_recipe(steps), targets, plan.batch),
        "engine, default recipe": lambda: run_ascent(fast_classifier, own_recipe(steps), targets, plan.batch),
        "minimal loop": lambda: loop_bare(fast_classifier, min(targets, plan.batch), steps),
    }
    if only in (None, *find_peers()):
        network = build(name).to(classifier.device)  # not prepared: other libraries get the original network
        for peer, draw in find_peers().items():
            subjects[peer] = lambda draw=draw: draw(network, 1, steps) or 1  # type: ignore[misc]
    return subjects


def run_ascent(classifier: Classifier, ascent: Ascent, targets: int, at_once: int) -> int:
    """Runs an ascent for a number of targets with the engine."""
    slots = [Slot(target, seed=target, rate=0.5, weights=(0.01,)) for target in range(targets)]
    for _ in ascend(classifier, ascent, slots, at_once=at_once):
        pass
    return targets


def plain_recipe(steps: int) -> Ascent:
    """Returns the recipe of torchbearer: Adam, pixels bounded by a sigmoid, L2 penalty."""
    size = (SIZE, SIZE)
    return Ascent(
        steps=steps,
        parameterization=BoundedPixels(),
        size=size,
        start=start_zero,
        optimizer=Adam.start,
        transform=Chain(size),
        regularizers=(l2,),
    )


def own_recipe(steps: int) -> Ascent:
    """Returns the default recipe of a job: Fourier parameterization, random windows, relaxed gradients."""
    side = SIZE * 8 // 7
    return Ascent(
        steps=steps,
        parameterization=Fourier((side, side)),
        size=(side, side),
        start=Normal(0.01),
        optimizer=Adam.start,
        transform=Window((SIZE * 5 // 7, SIZE * 5 // 7), (0.6, 1.6), 10),
        regularizers=(l2,),
        relaxed=RelaxedGradient(0.1, 0.5),
    )


def loop_bare(classifier: Classifier, targets: int, steps: int) -> int:
    """Runs only forward pass, backward pass and Adam: the minimum cost of an ascent."""
    inputs = torch.zeros(targets, 3, SIZE, SIZE, device=classifier.device, requires_grad=True)
    optimizer = torch.optim.Adam([inputs], lr=0.5, maximize=True)
    rows = torch.arange(targets, device=classifier.device)
    for _ in range(steps):
        optimizer.zero_grad()
        classifier.network(inputs.to(classifier.dtype))[rows, rows].sum().backward()
        optimizer.step()
    return targets


def time_per_step(run: Subject, device: torch.device, steps: int) -> float:
    """Returns the seconds per target and step."""
    synchronize(device)
    started = time.perf_counter()
    targets = run()
    synchronize(device)
    return (time.perf_counter() - started) / targets / steps


def measure_memory_apart(subject: str, name: str, targets: int) -> float:
    """Measures the peak memory in MB in a new process: GPU memory, or resident memory on a CPU."""
    command = [sys.executable, "-m", "benchmarks.speed", "--memory", subject, name, "--targets", str(targets)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    return float(result.stdout.strip().splitlines()[-1])


def measure_memory(subject: str, name: str, *, targets: int) -> float:
    """Returns the peak memory of this process in MB after two steps of a candidate."""
    device = find_device()
    with prepared(name, device) as classifier:
        plan = ExecutionPlan("float32", targets, 0.0)
        make_subjects(name, classifier, plan, targets, 2, only=subject)[subject]()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    # Not getrusage, because its peak of a child process starts with the peak of the parent.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def prepared(name: str, device: torch.device) -> Any:
    """Opens a network as a worker does. Returns a context manager."""
    network = prepare(build(name), device, draw_images(3, (SIZE, SIZE), device))
    return open_classifier(network, mean=MEAN, std=STD, size=(SIZE, SIZE), device=device)


def build(name: str) -> nn.Module:
    """Returns a network of torchvision with random weights."""
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    network: nn.Module = import_torchvision().models.get_model(name, weights=None, **options)
    return network.eval()


def find_device() -> torch.device:
    """Returns the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_device(device: torch.device) -> str:
    """Returns the name of the GPU, or the architecture and number of threads of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def synchronize(device: torch.device) -> None:
    """Waits until the GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns a Markdown table."""
    heads = ["network", "candidate", "plan", "ms per target and step"]
    heads += [f"class models per minute, {MODEL_STEPS} steps", "peak MB"]
    lines = [f"| {' | '.join(heads)} | engine faster by |", "|---|---|---|--:|--:|--:|--:|"]
    lines += [
        f"| {row['network']} | {row['subject']} | {row['plan']} | {row['milliseconds']:.1f} | "
        f"{row['models_per_minute']:.2f} | {row['peak_megabytes']:.0f} | {row['engine_is_faster_by']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
