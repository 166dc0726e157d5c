"""How far an ascent has come, as bytes: another attempt goes on from there, to the same picture."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any, TypedDict, cast

import structlog
import torch

from worker.engine.ascent import End, Reason
from worker.engine.batch import State
from worker.recording import Notes

log = structlog.get_logger()


class Checkpoint(TypedDict):
    """What is put away of the slots of one share, by their place in it.

    Attributes:
        key: What the ascent was made with; with anything else it cannot go on.
        states: Of those that climb: octave, and state in it.
        ends: Of those that have left: picture, steps and reason.
        notes: What was recorded on the way.
    """

    key: str
    states: dict[int, tuple[int, State]]
    ends: dict[int, tuple[torch.Tensor, int, Reason]]
    notes: Notes


def pack(key: str, states: Mapping[int, tuple[int, State]], ends: Mapping[int, End], notes: Notes) -> bytes:
    """The bytes to store."""
    left = {number: (end.picture, end.steps, end.reason) for number, end in ends.items()}
    buffer = io.BytesIO()
    torch.save(Checkpoint(key=key, states=dict(states), ends=left, notes=notes), buffer)
    return buffer.getvalue()


def unpack(data: bytes | None, key: str) -> Checkpoint | None:
    """What was put away with the same key; None where there is nothing that this attempt could go on from."""
    if data is None:
        return None
    try:
        found: Any = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile, ValueError) as error:
        log.warning("checkpoint.unreadable", error=str(error)[:200])
        return None
    if found.get("key") != key:
        log.info("checkpoint.of_another_kind")
        return None
    return cast("Checkpoint", found)
