"""Mutated checkpoints: files of `torch.save` in both formats, safetensors, and archives of model folders."""

import io
import json
import random
import zipfile
from collections.abc import Iterator

import torch
from safetensors.torch import save

from tests.fuzz.mutations import mutate_bytes


def make_checkpoints() -> list[bytes]:
    """A small file of weights in every format."""
    state = {"layer.weight": torch.ones(4, 3), "layer.bias": torch.zeros(4), "steps": torch.tensor(3)}
    contents = (state, {"state_dict": state, "epoch": 3, "name": "run"}, {"weight": torch.ones(1).expand(50, 50)})
    files = [_save(content, is_zip=is_zip) for content in contents for is_zip in (True, False)]
    return [*files, save(state), _make_folder(save(state))]


def _save(content: object, *, is_zip: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


def _make_folder(weights: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", json.dumps({"architecture": "resnet18", "num_classes": 4}))
        archive.writestr("model.safetensors", weights)
    return buffer.getvalue()


def draw_checkpoints(chance: random.Random) -> Iterator[bytes]:
    """Yields mutated checkpoints without end."""
    files = make_checkpoints()
    while True:
        yield mutate_bytes(chance.choice(files), files, chance)
