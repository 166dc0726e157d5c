"""The demo of `make demo-audit`: audits four releases of a network with the first release as the baseline.

v2: the same training with another seed. v3: some training images of one class contained a small colored patch.
v4: a tenth of the labels of two classes were swapped. v5: the weights of v1 in another file.
"""

import argparse
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from archetype.cli.audits import watch_with_bar
from archetype.client import Client
from archetype.contract.audit import AuditView, NewAudit
from archetype.contract.audit_plan import AuditPlan, Probe
from archetype.contract.parameters.inputs import TrueBox
from deploy.command import run_command
from deploy.local import run_stack
from shared.settings import Settings
from worker.shapes.drawing import CLASSES, draw_numbered

RELEASES = Path(__file__).parent / "releases"
FIRST = Path(__file__).parents[1] / "worker" / "shapes" / "weights.safetensors"
MODEL = "drawings"
PROBES, PROBE_SEED = 60, 5_000_003
"""Number of probes, and the seed of their drawings, which is none of the seeds of the training data."""

ENTRY = """
[[model]]
name = "{model}"
release = "{release}"
architecture = "builtin:shapes"
weights = "{weights}"
classes = {classes}
preprocessing = {{ size = [80, 80], mean = [0.5, 0.5, 0.5], std = [0.25, 0.25, 0.25] }}
"""


def write_catalogue(folder: Path) -> Path:
    """Writes a catalogue of the five releases and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "models.toml"
    path.write_text(describe_releases(folder))
    return path


def describe_releases(folder: Path) -> str:
    """Returns the catalogue entries of the five releases. Writes the weights of v5, a copy of v1, into the folder."""
    weights = {f"v{number}": RELEASES / f"v{number}.safetensors" for number in (2, 3, 4)}
    weights |= {"v1": FIRST, "v5": folder / "v5.safetensors"}
    save_file(load_file(FIRST), weights["v5"], metadata={"copied": "from v1"})
    classes = json.dumps(CLASSES)
    return "".join(
        ENTRY.format(model=MODEL, release=release, weights=weights[release], classes=classes)
        for release in sorted(weights)
    )


def make_plan(client: Client, probes: Iterable[int] = range(PROBES), **more: Any) -> AuditPlan:
    """Returns a plan for all classes. Uploads the probes, given by the numbers of their drawings."""
    return AuditPlan(name="demo", probes=[upload_probe(client, number) for number in probes], **more)


def upload_probe(client: Client, number: int) -> Probe:
    """Uploads a drawing and returns it as a probe with its class and bounding box."""
    drawing, buffer = draw_numbered(number, PROBE_SEED), io.BytesIO()
    drawing.image.save(buffer, "PNG")
    left, top, right, bottom = drawing.box
    box = TrueBox(left=left, top=top, right=right, bottom=bottom)
    return Probe(
        id=client.upload(buffer.getvalue()).id, target=drawing.label, name=f"drawing-{number:03}.png", boxes=[box]
    )


def audit(client: Client, plan: AuditPlan, release: str, folder: Path) -> AuditView:
    """Audits a release with v1 as the baseline and saves the report. Raises `RuntimeError` if there is no verdict."""
    new = NewAudit(model=f"{MODEL}@{release}", plan=plan, baselines=[f"{MODEL}@v1"], tags=["demo"])
    ended = watch_with_bar(client, client.audit(new), timeout=1800)
    if ended.verdict is None:
        reason = ended.error.detail if ended.error else "no reason given"
        raise RuntimeError(f"audit {ended.id} {ended.state}: {reason}")
    client.save_artifacts(ended.artifacts, folder / release)
    return ended


def main() -> int:
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("var/demo-audit"), help="folder for data and reports")
    parser.add_argument("releases", nargs="*", default=["v5", "v2", "v4", "v3"], help="releases to audit")
    options = parser.parse_args()
    folder = options.folder.resolve()
    settings = Settings().model_copy(update={"catalogue": write_catalogue(folder)})
    with run_stack(folder, settings) as stack, Client(stack.url, timeout=120) as client:
        plan = make_plan(client)
        for release in options.releases:
            ended = audit(client, plan, release, folder)
            print(f"{release} compared with v1: {ended.summary}")
            print(f"    {options.folder / release / 'report.html'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
