"""Jobs that have ended, with results that no worker computed, for tests of what shows results."""

import hashlib
import io
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from PIL import Image

from archetype.contract.job import Artifact, Job, Progress, State, TargetClass, now
from archetype.contract.request import REQUEST
from shared.media.artifact_names import file_name, file_stem
from shared.settings import Settings
from shared.state.job_ids import new_job_id
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from shared.validation.stored_request import dump_stored
from tests.support.jobs import make_spec

FENCE = 1
LEMON, BEE = TargetClass(index=0, name="lemon"), TargetClass(index=1, name="bee")
LAYERS = ("features.0", "features.2", "features.3", "features.4")
MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "npz": "application/octet-stream", "json": "application/json"}

File = tuple[str, bytes, TargetClass | None, str | None]
"""Name and content of a file, and the class and the image that it belongs to."""


def save_finished(
    settings: Settings, body: dict[str, Any], files: Iterable[File] = (), metrics: dict[str, Any] | None = None
) -> Job:
    """Stores a job that has succeeded, with its request, files and metrics."""
    storage = JobStore(Bucket(settings))
    request = REQUEST.validate_python({"model": "shapes@1"} | body)
    job_id, artifacts, keys = new_job_id(), [], {}
    spec = make_spec(**dump_stored(request))
    storage.save_spec(job_id, spec)
    for name, data, target, image in files:
        media_type = MEDIA_TYPES[name.rpartition(".")[2]]
        keys[name] = storage.save_artifact(job_id, FENCE, name, data, media_type=media_type)
        artifacts.append(describe_file(job_id, name, data, target=target, image=image))
    moment = now()
    ended = {"state": State.SUCCEEDED, "started_at": moment, "finished_at": moment, "artifacts": artifacts}
    job = spec.job(job_id).model_copy(update=ended | {"metrics": metrics or {}, "progress": Progress(done=1, total=1)})
    manifest = Manifest(job=job, fence=FENCE, keys=keys)
    storage.save_manifest(manifest)
    JobIndex(RedisClient(settings)).save_finished(manifest)
    storage.close(job_id)
    return job


def describe_file(
    job_id: str, name: str, data: bytes = b"", *, target: TargetClass | None = None, image: str | None = None
) -> Artifact:
    """The artifact of a file."""
    return Artifact(
        name=name,
        media_type=MEDIA_TYPES[name.rpartition(".")[2]],
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        href=f"/v1/jobs/{job_id}/artifacts/{name}",
        target=target,
        image=image,
    )


def draw(seed: int, side: int = 91) -> Image.Image:
    """A picture of smooth noise."""
    levels = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return Image.fromarray(levels).resize((side, side), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pack_curve(steps: int) -> bytes:
    """The `.npz` of an ascent whose objective grows by one at each step."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, picture=np.zeros((3, 4, 4), np.float32), curve=np.arange(steps, dtype=np.float32))
    return buffer.getvalue()


def animate(count: int) -> bytes:
    """An animation of so many frames."""
    frames = [draw(number, 64) for number in range(count)]
    return encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=80)


def predict(target: TargetClass, probability: float = 0.98, rank: int = 1) -> dict[str, Any]:
    """The prediction of a network for a target."""
    best = target if rank == 1 else BEE
    predicted = best.model_dump() | {"probability": 0.98}
    return {"score": 12.5, "probability": probability, "rank": rank, "predicted": predicted}


def make_class_model(settings: Settings) -> Job:
    """A class model of a lemon from two seeds, with the animation and the curve of the first."""
    stem = file_stem(LEMON)
    names: dict[str, bytes] = {
        f"{stem}.png": encode(draw(1)),
        f"{stem}.webp": animate(6),
        f"{stem}.npz": pack_curve(60),
        f"{stem}-curve.png": encode(draw(2)),
        f"{stem}-2.png": encode(draw(3)),
    }
    body = {"method": "class_model", "targets": ["lemon"], "params": {"steps": 60, "frames": 6, "seeds": [1, 2]}}
    tries = [{"seed": seed, "steps": 60, "stopped": "steps", **predict(LEMON)} for seed in (1, 2)]
    metrics = {"targets": [{"target": LEMON.model_dump(), **tries[0], "tries": tries}]}
    sheet: File = ("contact-sheet.png", encode(draw(4, 200)), None, None)
    return save_finished(settings, body, [sheet, *((name, data, LEMON, None) for name, data in names.items())], metrics)


def make_saliency(settings: Settings, image: str) -> Job:
    """The map of a lemon in an uploaded image."""
    stem = f"{image[:12]}-{file_stem(LEMON)}"
    spot = Image.fromarray((255 * np.exp(-((np.mgrid[0:91, 0:91] - 40) ** 2).sum(0) / 300)).astype(np.uint8))
    heat_map = Image.merge("RGB", (spot, spot.point(lambda level: level // 2), spot.point(lambda level: level // 4)))
    names = {f"{stem}-heat-map.png": encode(heat_map), f"{stem}-overlay.png": encode(draw(5))}
    body = {"method": "saliency", "images": [image], "targets": {"top": 2}, "params": {"kind": "smoothgrad"}}
    scale = {"limit": 0.042, "largest": 0.06, "unit": "score per unit of input", "has_sign": False}
    pair = {"image": image, "target": LEMON.model_dump(), **predict(LEMON), "scale": scale}
    metrics = {"pairs": [pair]}
    return save_finished(settings, body, [(name, data, LEMON, image) for name, data in names.items()], metrics)


def make_feature_inversion(settings: Settings, image: str) -> Job:
    """The reconstructions of an image from four layers."""
    names = [f"{image[:12]}-{file_name(layer)}.png" for layer in LAYERS]
    files = [(name, encode(draw(number)), None, image) for number, name in enumerate(names)]
    layers = [{"layer": layer, "distance": 0.1 * number, "steps": 60} for number, layer in enumerate(LAYERS)]
    metrics = {"pictures": [{"image": image, "predicted": predict(LEMON)["predicted"], "layers": layers}]}
    return save_finished(settings, {"method": "feature_inversion", "images": [image]}, files, metrics)


def make_fool(settings: Settings, image: str) -> Job:
    """An image that is changed until it is predicted as a lemon."""
    stem = f"{image[:12]}-{file_stem(LEMON)}"
    names = {f"{stem}{end}.png": encode(draw(number)) for number, end in enumerate(("", "-difference"))}
    names[f"{stem}-side-by-side.png"] = encode(draw(7, 300).resize((960, 330)))
    before, after = predict(LEMON, 0.01, rank=2), predict(LEMON, 0.93)
    change = {"linf": 0.04, "l2": 1.2, "mean": 0.002}
    pair = {"image": image, "target": LEMON.model_dump(), **after, "before": before, "after": after}
    pair |= {"fooled": True, "reached": True, "change": change, "steps": 40}
    body = {"method": "fool", "images": [image], "targets": ["lemon"]}
    files = [(name, data, LEMON, image) for name, data in names.items()]
    return save_finished(settings, body, files, {"pairs": [pair]})


MAKERS: tuple[Callable[[Settings, str], Job], ...] = (make_saliency, make_feature_inversion, make_fool)
