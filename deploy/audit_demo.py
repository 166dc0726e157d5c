"""What `make demo-audit` shows: four releases of a network held against the first, as a scheduled audit would.

v2 was trained by the same recipe with another seed. v3 learned from pictures of which some of one class had a small
coloured patch. v4 learned from labels of which a tenth were swapped between two classes. v5 is v1 in another file.
"""

import argparse
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from deploy.local import run_stack
from shared.audits import AuditView, NewAudit
from shared.cli.audit import watch_with_bar
from shared.client import Client
from shared.parameters.audit import Plan, Probe
from shared.parameters.subjects import TrueBox
from shared.settings import Settings
from worker.shapes.drawing import CLASSES, draw_numbered

RELEASES = Path(__file__).parent / "releases"
FIRST = Path(__file__).parents[1] / "worker" / "shapes" / "weights.safetensors"
MODEL = "drawings"
PROBES, PROBE_SEED = 60, 5_000_003
"""Pictures that both releases look at: so many, of a seed that no network learned from."""

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
    """A catalogue of the five releases."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "models.toml"
    path.write_text(describe_releases(folder))
    return path


def describe_releases(folder: Path) -> str:
    """The five releases as a catalogue has them; what v5 has, v1 copied, is written into the folder."""
    weights = {f"v{number}": RELEASES / f"v{number}.safetensors" for number in (2, 3, 4)}
    weights |= {"v1": FIRST, "v5": folder / "v5.safetensors"}
    save_file(load_file(FIRST), weights["v5"], metadata={"copied": "from v1"})
    classes = json.dumps(CLASSES)
    return "".join(
        ENTRY.format(model=MODEL, release=release, weights=weights[release], classes=classes)
        for release in sorted(weights)
    )


def make_plan(client: Client, probes: Iterable[int] = range(PROBES), **more: Any) -> Plan:
    """Every class, and pictures with boxes, by their numbers in the series."""
    return Plan(name="demo", probes=[upload_probe(client, number) for number in probes], **more)


def upload_probe(client: Client, number: int) -> Probe:
    drawing, buffer = draw_numbered(number, PROBE_SEED), io.BytesIO()
    drawing.picture.save(buffer, "PNG")
    left, top, right, bottom = drawing.box
    box = TrueBox(left=left, top=top, right=right, bottom=bottom)
    return Probe(id=client.upload(buffer.getvalue()).id, target=drawing.label, boxes=[box])


def audit(client: Client, plan: Plan, release: str, folder: Path) -> AuditView:
    """The audit of a release beside the first, with its report saved."""
    new = NewAudit(model=f"{MODEL}@{release}", plan=plan, baselines=[f"{MODEL}@v1"], tags=["demo"])
    ended = watch_with_bar(client, client.audit(new), timeout=1800)
    if ended.verdict is None:
        raise RuntimeError(
            f"audit {ended.id} {ended.state}: {ended.error.detail if ended.error else 'no reason given'}"
        )
    client.save_artifacts(ended.artifacts, folder / release)
    return ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("var/demo-audit"), help="where data and reports go")
    parser.add_argument("releases", nargs="*", default=["v5", "v2", "v4", "v3"], help="which to audit")
    options = parser.parse_args()
    folder = options.folder.resolve()
    settings = Settings().model_copy(update={"catalogue": write_catalogue(folder)})
    try:
        with run_stack(folder, settings) as stack, Client(stack.url, timeout=120) as client:
            plan = make_plan(client)
            for release in options.releases:
                ended = audit(client, plan, release, folder)
                print(f"{release} beside v1: {ended.summary}")
                print(f"    {options.folder / release / 'report.html'}", flush=True)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
