"""Checkpoints: the progress of ascents as bytes, from which another attempt continues to the same result."""

import io
import pickle
import zipfile
from typing import Any, TypedDict, cast

import structlog
import torch

from archetype.contract.strict_json import dump_json, load_json
from worker.engine.ascent.config import Reason
from worker.engine.ascent.octaves import OctaveState
from worker.optimization.trajectory import SavedTrajectory

FORMAT = 2
"""Version of the checkpoint; checkpoints of other versions are ignored."""

log = structlog.get_logger()


class SavedGroup(TypedDict):
    """Slots that run together, by their positions in the group.

    Attributes:
        states: States of the slots that are still running.
        ends: Image, steps and reason of the slots that have ended.
        trajectory: What was recorded of all slots.
    """

    states: dict[int, OctaveState]
    ends: dict[int, tuple[torch.Tensor, int, Reason]]
    trajectory: SavedTrajectory


class SavedPairs(TypedDict):
    """The pairs of image and target of a job that works through them in groups. All values are JSON.

    Attributes:
        metrics: Metrics of the finished pairs, by pair.
        running: The pairs of the current group, in order. Some of them may be finished.
        output: Artifacts of the finished pairs, as `AttemptOutput.pack` returns them.
        sheet: Cells of the contact sheet, as `Sheet.pack` returns them.
    """

    metrics: dict[str, dict[str, Any]]
    running: list[str]
    output: dict[str, Any]
    sheet: dict[str, Any]


class Checkpoint(TypedDict):
    """Progress of an attempt at one shard.

    Attributes:
        format: Version of this format.
        key: Identifies the network and how it runs; with any other key the ascents cannot continue.
        group: The slots that are running.
        pairs: The pairs of the job, if its method works on pairs.
    """

    format: int
    key: str
    group: SavedGroup
    pairs: SavedPairs | None


def pack(key: str, group: SavedGroup, pairs: SavedPairs | None = None) -> bytes:
    """Returns the bytes of a checkpoint."""
    # The pairs go in as JSON text: the safe loader reads few types, and JSON is what they are stored as later.
    content = {"format": FORMAT, "key": key, "group": group, "pairs": None if pairs is None else dump_json(pairs)}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def unpack(data: bytes | None, key: str) -> Checkpoint | None:
    """Reads a checkpoint; None if there is none, if it is damaged, or if its format or key is another."""
    if data is None:
        return None
    try:
        content: Any = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile, ValueError) as error:
        log.warning("checkpoint.unreadable", error=str(error)[:200])
        return None
    if not isinstance(content, dict) or (content.get("format"), content.get("key")) != (FORMAT, key):
        log.info("checkpoint.does_not_fit")
        return None
    pairs = content["pairs"]
    return cast("Checkpoint", content | {"pairs": None if pairs is None else load_json(pairs)})
