"""Says in sentences what was noticed when weights were loaded."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from shared.catalogue.release import Release
from worker.models.checkpoint.fits import Fit
from worker.models.checkpoint.hints import list_names


@dataclass(frozen=True)
class Loaded:
    """Weights that were loaded.

    Attributes:
        fit: The state dict, with the names that the network knows.
        extra: Names of tensors that the network does not have.
        note: How the weights were converted; None if they were not.
    """

    fit: Fit
    extra: list[str]
    note: str | None


def note_choice(fit: Fit, fits: Sequence[Fit], network: nn.Module, release: Release) -> list[str]:
    """Says which state dict of a file was used, if another one fits as well or if the weights are averaged."""
    if release.state_dict is not None:
        return [f"The weights under `{release.state_dict}` were used, as the release says."]
    own = network.state_dict()
    used = fit.find_used(own)
    equal = [each for each in fits if each.matched == fit.matched and each.source.joined == fit.source.joined]
    others = list(dict.fromkeys(each.location for each in equal if not each.find_used(own) & used))
    place = f"under `{fit.location}`" if fit.location else "at the top of the file"
    choice = f"Set `state_dict` to {' or '.join(f'`{other}`' for other in others if other)} for the others."
    if not others:
        return [f"The weights are averaged (EMA); they were read {place}."] if fit.is_average else []
    if any(each.is_average for each in equal) and not fit.is_average:
        return [f"The file contains raw and averaged (EMA) weights; the raw ones {place} were used. {choice}"]
    return [f"The file contains several state dicts that fit; the one {place} was used. {choice}"]


def note_changes(loaded: Loaded, network: nn.Module) -> list[str]:
    """Says which names were changed and which tensors were ignored or converted."""
    fit, own = loaded.fit, network.state_dict()
    kinds = {value.dtype for name, value in fit.tensors.items() if name in own and isinstance(value, torch.Tensor)}
    converted = sorted(str(kind).removeprefix("torch.") for kind in kinds - {torch.float32} if kind.is_floating_point)
    count = len(loaded.extra)
    notes = {
        f"The prefix `{fit.removed}` was removed from the names of the weights.": fit.removed,
        f"The prefix `{fit.added}` was added to the names of the weights.": fit.added,
        "Parts that `torch.compile` and parallel training insert were removed from the names.": fit.ignored,
        f"{loaded.note}": loaded.note,
        f"The weights were converted from {' and '.join(converted)} to float32.": converted,
        f"{count} {'entry' if count == 1 else 'entries'} of the file that the network does not have "
        f"{'was' if count == 1 else 'were'} ignored: {list_names(loaded.extra)}.": loaded.extra,
    }
    return [note for note, applies in notes.items() if applies]


def note_skipped(classes: Sequence[str]) -> list[str]:
    """Says which objects of a file were not read."""
    return [f"Objects of {list_names(list(classes))} in the file were not read."] if classes else []
