"""Audits, measured: how often the null control fails a gate, and how long an audit of real networks takes.

python -m benchmarks.audits controls --count 20    `shapes` against itself by other seeds: no gate may fail
python -m benchmarks.audits retrained --count 10   two networks that learned the same from other seeds: likewise
python -m benchmarks.audits cifar                  ResNet-20 held against ResNet-56: ten classes, fifty pictures
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

from deploy.audit_demo import MODEL, make_plan, write_catalogue
from deploy.local import run_stack
from shared.audits import AuditView, NewAudit
from shared.client import Client
from shared.methods import ClassModel
from shared.parameters.audit import Plan, Probe
from shared.parameters.class_model import ClassModelParameters
from shared.settings import Settings

SHARED = Path(__file__).parents[2] / "shared"
PICTURES_PER_CLASS = 5

SEEDS = 3
"""Of each series of an audit."""


def choose_seeds(number: int) -> dict[str, list[int]]:
    """Series of an audit that no other control has; the baseline's first is every control's."""
    first = 1000 + number * 2 * SEEDS
    return {
        "seeds": [1, 2, 3],
        "subject_seeds": list(range(first, first + SEEDS)),
        "noise_seeds": list(range(first + SEEDS, first + 2 * SEEDS)),
    }


def try_control(
    client: Client, number: int, probes: list[Probe], *, model: str = "shapes", baseline: str = "shapes", **more: Any
) -> AuditView:
    """An audit of a network against itself, or another in which nothing should be found."""
    plan = Plan.model_validate({"name": "control", "probes": probes, **choose_seeds(number), **more})
    new = NewAudit(model=model, plan=plan, baselines=[baseline], tags=["control"])
    *_, ended = client.watch_audit(client.audit(new).id, timeout=1800)
    return ended


def sum_up(audits: list[AuditView]) -> dict[str, Any]:
    """How many came to which verdict, and what was flagged."""
    flagged = Counter(f"{one.severity} {one.gate}" for audit in audits for one in audit.findings)
    return {
        "controls": len(audits),
        "no gate failed": sum(audit.verdict in ("pass", "warn") for audit in audits),
        "verdicts": dict(Counter(str(audit.verdict) for audit in audits)),
        "findings": dict(flagged),
    }


def try_controls(client: Client, count: int, model: str = "shapes", baseline: str = "shapes") -> dict[str, Any]:
    """That many controls, one after another."""
    audits, probes = [], make_plan(client).probes
    for number in range(count):
        audits.append(try_control(client, number, probes, model=model, baseline=baseline))
        print(f"control {number + 1}: {audits[-1].summary}", flush=True)
    return sum_up(audits)


def audit_cifar(client: Client, folder: Path) -> dict[str, Any]:
    """ResNet-20 held against ResNet-56, which both have worked before; the report is saved."""
    pictures = sorted((SHARED / "images" / "cifar10").glob("*.png"))
    chosen = [path for path in pictures if int(path.stem.rpartition("_")[2]) < PICTURES_PER_CLASS]
    probes = [Probe(id=client.upload(path.read_bytes()).id, target=int(path.name.partition("_")[0])) for path in chosen]
    for model in ("resnet20", "resnet56"):
        quick = ClassModelParameters(steps=2, extras=False)
        client.wait(client.submit(ClassModel(method="class_model", model=model, targets=[0], params=quick)).id)
    began = time.monotonic()
    new = NewAudit(model="resnet20", plan=Plan(name="cifar", probes=probes), baselines=["resnet56"])
    *_, ended = client.watch_audit(client.audit(new).id, timeout=1800)
    seconds = time.monotonic() - began
    client.save_artifacts(ended.artifacts, folder)
    return {"seconds": round(seconds, 1), "probes": len(probes), "summary": ended.summary, "report": str(folder)}


def choose_settings(what: str, folder: Path) -> Settings:
    """With the networks that are audited in the catalogue."""
    if what == "controls":
        return Settings()
    if what == "retrained":
        return Settings(catalogue=write_catalogue(folder))
    factories = {"cifar_resnet": "benchmarks.cifar_resnet:cifar_resnet"}
    return Settings(catalogue=Path(__file__).with_name("models.toml"), factories=factories)


def run(what: str, count: int, client: Client) -> dict[str, Any]:
    if what == "controls":
        return try_controls(client, count)
    if what == "retrained":
        pairs = permutations(f"{MODEL}@{release}" for release in ("v1", "v2"))
        return {f"{ours} beside {theirs}": try_controls(client, count // 2, ours, theirs) for ours, theirs in pairs}
    return audit_cifar(client, Path("var/bench/cifar-audit"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("controls", "retrained", "cifar"))
    parser.add_argument("--count", type=int, default=20, help="controls")
    options = parser.parse_args()
    if options.what == "cifar" and not SHARED.is_dir():
        parser.error("needs the real networks and pictures in ../shared, which are not beside this checkout")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            run_stack(folder, choose_settings(options.what, folder)) as stack,
            Client(stack.url, timeout=120) as client,
        ):
            print(json.dumps(run(options.what, options.count, client), indent=1))


if __name__ == "__main__":
    main()
