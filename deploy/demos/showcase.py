"""Draws the gallery of the first page: what SqueezeNet has learned of every tenth class of ImageNet.

python -m deploy.demos.showcase CATALOGUE    draws the classes and saves them in api/web/static/showcase

The catalogue must have the models `squeezenet` and `mobilenetv2`, as benchmarks/models.toml has them.
"""

import argparse
import io
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from PIL import Image, ImageSequence

from api.web.results.showcase import FOLDER, INDEX, DrawnClass, Judgement, Showcase
from archetype.cli.console import watch_with_bar
from archetype.client import Client
from archetype.contract.job import Artifact, Job, State
from archetype.contract.parameters.ascent import list_frame_steps
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.request import ClassModel
from deploy.command import run_command
from deploy.local import run_stack
from shared.settings import Settings

MODEL, JUDGE, NETWORK = "squeezenet", "mobilenetv2", "SqueezeNet 1.0"
CLASSES = range(7, 1000, 10)
SEEDS = [0, 1]
FRAMES = 6
SIDE, SEED_SIDE, FRAME_SIDE = 192, 128, 80
QUALITIES = (60, 50, 40, 30, 20)
"""Qualities of the images; the first with which they are small enough is used."""

MAX_BYTES = 1_400_000
"""Size of all images together."""


def draw(url: str) -> tuple[Showcase, dict[str, bytes]]:
    """Draws the classes on a running service; returns what is shown, and the images by name.

    Raises:
        RuntimeError: The job did not succeed.
    """
    params = ClassModelParameters(seeds=SEEDS, extras=True, frames=FRAMES, judges=[JUDGE])
    request = ClassModel(method="class_model", model=MODEL, targets=list(CLASSES), params=params)
    with Client(url, timeout=120) as client:
        job = watch_with_bar(client.watch(client.submit(request).id, timeout=4 * 3600), "showcase")
        if job.state is not State.SUCCEEDED:
            raise RuntimeError(f"the job {job.state}: {job.error.detail if job.error else 'no reason given'}")
        shown = [image for index, files in group_files(job).items() for image in read_images(client, index, files)]
    steps = [*list_frame_steps(params.steps, FRAMES), params.steps]
    classes = [describe(entry) for entry in job.metrics["targets"]]
    showcase = Showcase(model=job.model, network=NETWORK, judge="MobileNetV2", steps=steps, classes=classes)
    return showcase, encode_all(shown)


def group_files(job: Job) -> dict[int, list[Artifact]]:
    """The artifacts of each class, by index, the best image first."""
    files = defaultdict[int, list[Artifact]](list)
    for artifact in job.artifacts:
        if artifact.target is not None:
            files[artifact.target.index].append(artifact)
    return files


def read_images(client: Client, index: int, files: list[Artifact]) -> list[tuple[str, Image.Image]]:
    """The images of a class: the best, the other seed, and the steps of the ascent beside each other."""
    results = [file for file in files if file.name.endswith(".png") and not file.name.endswith("-curve.png")]
    best, other = [Image.open(io.BytesIO(client.fetch(file))) for file in results]
    animation = next(file for file in files if file.media_type == "image/webp")
    frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(Image.open(io.BytesIO(client.fetch(animation))))]
    strip = Image.new("RGB", (FRAME_SIDE * len(frames), FRAME_SIDE))
    for number, frame in enumerate(frames):
        strip.paste(scale(frame, FRAME_SIDE), (FRAME_SIDE * number, 0))
    shown = {"": scale(best, SIDE), "-seed": scale(other, SEED_SIDE), "-ascent": strip}
    return [(f"{index}{suffix}.webp", image) for suffix, image in shown.items()]


def scale(image: Image.Image, side: int) -> Image.Image:
    """Scales an image to a square."""
    return image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def encode_all(images: list[tuple[str, Image.Image]]) -> dict[str, bytes]:
    """Encodes images as WebP, with the best quality with which they are small enough, or the lowest."""
    encoded: dict[str, bytes] = {}
    for quality in QUALITIES:
        encoded = {name: encode(image, quality) for name, image in images}
        if sum(map(len, encoded.values())) <= MAX_BYTES:
            break
    return encoded


def encode(image: Image.Image, quality: int) -> bytes:
    """Encodes an image as WebP."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


def describe(entry: dict[str, Any]) -> DrawnClass:
    """What is shown of a class, from the metrics of its target."""
    tries = entry.get("tries", [entry])
    return DrawnClass(
        index=entry["target"]["index"],
        name=entry["target"]["name"],
        probabilities=[each["probability"] for each in tries],
        judged=[judge(prediction) for each in tries for prediction in each["judges"].values()],
    )


def judge(prediction: dict[str, Any]) -> Judgement:
    """What the other network sees in an image."""
    predicted = prediction["predicted"]
    return Judgement(rank=prediction["rank"], name=predicted["name"], probability=predicted["probability"])


def main() -> int:
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path, help="models.toml with squeezenet and mobilenetv2")
    settings = Settings(catalogue=parser.parse_args().catalogue.resolve())
    with tempfile.TemporaryDirectory() as folder, run_stack(Path(folder), settings, workers=1) as stack:
        showcase, images = draw(stack.url)
    FOLDER.mkdir(exist_ok=True)
    for name, data in images.items():
        (FOLDER / name).write_bytes(data)
    INDEX.write_text(showcase.model_dump_json(indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
