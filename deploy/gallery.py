"""Generates the example images: one for each method for the documentation, one for each preset for the web page.

python -m deploy.gallery    starts the service, runs the jobs, saves the images in docs/ and api/web/static, stops it
"""

import io
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

from PIL import Image

from archetype.cli.console import watch_with_bar
from archetype.client import Client
from archetype.contract.job import Job, State
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.parameters.presets import Preset
from archetype.contract.request import METHODS, REQUEST, ClassModel, ImageRequest
from deploy.command import run_command
from deploy.demo import IMAGES
from deploy.local import run_stack
from shared.settings import Settings

FOLDER = Path(__file__).parents[1] / "docs" / "methods"
PRESETS = Path(__file__).parents[1] / "api" / "web" / "static"
WIDTH, SIDE = 640, 192

REQUESTS: dict[str, dict[str, Any]] = {
    "class_model": {"targets": ["strawberry", "bee", "daisy", "sailing boat"]},
    "saliency": {"params": {"kind": "smoothgrad", "gradient": "guided"}},
    "localization": {"targets": {"top": 1}, "params": {"kind": "guided", "crops": 1}},
    "patches": {"params": {"square": 28, "stride": 4}},
    "fool": {"targets": ["ladybird"], "params": {"steps": 400}},
    "trigger": {"params": {"families": ["mask", "color", "frame", "patch"]}},
    "feature_inversion": {"params": {"layers": ["features.0", "features.2", "features.3", "features.4"], "steps": 400}},
    "deep_dream": {"targets": ["ladybird", "toadstool"], "params": {"objective": {"kind": "class"}, "side": 240}},
    "activations": {"params": {"layers": ["features.0", "features.2", "features.4"], "count": 25}},
    "filters": {"params": {"count": 32, "side": 64}},
}
"""The request of each method, without model and images."""


def make_method_images(url: str, folder: Path) -> None:
    """Runs a job of each method on a running service and saves its contact sheet, scaled down.

    Raises:
        RuntimeError: A job did not succeed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Client(url) as client:
        images = [client.upload((IMAGES / name).read_bytes()).id for name in ("bee.png", "goldfish.png")]
        for method, fields in REQUESTS.items():
            inputs = {"images": images} if issubclass(METHODS[method], ImageRequest) else {}
            request = REQUEST.validate_python({"method": method, "model": "shapes", **inputs, **fields})
            job = watch_with_bar(client.watch(client.submit(request).id, timeout=600), method)
            shrink(fetch_sheet(client, job)).save(folder / f"{method}.jpg", quality=85)


def make_preset_images(url: str, folder: Path) -> None:
    """Saves a small class visualization of the same class for each preset; skips presets whose job fails."""
    with Client(url) as client:
        for preset in get_args(Preset):
            request = ClassModel(
                method="class_model", model="shapes", targets=["strawberry"], params=ClassModelParameters(preset=preset)
            )
            job = watch_with_bar(client.watch(client.submit(request).id, timeout=600), preset)
            if job.state is not State.SUCCEEDED:
                print(f"{preset} {job.state}: {job.error.detail if job.error else 'no reason given'}", file=sys.stderr)
                continue
            artifact = next(artifact for artifact in job.artifacts if artifact.name.endswith("-strawberry.png"))
            with Image.open(io.BytesIO(client.fetch(artifact))) as image:
                image.convert("RGB").resize((SIDE, SIDE)).save(folder / f"preset-{preset}.webp", quality=80)


def fetch_sheet(client: Client, job: Job) -> Image.Image:
    """Returns the image that shows all results of a job. Raises `RuntimeError` if the job did not succeed."""
    if job.state is not State.SUCCEEDED:
        raise RuntimeError(f"{job.method} {job.state}: {job.error.detail if job.error else 'no reason given'}")
    sheet = next(artifact for artifact in job.artifacts if artifact.name in ("contact-sheet.png", "filters.png"))
    return Image.open(io.BytesIO(client.fetch(sheet))).convert("RGB")


def shrink(sheet: Image.Image) -> Image.Image:
    """Scales an image to a width of `WIDTH` pixels."""
    return sheet.resize((WIDTH, round(sheet.height * WIDTH / sheet.width)), Image.Resampling.LANCZOS)


def main() -> int:
    """Runs the command line and returns the exit code."""
    with tempfile.TemporaryDirectory() as folder, run_stack(Path(folder), Settings()) as stack:
        make_method_images(stack.url, FOLDER)
        make_preset_images(stack.url, PRESETS)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
