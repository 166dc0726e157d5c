"""Saliency on a real network."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from shared.catalogue.catalogue import load_catalogue
from tests.conftest import write_catalogue
from tests.support.attributions import assert_equals_captum
from worker.engine.attribution.gradient import gradient
from worker.inputs.preprocess import to_tensor
from worker.inputs.view import crop_levels
from worker.models.loader import Loader


def test_saliency_of_squeezenet_equals_that_of_captum_on_real_images(
    models: Path, images: Path, tmp_path: Path
) -> None:
    release = load_catalogue(write_catalogue(tmp_path)).find("squeezenet")
    network = Loader().load(release, torch.device("cpu")).network
    paths = [images / "imagenet" / name for name in ("951_lemon.jpg", "130_flamingo.jpg", "340_zebra.jpg")]
    views = [
        to_tensor(crop_levels(np.asarray(Image.open(path).convert("RGB")), release.preprocessing)) for path in paths
    ]
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (release.preprocessing.mean, release.preprocessing.std)
    )
    inputs, targets = (torch.stack(views) - mean) / std, torch.tensor([951, 130, 340])
    assert_equals_captum(gradient, "Saliency", network, inputs, targets, abs=False)
