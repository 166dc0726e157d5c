"""Generates the example images: of each method for the documentation, of the presets of each method for the web page.

python -m deploy.demos.gallery    starts the service, runs the jobs, saves the images in docs/ and api/web/static
"""

import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageStat

from archetype.cli.console import watch_with_bar
from archetype.client import Client
from archetype.contract.job import Artifact, Job, State
from archetype.contract.request import METHODS, REQUEST, ImageRequest
from deploy.command import run_command
from deploy.demos.demo import IMAGES
from deploy.local import run_stack
from shared.settings import Settings

FOLDER = Path(__file__).parents[2] / "docs" / "methods"
PRESETS = Path(__file__).parents[2] / "api" / "web" / "static"
WIDTH, SIDE = 640, 192

REQUESTS: dict[str, dict[str, Any]] = {
    "class_model": {"targets": ["strawberry", "bee", "daisy", "sailing boat"]},
    "saliency": {"params": {"kind": "smoothgrad", "gradient": "guided"}},
    "localization": {"targets": {"top": 1}, "params": {"kind": "guided", "crops": 1}},
    "patches": {"params": {"square": 28, "stride": 4}},
    "fool": {"targets": ["ladybird"], "params": {"steps": 400}},
    "trigger": {
        "targets": ["lemon", "strawberry", "daisy", "ladybird"],
        "params": {"families": ["mask", "patch"], "suspicious": 2},
    },
    "feature_inversion": {"params": {"layers": ["features.0", "features.2", "features.3", "features.4"], "steps": 400}},
    "deep_dream": {"targets": ["ladybird", "toadstool"], "params": {"objective": {"kind": "class"}, "side": 240}},
    "activations": {"params": {"layers": ["features.0", "features.2", "features.4"], "count": 25}},
    "filters": {"params": {"count": 32, "side": 64}},
}
"""The request of each method, without model and images."""


PRESET_REQUESTS: dict[str, dict[str, Any]] = {
    "class_model": {"targets": ["strawberry"]},
    "fool": {"targets": ["ladybird"]},
    "feature_inversion": {"params": {"layers": ["features.2"]}},
    "deep_dream": {"targets": ["ladybird"], "params": {"objective": {"kind": "class"}}},
}
"""The request with which the presets of each method are shown, without model and image."""

BLANK = 12
"""An image whose channels all have a smaller standard deviation (0 to 255) shows nothing."""


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


def make_preset_images(url: str, folder: Path, methods: Sequence[str] = tuple(PRESET_REQUESTS)) -> None:
    """Saves a small result of the same request for each preset of methods; skips presets with nothing to show."""
    with Client(url) as client:
        image = client.upload((IMAGES / "goldfish.png").read_bytes()).id
        for method in methods:
            inputs = {"images": [image]} if issubclass(METHODS[method], ImageRequest) else {}
            request = {"method": method, "model": "shapes", **inputs, **PRESET_REQUESTS[method]}
            for preset in type(METHODS[method].model_fields["params"].default).PRESETS:
                params = {**request.get("params", {}), "preset": preset}
                job = client.submit(REQUEST.validate_python(request | {"params": params}))
                job = watch_with_bar(client.watch(job.id, timeout=600), f"{method} {preset}")
                save_preset_image(client, job, folder / f"preset-{method}-{preset}.webp")


def save_preset_image(client: Client, job: Job, path: Path) -> None:
    """Saves the first result of a job, scaled down, or removes the file and prints why there is nothing to show."""
    path.unlink(missing_ok=True)
    if job.state is not State.SUCCEEDED:
        print(f"{path.name}: {job.state}: {job.error.detail if job.error else 'no reason given'}", file=sys.stderr)
        return
    suffix = "-difference.png" if job.method == "fool" else ".png"  # the changed image looks like the original
    artifact = next(artifact for artifact in job.artifacts if artifact.name.endswith(suffix) and has_owner(artifact))
    with Image.open(io.BytesIO(client.fetch(artifact))) as image:
        shown = image.convert("RGB").resize((SIDE, SIDE))
    if max(ImageStat.Stat(shown).stddev) < BLANK:
        print(f"{path.name}: the image shows nothing", file=sys.stderr)
        return
    shown.save(path, quality=80)


def has_owner(artifact: Artifact) -> bool:
    """Whether an artifact belongs to a class or an image, not to the whole job."""
    return artifact.target is not None or artifact.image is not None


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
