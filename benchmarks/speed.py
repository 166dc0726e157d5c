"""How fast class models are drawn, beside a bare loop and the libraries people use.

python -m benchmarks.speed [--networks googlenet vgg16] [--steps 8] [--rounds 3]

All subjects draw the same targets on the same network, at the same size and number of steps, in turns, so that a noisy
machine is noisy for all of them. Random weights do: no operation's speed depends on them. Needs torch, torchvision,
NumPy and Pillow alone; peers that are not installed are left out.
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
from worker.engine.ascend import ascend
from worker.engine.ascent import Ascent, Slot
from worker.engine.backward import Gentle
from worker.engine.classifier import Classifier, open_classifier
from worker.engine.image import BoundedPixels
from worker.engine.optimizer import Adam
from worker.engine.plan import Plan, as_planned, measure_plan
from worker.engine.prepare import prepare
from worker.engine.prior import l2
from worker.engine.spectrum import Fourier
from worker.engine.start import Normal, start_zero
from worker.engine.torchvision_import import import_torchvision
from worker.engine.transform import Chain, Window

NETWORKS = ("googlenet", "vgg16", "resnet50", "mobilenet_v2", "squeezenet1_0")
FOLDER = Path("var/bench")
MODEL_STEPS = 256
"""Steps of a class model, torchbearer's default: what "class models per minute" means."""

Subject = Callable[[], int]
"""Runs for some steps; says for how many targets it did."""


