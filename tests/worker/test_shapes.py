"""The built-in network knows what it says it knows."""

import numpy as np
import torch
from safetensors.torch import load_file

from shared.catalogue import load_catalogue
from worker.networks import Loader
from worker.shapes import drawing
from worker.shapes.train import HELD_OUT_SEED, accuracy, train

CPU = torch.device("cpu")


def test_it_tells_held_out_drawings_apart() -> None:
    drawings = [drawing.draw_numbered(index, HELD_OUT_SEED) for index in range(600)]
    pictures = torch.stack([torch.from_numpy(np.array(drawn.picture)) for drawn in drawings]).permute(0, 3, 1, 2)
    labels = torch.tensor([drawn.label for drawn in drawings])
    loaded = Loader().load(load_catalogue(None).find("shapes"), CPU)
    assert accuracy(loaded.network, (pictures, labels)) >= 0.97


def test_the_catalogue_names_its_classes_as_the_drawings_do() -> None:
    assert tuple(load_catalogue(None).find("shapes").classes) == drawing.CLASSES


def test_the_same_seed_draws_the_same_and_the_box_is_tight() -> None:
    for index in range(24):
        one, two = drawing.draw_numbered(index, 5), drawing.draw_numbered(index, 5)
        assert one.picture.tobytes() == two.picture.tobytes()
        mask = np.asarray(one.mask)
        left, top, right, bottom = one.box
        assert mask.astype(bool).sum() == mask[top:bottom, left:right].astype(bool).sum()
        assert mask[top].any()
        assert mask[bottom - 1].any()
        assert mask[:, left].any()
        assert mask[:, right - 1].any()


def test_training_learns(monkeypatch) -> None:
    drawn = [drawing.draw_numbered(index, 1) for index in range(96)]
    pictures = torch.stack([torch.from_numpy(np.array(one.picture)) for one in drawn]).permute(0, 3, 1, 2)
    labels = torch.tensor([one.label for one in drawn])
    monkeypatch.setattr("worker.shapes.train.draw_set", lambda *_: (pictures, labels))
    assert accuracy(train(count=96, epochs=20, seed=1), (pictures, labels)) > 0.2  # by chance: 0.08


def test_its_weights_are_small() -> None:
    from pathlib import Path

    path = Path(drawing.__file__).with_name("weights.safetensors")
    assert path.stat().st_size < 1_000_000
    assert all(value.isfinite().all() for value in load_file(path).values())
