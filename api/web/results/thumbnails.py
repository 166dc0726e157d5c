"""Small images of the results of jobs, for lists."""

import io
from collections.abc import Iterator

from PIL import Image

from api.web.results.gallery import arrange_gallery, find_overview
from archetype.contract.job import Artifact, Job

SIDE = 160
"""Longest side of a thumbnail in pixels."""

ROLES = ("overlay", "box", "difference", "image", "marked", "heat_map")
"""What shows the result of an item best, the best first."""


def choose_artifact(job: Job) -> Artifact | None:
    """Returns the image that represents the result of a job; None if it has none."""
    return next(_list_images(job), None) or find_overview(job)


def shrink(data: bytes) -> bytes:
    """Returns a PNG as a small WebP."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        small.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def _list_images(job: Job) -> Iterator[Artifact]:
    for item in arrange_gallery(job):
        yield from (item.images[role] for role in ROLES if role in item.images)
