"""Saliency, as a client gets it."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from shared.catalogue import load_catalogue
from shared.client import Client
from shared.jobs import State
from shared.methods import Saliency
from tests.conftest import write_catalogue
from tests.worker.engine.test_saliency import assert_equals_captum
from worker.networks import load_network
from worker.preprocess import crop_view, to_tensor
from worker.shapes.drawing import CLASSES, draw_picture


def drawn(label: int, seed: int) -> bytes:
    buffer = io.BytesIO()
    draw_picture(label, np.random.default_rng(seed)).picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_without_targets_each_picture_is_asked_for_what_it_shows(client: Client) -> None:
    labels = [0, 4, 7]
    images = [client.upload(drawn(label, 50 + label)).id for label in labels]
    job = client.wait(client.submit(Saliency(method="saliency", model="shapes", images=images)).id, timeout=60)
    assert job.state is State.SUCCEEDED
    assert [pair["target"]["name"] for pair in job.metrics["pairs"]] == [CLASSES[label] for label in labels]
    assert [pair["image"] for pair in job.metrics["pairs"]] == images
    assert sum(artifact.name.endswith("-overlay.png") for artifact in job.artifacts) == 3


def test_every_picture_is_paired_with_every_target(client: Client) -> None:
    images = [client.upload(drawn(label, 60 + label)).id for label in range(7)]
    request = Saliency(method="saliency", model="shapes", images=[*images, images[0]], targets=["lemon", 3, "bee"])
    job = client.wait(client.submit(request).id, timeout=60)
    pairs = [(pair["image"], pair["target"]["index"]) for pair in job.metrics["pairs"]]
    assert pairs == [(image, target) for image in images for target in (0, 3, 7)]
    assert (job.progress.done, job.progress.unit) == (21, "map")
    heat_map = next(
        artifact for artifact in job.artifacts if artifact.image == images[2] and artifact.target.index == 3
    )
    assert Image.open(io.BytesIO(client.fetch(heat_map))).size == (80, 80)


def test_squeezenets_saliency_equals_captums_on_real_pictures(models: Path, images: Path, tmp_path: Path) -> None:
    release = load_catalogue(write_catalogue(tmp_path)).find("squeezenet")
    network = load_network(release, {}, torch.device("cpu")).network
    paths = [images / "imagenet" / name for name in ("951_lemon.jpg", "130_flamingo.jpg", "340_zebra.jpg")]
    views = [to_tensor(crop_view(Image.open(path).convert("RGB"), release.preprocessing)) for path in paths]
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (release.preprocessing.mean, release.preprocessing.std)
    )
    assert_equals_captum(network, (torch.stack(views) - mean) / std, torch.tensor([951, 130, 340]))
