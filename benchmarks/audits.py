"""Benchmark of audits: how often a null control fails a gate, and the run time of an audit of real networks.

python -m benchmarks.audits controls --count 20    `shapes` compared with itself with other seeds: no gate should fail
python -m benchmarks.audits retrained --count 10   two networks trained with different seeds: no gate should fail
python -m benchmarks.audits speed                  twelve classes, sixty probes: unknown baseline, known, identical
python -m benchmarks.audits cifar                  ResNet-20 compared with ResNet-56: ten classes, fifty images
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

from archetype.client import Client
from archetype.contract.audit import AuditView, NewAudit
from archetype.contract.audit_plan import AuditPlan, Probe
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.request import ClassModel
from deploy.audit_demo import MODEL, make_plan, write_catalogue
from deploy.local import run_stack
from shared.settings import Settings

SHARED = Path(__file__).parents[2] / "shared"
IMAGES_PER_CLASS = 5

SEEDS = 3
"""The number of seeds in each series of an audit."""


def choose_seeds(number: int) -> dict[str, list[int]]:
    """Returns the seeds of a control. Only the first series of the baseline is the same in all controls."""
    first = 1000 + number * 2 * SEEDS
    return {
        "seeds": [1, 2, 3],
        "subject_seeds": list(range(first, first + SEEDS)),
        "noise_seeds": list(range(first + SEEDS, first + 2 * SEEDS)),
    }


def run_control(
    client: Client, number: int, probes: list[Probe], *, model: str = "shapes", baseline: str = "shapes", **more: Any
) -> AuditView:
    """Audits a model with a baseline from which it should not differ, by default itself."""
    plan = AuditPlan.model_validate({"name": "control", "probes": probes, **choose_seeds(number), **more})
    new = NewAudit(model=model, plan=plan, baselines=[baseline], tags=["control"])
    *_, ended = client.watch_audit(client.audit(new).id, timeout=1800)
    return ended


def summarize(audits: list[AuditView]) -> dict[str, Any]:
    """Counts the verdicts and the findings."""
    findings = Counter(f"{finding.severity} {finding.gate}" for audit in audits for finding in audit.findings)
    return {
        "controls": len(audits),
        "no gate failed": sum(audit.verdict in ("pass", "warn") for audit in audits),
        "verdicts": dict(Counter(str(audit.verdict) for audit in audits)),
        "findings": dict(findings),
    }


def run_controls(client: Client, count: int, model: str = "shapes", baseline: str = "shapes") -> dict[str, Any]:
    """Runs a number of controls one after another."""
    audits, probes = [], make_plan(client).probes
    for number in range(count):
        audits.append(run_control(client, number, probes, model=model, baseline=baseline))
        print(f"control {number + 1}: {audits[-1].summary}", flush=True)
    return summarize(audits)


def time_audits(client: Client) -> dict[str, Any]:
    """Audits three releases of the demo with one baseline, of which only the first audit computes the results."""
    plan, results = make_plan(client), {}
    for release, case in (("v2", "unknown baseline"), ("v4", "known baseline"), ("v5", "identical")):
        new = NewAudit(model=f"{MODEL}@{release}", plan=plan, baselines=[f"{MODEL}@v1"])
        began = time.monotonic()
        *_, ended = client.watch_audit(client.audit(new).id, timeout=1800)
        results[case] = {"seconds": round(time.monotonic() - began, 1), "summary": ended.summary}
    return results


def audit_cifar(client: Client, folder: Path) -> dict[str, Any]:
    """Audits ResNet-20 with ResNet-56 as the baseline, after a short job on each; saves the report."""
    images = sorted((SHARED / "images" / "cifar10").glob("*.png"))
    selected = [path for path in images if int(path.stem.rpartition("_")[2]) < IMAGES_PER_CLASS]
    probes = [
        Probe(id=client.upload(path.read_bytes()).id, target=int(path.name.partition("_")[0])) for path in selected
    ]
    for model in ("resnet20", "resnet56"):
        quick = ClassModelParameters(steps=2, extras=False)
        client.wait(client.submit(ClassModel(method="class_model", model=model, targets=[0], params=quick)).id)
    began = time.monotonic()
    new = NewAudit(model="resnet20", plan=AuditPlan(name="cifar", probes=probes), baselines=["resnet56"])
    *_, ended = client.watch_audit(client.audit(new).id, timeout=1800)
    seconds = time.monotonic() - began
    client.save_artifacts(ended.artifacts, folder)
    return {"seconds": round(seconds, 1), "probes": len(probes), "summary": ended.summary, "report": str(folder)}


def choose_settings(benchmark: str, folder: Path) -> Settings:
    """Returns settings with a catalogue of the networks to audit."""
    if benchmark == "controls":
        return Settings()
    if benchmark in ("retrained", "speed"):
        return Settings(catalogue=write_catalogue(folder))
    factories = {"cifar_resnet": "benchmarks.cifar_resnet:cifar_resnet"}
    return Settings(catalogue=Path(__file__).with_name("models.toml"), factories=factories)


def run(benchmark: str, count: int, client: Client) -> dict[str, Any]:
    """Runs a benchmark and returns its results."""
    if benchmark == "controls":
        return run_controls(client, count)
    if benchmark == "speed":
        return time_audits(client)
    if benchmark == "retrained":
        pairs = permutations(f"{MODEL}@{release}" for release in ("v1", "v2"))
        return {
            f"{subject} compared with {baseline}": run_controls(client, count // 2, subject, baseline)
            for subject, baseline in pairs
        }
    return audit_cifar(client, Path("var/bench/cifar-audit"))


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=("controls", "retrained", "speed", "cifar"))
    parser.add_argument("--count", type=int, default=20, help="number of controls")
    options = parser.parse_args()
    if options.benchmark == "cifar" and not SHARED.is_dir():
        parser.error("needs the real networks and images in ../shared")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            run_stack(folder, choose_settings(options.benchmark, folder)) as stack,
            Client(stack.url, timeout=120) as client,
        ):
            print(json.dumps(run(options.benchmark, options.count, client), indent=1))


if __name__ == "__main__":
    main()
