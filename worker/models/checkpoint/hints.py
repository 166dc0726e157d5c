"""Explains weights that do not fit: which names and shapes differ, and what they look like instead."""

import re
import time
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from typing import Any

import torch
from torch import nn

from shared.catalogue.release import Release
from worker.engine.model.torchvision_import import import_torchvision
from worker.models.checkpoint.fits import COUNTERS, Fit, find_fits

MAX_NAMES = 8
"""Number of names that a message lists."""

SEARCH_SECONDS = 5.0
"""Time for building networks of the libraries without memory, to compare their names with those of the file."""

MIN_TENSORS = 8
"""A network with fewer tensors says little about a file."""


def explain_misfit(fit: Fit, own: Mapping[str, Any], release: Release) -> str:
    """Describes how the weights of a file differ from those of a network, with a hint if one is possible."""
    missing = [name for name in own if name not in fit.tensors and not name.endswith(COUNTERS)]
    unexpected = [name for name in fit.tensors if name not in own]
    given = {name: value for name, value in fit.tensors.items() if name in own and hasattr(own[name], "shape")}
    wrong = {name: value for name, value in given.items() if tuple(value.shape) != tuple(own[name].shape)}
    shapes = [f"{name} is {list(value.shape)} and should be {list(own[name].shape)}" for name, value in wrong.items()]
    faults = {"missing": missing, "of another shape": shapes, "unexpected": unexpected}
    details = [f"{len(names)} {fault} ({list_names(names)})" for fault, names in faults.items() if names]
    if any(name.endswith((".zero_point", ".SCB", ".qweight", ".quant_state")) for name in fit.tensors):
        details.append("the file has quantized weights; save those of the network before its quantization")
    is_other = bool(missing or unexpected or not _hint_at_classes(wrong, own, release))
    hints = _hint_at_architecture(fit, release) if is_other else "", _hint_at_classes(wrong, own, release)
    return "; ".join([*details, *(hint for hint in hints if hint)])


def list_names(names: list[str]) -> str:
    """Joins the first names of a list."""
    return ", ".join(names[:MAX_NAMES]) + (", …" if len(names) > MAX_NAMES else "")


def _hint_at_classes(wrong: Mapping[str, Any], own: Mapping[str, Any], release: Release) -> str:
    """Returns a hint if the number of classes differs, and no other shape."""
    counts = {len(value) if value.ndim else 0 for value in wrong.values()}
    heads = all(
        own[name].ndim and len(own[name]) == len(release.classes) and value.shape[1:] == own[name].shape[1:]
        for name, value in wrong.items()
    )
    if not heads or len(counts) != 1:
        return ""
    count = counts.pop()
    if count == 1 and len(release.classes) == 2:
        return (
            "the network of the file has one output; declare the output one_logit, or set the argument num_classes to 1"
        )
    return f"the file has {count} classes, the release names {len(release.classes)}"


def _hint_at_architecture(fit: Fit, release: Release) -> str:
    """Returns a hint if the file has the names and shapes of another network of torchvision or timm."""
    end = time.monotonic() + SEARCH_SECONDS
    for architecture in _list_similar(release.architecture):
        if time.monotonic() > end:
            break
        network = _build_without_memory(architecture)
        fits = find_fits(network, [fit.source]) if network is not None else []
        # The last layer, a weight and a bias, may have another number of classes.
        if fits and fits[0].matched >= max(fits[0].wanted - 2, fit.matched + 1, MIN_TENSORS):
            return f"its names and shapes are those of {architecture}"
    return ""


def _list_similar(architecture: str) -> list[str]:
    """Returns architectures of torchvision and of the family in timm, those with the most similar names first."""
    import timm

    models = import_torchvision().models
    library, _, name = architecture.partition(":")
    family = re.match(r"[a-z]+", name.lower())
    names = [f"torchvision:{each}" for each in models.list_models(module=models)]
    names += [f"timm:{each}" for each in timm.list_models(f"{family[0]}*")] if family and library != "factory" else []
    similar = {each: SequenceMatcher(None, architecture, each).ratio() for each in names if each != architecture}
    return sorted(similar, key=lambda each: -similar[each])


def _build_without_memory(architecture: str) -> nn.Module | None:
    import timm

    library, _, name = architecture.partition(":")
    plain = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    create: Callable[..., nn.Module] = timm.create_model if library == "timm" else import_torchvision().models.get_model
    try:
        with torch.device("meta"):
            return create(name, **plain)
    except Exception:  # not every network can be built without memory, and a hint is not necessary
        return None
