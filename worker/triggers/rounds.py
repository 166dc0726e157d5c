"""Rounds of a trigger search with checkpoints: all classes coarsely, then the suspicious ones with every seed."""

import io
import pickle
import zipfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import structlog
import torch

from archetype.contract.job import Progress
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.families.family import Family
from worker.engine.triggers.find import Effort, Networks, Round, run_round
from worker.engine.triggers.measure import Count, Trigger
from worker.engine.triggers.search import Slot, State
from worker.job.cobatch import SavePoint

FORMAT = 1
"""Version of the checkpoint; checkpoints of other versions are ignored."""

log = structlog.get_logger()

Found = dict[int, list[Trigger]]
"""Triggers by target, one per seed."""

FoundByFamily = dict[str, Found]
"""The same, by family."""

Known = dict[str, dict[Slot, Trigger]]
"""Triggers by the round's name, without their parameters."""


@dataclass(frozen=True)
class Scope:
    """What is searched.

    Attributes:
        families: The families.
        targets: Class indices.
        seeds: Seeds; the coarse rounds use the first one.
        coarse: Effort of the rounds of all classes.
        fine: Effort of the rounds of suspicious classes.
    """

    families: Sequence[Family]
    targets: Sequence[int]
    seeds: Sequence[int]
    coarse: Effort
    fine: Effort

    def coarse_round(self, family: Family) -> Round:
        """The round of all classes."""
        return Round(family, self.coarse, tuple(Slot(target, self.seeds[0]) for target in self.targets))

    def fine_round(self, family: Family, targets: Sequence[int]) -> Round:
        """The round of suspicious classes."""
        return Round(family, self.fine, tuple(Slot(target, seed) for target in targets for seed in self.seeds))

    @property
    def steps(self) -> int:
        """Number of steps of all rounds of one network, if every family has a suspicious class."""
        rounds = [each for family in self.families for each in (self.coarse_round(family), self.fine_round(family, []))]
        return sum(each.steps for each in rounds)


@dataclass
class SearchRun:
    """A search over several rounds that can be saved after every step.

    Attributes:
        carriers: The carriers of the search, and the held-out ones.
        total: Number of steps of all rounds, for the progress.
        key: Identifies the network and how it is run.
        known: Triggers that an earlier search found in the same network; they are not searched again.
        done: The triggers of finished rounds, by the round's name.
        steps_taken: Number of steps of all rounds so far.
    """

    carriers: tuple[Carriers, Carriers]
    total: int
    key: str = ""
    known: Known = field(default_factory=Known)
    done: dict[str, list[Trigger]] = field(default_factory=dict)
    steps_taken: int = 0
    _running: tuple[str, State] | None = None

    def run(self, name: str, networks: Networks, one: Round) -> Generator[SavePoint, None, Found]:
        """Runs a round, unless an earlier attempt has finished it; continues it if an earlier attempt began it."""
        before, known = self.steps_taken, self.known.get(name, {})
        missing = replace(one, slots=tuple(slot for slot in one.slots if slot not in known))
        if name not in self.done:
            state = self._running[1] if self._running and self._running[0] == name else None
            rounds = run_round(networks, missing, self.carriers, state)
            self.done[name] = yield from self._follow(name, rounds, before)
            self._running = None
        self.steps_taken = before + one.steps
        yield self._save_point()
        triggers = known | {trigger.slot: trigger for trigger in self.done[name]}
        return group([triggers[slot] for slot in one.slots])

    def list_known(self) -> Known:
        """All triggers so far, also those that were known before, without their parameters."""
        return {
            name: self.known.get(name, {}) | {each.slot: each.strip() for each in self.done.get(name, [])}
            for name in (*self.known, *self.done)
        }

    def _follow(
        self, name: str, rounds: Generator[State | None, None, list[Trigger]], before: int
    ) -> Generator[SavePoint, None, list[Trigger]]:
        while True:
            try:
                state = next(rounds)
            except StopIteration as stop:
                found: list[Trigger] = stop.value
                return found
            if state is not None:
                self._running, self.steps_taken = (name, state), before + state.taken
            yield self._save_point()

    def _save_point(self) -> SavePoint:
        progress = Progress(done=min(self.steps_taken, self.total), total=self.total, unit="step")
        return SavePoint(progress, self.pack)

    def pack(self) -> bytes:
        """Returns the bytes of a checkpoint."""
        running = None if self._running is None else (self._running[0], self._running[1].pack())
        done = {name: [pack_trigger(trigger) for trigger in triggers] for name, triggers in self.done.items()}
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "key": self.key, "done": done, "running": running}, buffer)
        return buffer.getvalue()

    def restore(self, data: bytes | None) -> None:
        """Continues from a checkpoint; does nothing if there is none, or if it does not fit."""
        saved = _load(data, self.key)
        if saved is None:
            return
        self.done = {name: [unpack_trigger(each) for each in triggers] for name, triggers in saved["done"].items()}
        if saved["running"] is not None:
            name, fields = saved["running"]
            self._running = (name, State.unpack(fields, self.carriers[0].images.device))


def group(triggers: Sequence[Trigger]) -> Found:
    """Triggers by target."""
    found: Found = {}
    for trigger in triggers:
        found.setdefault(trigger.slot.target, []).append(trigger)
    return found


def search_coarse_to_fine(
    run: SearchRun, scope: Scope, networks: Networks, suspicious: Callable[[FoundByFamily], Mapping[str, Sequence[int]]]
) -> Generator[SavePoint, None, tuple[FoundByFamily, FoundByFamily]]:
    """Searches one network.

    Args:
        run: The search.
        scope: What is searched.
        networks: The network.
        suspicious: Chooses the suspicious classes of each family from the coarse triggers.

    Returns:
        The coarse triggers and the fine ones, by family.
    """
    coarse: FoundByFamily = {}
    for family in scope.families:
        coarse[family.name] = yield from run.run(f"coarse {family.name}", networks, scope.coarse_round(family))
    chosen = suspicious(coarse)
    fine: FoundByFamily = {}
    for family in scope.families:
        one = scope.fine_round(family, chosen.get(family.name, ()))
        fine[family.name] = yield from run.run(f"fine {family.name}", networks, one)
    return coarse, fine


def choose_largest(values: Mapping[tuple[str, int], float], count: int) -> dict[str, list[int]]:
    """The classes of each family, from the pairs of family and class with the largest values."""
    chosen: dict[str, list[int]] = {}
    for name, target in sorted(values, key=lambda pair: -values[pair])[:count]:
        chosen.setdefault(name, []).append(target)
    return chosen


def pack_trigger(trigger: Trigger) -> dict[str, Any]:
    """A trigger as plain values and tensors."""
    return asdict(trigger)


def unpack_trigger(fields: dict[str, Any]) -> Trigger:
    """The trigger that `pack_trigger` packed."""
    counts = {name: Count(**fields[name]) for name in ("search", "held_out", "before")}
    return Trigger(**{**fields, **counts, "slot": Slot(**fields["slot"])})


def _load(data: bytes | None, key: str) -> dict[str, Any] | None:
    if data is None:
        return None
    read = partial(torch.load, weights_only=True, map_location="cpu")
    try:
        content: Any = read(io.BytesIO(data))
    except (RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile, ValueError) as error:
        log.warning("checkpoint.unreadable", error=str(error)[:200])
        return None
    if not isinstance(content, dict) or (content.get("format"), content.get("key")) != (FORMAT, key):
        log.info("checkpoint.does_not_fit")
        return None
    return content
