"""Requests of the scenarios: jobs with one file per target.

Short jobs are of the built-in network. Longer ones are of a network that waits, so that they take the same time on
every machine, and as long if several run.
"""

import io
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.request import ClassModel, Saliency
from tests.support.slow_network import NOT_FLAT

NAMES = ("lemon", "strawberry", "watermelon", "ladybird", "goldfish", "daisy", "bee", "die", "sailing boat")

ARTIFACT = r"jobs/{id}/attempts/\d+/[^/]+\.png"
MANIFEST = r"jobs/{id}/(manifests/\d+|(attempts/\d+/)?manifest)\.json"
REQUEST = r"jobs/[^/]+/request\.json"
"""Regular expressions of keys in the bucket, for the proxy."""


def small(random: Random, *tags: str, model: str = "shapes") -> ClassModel:
    """A job of some tenths of a second."""
    return _draw(random.sample(NAMES, 2), steps=random.randint(3, 12), tags=tags, model=model)


def long(random: Random, *tags: str, steps: int = 150, bulk: bool = False) -> ClassModel:
    """A job of some seconds, so that a fault can hit it while it runs."""
    return _draw(random.sample(NAMES, 3), steps=steps, tags=tags, bulk=bulk, model="wait", **NOT_FLAT)


def medium(random: Random, *tags: str) -> ClassModel:
    """A job of one or two seconds, for faults that hit it while it saves."""
    return long(random, *tags, steps=40)


def bad(model: str) -> ClassModel:
    """A job of one of the faulty networks."""
    return _draw(["one"], steps=4, model=model)


def explain(random: Random, image: str, *tags: str) -> Saliency:
    """Saliency maps of an uploaded image."""
    return Saliency(
        method="saliency",
        model="shapes",
        targets=random.sample(NAMES, 2),
        images=[image],
        tags=list(tags),
        params=SaliencyParameters(outputs=["heat_map"]),
    )


def explain_many(random: Random, images: list[str], *tags: str) -> Saliency:
    """Saliency maps of some seconds, in several shards."""
    return Saliency(
        method="saliency",
        model="wait",
        targets=random.sample(NAMES, 4),
        images=images,
        tags=list(tags),
        params=SaliencyParameters(kind="smoothgrad", outputs=["heat_map"]),
    )


def paint(random: Random) -> bytes:
    """A PNG image that has not been uploaded before."""
    levels = np.random.default_rng(random.getrandbits(32)).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    return buffer.getvalue()


def _draw(
    targets: list[str],
    *,
    steps: int,
    tags: tuple[str, ...] = (),
    model: str = "shapes",
    bulk: bool = False,
    **params: Any,
) -> ClassModel:
    return ClassModel(
        method="class_model",
        model=model,
        targets=list(targets),
        priority="bulk" if bulk else "interactive",
        tags=list(tags),
        params=ClassModelParameters(steps=steps, extras=False, **params),
    )