def main() -> None:
    arguments = read_arguments()
    if arguments.memory:
        print(measure_memory(*arguments.memory, targets=arguments.targets))
        return
    device = find_device()
    rows = []
    for name in arguments.networks:
        rows += measure_network(name, device, arguments)
        print(f"{name}: measured", file=sys.stderr, flush=True)
    found = {
        "device": describe_device(device), "torch": torch.__version__, "targets": arguments.targets, "rows": rows,
        "steps": arguments.steps, "rounds": arguments.rounds,
    }  # fmt: skip
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "speed.json").write_text(json.dumps(found, indent=1))
    print(f"{make_table(rows)}\n\n{found['device']}, torch {torch.__version__}; {FOLDER / 'speed.json'}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="of torchvision")
    parser.add_argument("--targets", type=int, default=8, help="drawn in one batch, or one after another by the peers")
    parser.add_argument("--steps", type=int, default=8, help="that each subject takes in a round")
    parser.add_argument("--rounds", type=int, default=3, help="the median of which counts")
    parser.add_argument("--memory", nargs=2, metavar=("SUBJECT", "NETWORK"), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_network(name: str, device: torch.device, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row per subject."""
    with prepared(name, device) as classifier:
        plan = measure_plan(classifier)
        subjects = find_subjects(name, classifier, plan, arguments.targets, arguments.steps)
        seconds: dict[str, list[float]] = {subject: [] for subject in subjects}
        for _ in range(arguments.rounds):
            for subject, run in subjects.items():
                seconds[subject].append(time_per_step(run, device, arguments.steps))
    medians = {subject: statistics.median(times) for subject, times in seconds.items()}
    ours = medians["engine"]
    return [
        {
            "network": name,
            "subject": subject,
            "plan": "one at a time" if subject in find_peers() else describe_plan(plan, subject),
            "milliseconds": 1000 * median,
            "models_per_minute": 60 / (median * MODEL_STEPS),
            "engine_is_faster_by": median / ours,
            "peak_megabytes": ask_for_memory(subject, name, arguments.targets),
        }
        for subject, median in medians.items()
    ]


def describe_plan(plan: Plan, subject: str) -> str:
    graphs = ", CUDA graphs" if plan.graphs and subject != "bare loop" else ""
    return f"{plan.precision}, {plan.batch} at a time{graphs}"


def find_subjects(
    name: str, classifier: Classifier, plan: Plan, targets: int, steps: int, wanted: str | None = None
) -> dict[str, Subject]:
    """What is compared: the engine as torchbearer's recipe and as its own, the bare loop, and each peer."""
    climber = as_planned(classifier, plan)
    subjects: dict[str, Subject] = {
        "engine": lambda: climb(climber, plain_recipe(steps), targets, plan.batch),
        "engine, default recipe": lambda: climb(climber, own_recipe(steps), targets, plan.batch),
        "bare loop": lambda: loop_bare(climber, min(targets, plan.batch), steps),
    }
    if wanted in (None, *find_peers()):
        network = build(name).to(classifier.device)  # theirs is not prepared: they take it as it comes
        for peer, draw in find_peers().items():
            subjects[peer] = lambda draw=draw: draw(network, 1, steps) or 1  # type: ignore[misc]
    return subjects


def climb(classifier: Classifier, ascent: Ascent, targets: int, at_once: int) -> int:
    slots = [Slot(target, seed=target, rate=0.5, weights=(0.01,)) for target in range(targets)]
    for _ in ascend(classifier, ascent, slots, at_once=at_once):
        pass
    return targets


def plain_recipe(steps: int) -> Ascent:
    """What torchbearer does: Adam on a sigmoid, L2."""
    size = (SIZE, SIZE)
    return Ascent(
        steps=steps, image=BoundedPixels(), size=size, start=start_zero, optimizer=Adam.start, transform=Chain(size),
        priors=(l2,),
    )  # fmt: skip


def own_recipe(steps: int) -> Ascent:
    """The default of a job: a spectrum seen through small windows, with gentler derivatives."""
    side = SIZE * 8 // 7
    return Ascent(
        steps=steps, image=Fourier((side, side)), size=(side, side), start=Normal(0.01), optimizer=Adam.start,
        transform=Window((SIZE * 5 // 7, SIZE * 5 // 7), (0.6, 1.6), 10), priors=(l2,), gentle=Gentle(0.1, 0.5),
    )  # fmt: skip


def loop_bare(classifier: Classifier, targets: int, steps: int) -> int:
    """Forward, back to the inputs, Adam: what no ascent can do without."""
    inputs = torch.zeros(targets, 3, SIZE, SIZE, device=classifier.device, requires_grad=True)
    optimizer = torch.optim.Adam([inputs], lr=0.5, maximize=True)
    rows = torch.arange(targets, device=classifier.device)
    for _ in range(steps):
        optimizer.zero_grad()
        classifier.network(inputs.to(classifier.dtype))[rows, rows].sum().backward()
        optimizer.step()
    return targets


def time_per_step(run: Subject, device: torch.device, steps: int) -> float:
    """Seconds that a target's step took."""
    synchronize(device)
    started = time.perf_counter()
    targets = run()
    synchronize(device)
    return (time.perf_counter() - started) / targets / steps


def ask_for_memory(subject: str, name: str, targets: int) -> float:
    """Peak memory of a process that does nothing else, in MB: of the GPU, or resident where there is none."""
    command = [sys.executable, "-m", "benchmarks.speed", "--memory", subject, name, "--targets", str(targets)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    return float(answer.stdout.strip().splitlines()[-1])


def measure_memory(subject: str, name: str, *, targets: int) -> float:
    device = find_device()
    with prepared(name, device) as classifier:
        plan = Plan("float32", targets, 0.0)
        find_subjects(name, classifier, plan, targets, 2, wanted=subject)[subject]()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    # Not getrusage: what that says of a child begins with its parent's peak.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def prepared(name: str, device: torch.device) -> Any:
    """The network as a worker readies it, as a context."""
    network = prepare(build(name), device)
    return open_classifier(network, mean=MEAN, std=STD, size=(SIZE, SIZE), device=device)


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    network: nn.Module = import_torchvision().models.get_model(name, weights=None, **options)
    return network.eval()


def find_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_table(rows: Sequence[dict[str, Any]]) -> str:
    heads = (
        "network",
        "subject",
        "plan",
        "ms per target and step",
        f"class models a minute, {MODEL_STEPS} steps",
        "peak MB",
    )
    lines = [f"| {' | '.join(heads)} | engine faster by |", "|---|---|---|--:|--:|--:|--:|"]
    lines += [
        f"| {row['network']} | {row['subject']} | {row['plan']} | {row['milliseconds']:.1f} | "
        f"{row['models_per_minute']:.2f} | {row['peak_megabytes']:.0f} | {row['engine_is_faster_by']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
