"""The preprocessing of a release is derived from what a library does with images."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from archetype.contract.model import Preprocessing
from worker.inputs.view import crop_levels
from worker.models.huggingface.preprocessing import Declared, OtherPreprocessing, derive_preprocessing

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def library(preprocessing: Preprocessing) -> Callable[[Image.Image], NDArray[np.float32]]:
    """A library that does what a preprocessing says."""

    def run(image: Image.Image) -> NDArray[np.float32]:
        levels = crop_levels(np.asarray(image), preprocessing) / 255
        levels = levels[..., ::-1] if preprocessing.channel_order == "BGR" else levels
        return ((levels - preprocessing.mean) / preprocessing.std).transpose(2, 0, 1).astype(np.float32)

    return run


CASES = [
    Preprocessing(size=(64, 64), fit="stretch"),
    Preprocessing(size=(64, 96), fit="stretch"),
    Preprocessing(size=(64, 64)),
    Preprocessing(size=(64, 64), resize=74),
    Preprocessing(size=(64, 64), resize=74, fit="stretch_crop"),
    Preprocessing(size=(64, 64), mean=[0.5] * 3, std=[0.5] * 3),
    Preprocessing(size=(64, 64), mean=[]),
    Preprocessing(size=(64, 64), channel_order="BGR"),
]


@pytest.mark.parametrize("expected", CASES)
def test_size_crop_and_normalization_are_found(expected: Preprocessing) -> None:
    declared = Declared(resizes=(64, 74, 80), mean=expected.mean, std=expected.std)
    assert derive_preprocessing(library(expected), declared) == (expected, [])


def test_a_normalization_that_differs_from_the_declared_one_is_measured() -> None:
    wanted = Preprocessing(size=(64, 64), mean=[0.1, 0.2, 0.3], std=[0.25, 0.5, 1.0])
    found, _ = derive_preprocessing(library(wanted), Declared(mean=MEAN, std=STD))
    assert found.mean == pytest.approx(wanted.mean, abs=1e-5)
    assert found.std == pytest.approx(wanted.std, abs=1e-5)


def test_images_of_any_size_are_cropped_to_the_side_of_the_network_and_that_is_told() -> None:
    def keep(image: Image.Image) -> NDArray[np.float32]:
        return np.asarray(image, np.float32).transpose(2, 0, 1) / 255

    found, notes = derive_preprocessing(keep, Declared(side=48))
    assert (found.size, found.fit) == ((48, 48), "crop")
    assert "fixes no input size" in notes[0]


def test_what_no_preprocessing_does_is_refused() -> None:
    plain = library(Preprocessing(size=(64, 64)))
    others: list[Callable[[Image.Image], NDArray[np.float32]]] = [
        lambda image: plain(image)[[1, 2, 0]],
        lambda image: -plain(image),
        lambda image: plain(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        lambda image: plain(image) * np.float32("nan"),
        lambda image: plain(image.crop((0, 0, 100, 100))),
    ]
    for reference in others:
        with pytest.raises(OtherPreprocessing, match="in the registration"):
            derive_preprocessing(reference, Declared(mean=MEAN, std=STD))
