"""Sizes of triggers, stored so that later audits with the same probes do not search the baseline again.

Those of the subject are stored too: it is the baseline of the next release.

The search does not depend on the subject, and every slot of it is independent of the others, so that stored and new
triggers can be mixed.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import structlog
import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from archetype.version import VERSION
from shared.audits.identical import FILE_IS_CODE, digest_settings
from shared.audits.searches import StoredSearches
from worker.audit.compare import Side
from worker.engine.triggers.measure import Count, Trigger
from worker.engine.triggers.search import Slot
from worker.models.tensor_digest import digest_tensors
from worker.triggers.rounds import Known

log = structlog.get_logger()


class StoredCount(BaseModel):
    """Images that turned into the target, of all that were tried."""

    model_config = ConfigDict(frozen=True)

    turned: int
    of: int


class StoredTrigger(BaseModel):
    """A trigger without its parameters, as `worker.engine.triggers.measure.Trigger` describes it."""

    model_config = ConfigDict(frozen=True)

    target: int
    seed: int
    size: float
    reached: bool
    search: StoredCount
    held_out: StoredCount
    before: StoredCount


ROUNDS = TypeAdapter(dict[str, list[StoredTrigger]])


def identify(baseline: Side, probes: Sequence[tuple[str, int]], effort: object) -> dict[str, Any]:
    """What determines the triggers of a baseline: its network, the carriers with their classes, and the search."""
    network, release = baseline.classifier, baseline.release
    own = {"release": release.identity} if release.architecture in FILE_IS_CODE else {}  # the weights do not say all
    return {
        "version": VERSION,
        "architecture": release.architecture,
        "weights": digest_tensors(network.network),
        "settings": digest_settings(release),
        "device": f"{network.device.type} {torch.__version__}",
        "probes": list(probes),
        "effort": repr(effort),
        **own,
    }


@contextmanager
def remember(searches: StoredSearches | None, identity: Mapping[str, Any]) -> Iterator[Known]:
    """Yields the known triggers of a search; stores them afterwards if there are more, and if nothing failed."""
    if searches is None:
        yield {}
        return
    known = decode(searches.find(identity))
    before = sum(map(len, known.values()))
    yield known
    if sum(map(len, known.values())) > before:
        searches.save(identity, encode(known))


def add_triggers(known: Known, more: Known) -> None:
    """Adds triggers to those that are known, round by round."""
    for name, triggers in more.items():
        known.setdefault(name, {}).update(triggers)


def encode(known: Known) -> bytes:
    """The triggers as a JSON document."""
    rounds = {
        name: [StoredTrigger.model_validate(_describe(trigger)) for trigger in triggers.values()]
        for name, triggers in known.items()
    }
    return ROUNDS.dump_json(rounds)


def decode(data: bytes | None) -> Known:
    """The triggers of a JSON document; none if there is no document, or if it is damaged."""
    if data is None:
        return {}
    try:
        rounds = ROUNDS.validate_json(data)
    except ValidationError as error:
        log.warning("searches.unreadable", error=str(error)[:200])
        return {}
    return {name: {Slot(each.target, each.seed): _build(each) for each in stored} for name, stored in rounds.items()}


def _describe(trigger: Trigger) -> dict[str, Any]:
    counts = {name: asdict(getattr(trigger, name)) for name in ("search", "held_out", "before")}
    return {**asdict(trigger.slot), "size": trigger.size, "reached": trigger.reached, **counts}


def _build(stored: StoredTrigger) -> Trigger:
    counts = (Count(each.turned, each.of) for each in (stored.search, stored.held_out, stored.before))
    return Trigger(Slot(stored.target, stored.seed), torch.empty(0), stored.size, stored.reached, *counts)
