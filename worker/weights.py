"""Reads weights and puts them into a network: nothing is ever unpickled beyond tensors."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from shared.catalogue import Release
from worker.architectures import unloadable

Weights = dict[str, torch.Tensor]

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Heads of torchvision's GoogLeNet and Inception that only serve training; the networks are built without them."""

WRAPPINGS = ("state_dict", "model", "model_state_dict", "net")
"""Under which checkpoints of training scripts keep the weights."""

MOST_NAMES = 8


def read_weights(path: Path, release: Release) -> Weights:
    """A safetensors file or a state dict; the usual wrappings and training heads are taken off.

    Raises:
        UnloadableModel: The file is neither, or holds more than tensors.
    """
    content: Any
    try:
        content = load_file(path) if is_safetensors(path) else _load_pickle(path)
    except Exception as error:  # each format has errors of its own
        raise unloadable(release, f"the weights {path.name} cannot be read: {error}") from error
    for wrapping in WRAPPINGS if isinstance(content, dict) else ():
        if isinstance(content.get(wrapping), dict):
            content = content[wrapping]
            break
    if not isinstance(content, dict) or not all(map(_is_weight, content.items())):
        raise unloadable(release, f"{path.name} holds no state dict; save the network's state_dict()")
    names = {name: _rename(name) for name in content}
    return {short: content[name] for name, short in names.items() if not short.startswith(AUXILIARY)}


def _load_pickle(path: Path) -> Any:
    with path.open("rb") as file:  # torch would go by the file's name
        return torch.load(file, map_location="cpu", weights_only=True)


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a header, and its first brace."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and not start.startswith(b"PK")


def _is_weight(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], torch.Tensor)


def _rename(name: str) -> str:
    """Without what parallel and compiled training put before it; torchvision's published DenseNets as they are now."""
    while name.startswith(("module.", "_orig_mod.")):
        name = name.partition(".")[2]
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name)


def fill_weights(network: nn.Module, weights: Weights, release: Release) -> None:
    """Copies the weights in; every name must fit, but for batch-norm counters that old checkpoints lack.

    Raises:
        UnloadableModel: Names or shapes do not fit; they are listed.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in own]
    wrong = [
        f"{name} is {list(weights[name].shape)} and should be {list(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    found = {"missing": missing, "unexpected": unexpected, "of another shape": wrong}
    said = [f"{len(names)} {what} ({_list(names)})" for what, names in found.items() if names]
    if said:
        raise unloadable(release, f"the weights do not fit {release.architecture}: {'; '.join(said)}")
    network.load_state_dict(weights, strict=False)


def _list(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (", …" if len(names) > MOST_NAMES else "")
