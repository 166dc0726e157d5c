"""The built-in model classifies held-out drawings; drawing and training are reproducible."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from shared.catalogue.catalogue import load_catalogue
from worker.models.loader import Loader
from worker.shapes import drawing
from worker.shapes.train import HELD_OUT_SEED, measure_accuracy, train

CPU = torch.device("cpu")


def test_held_out_drawings_are_classified_correctly() -> None:
    drawings = [drawing.draw_numbered(index, HELD_OUT_SEED) for index in range(600)]
    images = torch.stack([torch.from_numpy(np.array(drawn.image)) for drawn in drawings]).permute(0, 3, 1, 2)
    labels = torch.tensor([drawn.label for drawn in drawings])
    loaded = Loader().load(load_catalogue(None).find("shapes"), CPU)
    assert measure_accuracy(loaded.network, (images, labels)) >= 0.97


def test_the_catalogue_lists_the_classes_of_the_drawings() -> None:
    assert tuple(load_catalogue(None).find("shapes").classes) == drawing.CLASSES


def test_the_same_seed_gives_the_same_drawing_and_a_tight_box() -> None:
    for index in range(24):
        first, second = drawing.draw_numbered(index, 5), drawing.draw_numbered(index, 5)
        assert first.image.tobytes() == second.image.tobytes()
        mask = np.asarray(first.mask)
        left, top, right, bottom = first.box
        assert mask.astype(bool).sum() == mask[top:bottom, left:right].astype(bool).sum()
        assert mask[top].any()
        assert mask[bottom - 1].any()
        assert mask[:, left].any()
        assert mask[:, right - 1].any()


def test_training_improves_the_accuracy(monkeypatch) -> None:
    drawings = [drawing.draw_numbered(index, 1) for index in range(96)]
    images = torch.stack([torch.from_numpy(np.array(drawn.image)) for drawn in drawings]).permute(0, 3, 1, 2)
    labels = torch.tensor([drawn.label for drawn in drawings])
    monkeypatch.setattr("worker.shapes.train.draw_dataset", lambda *_: (images, labels))
    assert measure_accuracy(train(count=96, epochs=20, seed=1), (images, labels)) > 0.2  # by chance: 0.08


def test_the_weights_are_small_and_finite() -> None:
    path = Path(drawing.__file__).with_name("weights.safetensors")
    assert path.stat().st_size < 1_000_000
    assert all(value.isfinite().all() for value in load_file(path).values())
