"""The pictures of the README's table, one of every method of the menu, and of the page, one of every preset.

python -m deploy.gallery    starts the service, asks it for them, saves them where they are shown, stops it
"""

import io
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

from PIL import Image

from deploy.demo import PICTURES
from deploy.local import run_stack
from shared.cli.terminal import watch_with_bar
from shared.client import Client
from shared.jobs import Job, State
from shared.methods import MENU, REQUEST, ClassModel, Looking
from shared.parameters.class_model import ClassModelParameters
from shared.parameters.presets import Preset
from shared.settings import Settings

FOLDER = Path(__file__).parents[1] / "docs" / "methods"
PRESETS = Path(__file__).parents[1] / "api" / "page" / "static"
WIDTH, SIDE = 640, 192

SHOWN: dict[str, dict[str, Any]] = {
    "class_model": {"targets": ["strawberry", "bee", "daisy", "sailing boat"]},
    "saliency": {"params": {"kind": "smoothgrad", "slope": "guided"}},
    "localization": {"targets": {"top": 1}, "params": {"kind": "guided", "crops": 1}},
    "patches": {"params": {"square": 28, "stride": 4}},
    "fool": {"targets": ["ladybird"], "params": {"steps": 400}},
    "feature_inversion": {"params": {"layers": ["features.0", "features.2", "features.3", "features.4"], "steps": 400}},
    "deep_dream": {"targets": ["ladybird", "toadstool"], "params": {"objective": {"kind": "class"}, "side": 240}},
    "activations": {"params": {"layers": ["features.0", "features.2", "features.4"], "count": 25}},
    "filters": {"params": {"count": 32, "side": 64}},
}
"""What is asked of each method."""


def make(url: str, folder: Path) -> None:
    """Runs a job of every method against a running service, and saves its sheet, made smaller.

    Raises:
        RuntimeError: A job did not succeed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Client(url) as client:
        images = [client.upload((PICTURES / name).read_bytes()).id for name in ("bee.png", "goldfish.png")]
        for method, asked in SHOWN.items():
            looks = {"images": images} if issubclass(MENU[method], Looking) else {}
            request = REQUEST.validate_python({"method": method, "model": "shapes", **looks, **asked})
            job = watch_with_bar(client.watch(client.submit(request).id, timeout=600), method)
            shrink(fetch_sheet(client, job)).save(folder / f"{method}.jpg", quality=85)


def make_presets(url: str, folder: Path) -> None:
    """The same class by every preset, small, for the page's form; none of what comes to nothing on this network."""
    with Client(url) as client:
        for preset in get_args(Preset):
            request = ClassModel(
                method="class_model", model="shapes", targets=["strawberry"], params=ClassModelParameters(preset=preset)
            )
            job = watch_with_bar(client.watch(client.submit(request).id, timeout=600), preset)
            if job.state is not State.SUCCEEDED:
                print(f"{preset} {job.state}: {job.error.detail if job.error else 'no reason given'}", file=sys.stderr)
                continue
            picture = next(one for one in job.artifacts if one.name.endswith("-strawberry.png"))
            with Image.open(io.BytesIO(client.fetch(picture))) as drawn:
                drawn.convert("RGB").resize((SIDE, SIDE)).save(folder / f"preset-{preset}.webp", quality=80)


def fetch_sheet(client: Client, job: Job) -> Image.Image:
    """The one picture that shows all of a job."""
    if job.state is not State.SUCCEEDED:
        raise RuntimeError(f"{job.method} {job.state}: {job.error.detail if job.error else 'no reason given'}")
    sheet = next(one for one in job.artifacts if one.name in ("contact-sheet.png", "filters.png"))
    return Image.open(io.BytesIO(client.fetch(sheet))).convert("RGB")


def shrink(sheet: Image.Image) -> Image.Image:
    return sheet.resize((WIDTH, round(sheet.height * WIDTH / sheet.width)), Image.Resampling.LANCZOS)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, run_stack(Path(folder), Settings()) as stack:
        make(stack.url, FOLDER)
        make_presets(stack.url, PRESETS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
