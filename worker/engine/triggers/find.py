"""Runs the search over families: rounds of all classes, or of suspicious ones with more steps and another seed."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from worker.engine.model.classifier import Classifier
from worker.engine.model.network_call import NetworkError
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.families.additive import AdditiveL2, AdditiveLInf
from worker.engine.triggers.families.color import Color
from worker.engine.triggers.families.crops import Crop, find_crops
from worker.engine.triggers.families.family import Family
from worker.engine.triggers.families.frame import Frame
from worker.engine.triggers.families.frequency import Frequency
from worker.engine.triggers.families.mask import MaskPattern
from worker.engine.triggers.families.patch import Patch
from worker.engine.triggers.measure import Trigger, measure
from worker.engine.triggers.search import Search, Slot, State, search
from worker.engine.triggers.without_gradients import Enumerable, find_without_gradients

FAMILIES: dict[str, Callable[[tuple[int, int, int]], Family]] = {
    "mask": MaskPattern,
    "additive": AdditiveL2,
    "bounded": AdditiveLInf,
    "color": Color,
    "frame": Frame,
    "frequency": Frequency,
    "patch": Patch,
    "crop": Crop,
}
"""Every family by its name."""

WITHOUT_GRADIENTS = ("color", "frame", "frequency", "patch", "crop")
"""The families that can be searched in a network without gradients."""


@dataclass(frozen=True)
class Effort:
    """How thorough a round is.

    Attributes:
        steps: Number of steps.
        at_once: Carriers per slot and step.
    """

    steps: int
    at_once: int


COARSE = Effort(60, 4)
"""For all classes."""

FINE = Effort(100, 6)
"""For suspicious classes."""


@dataclass(frozen=True)
class Round:
    """One family for some slots."""

    family: Family
    effort: Effort
    slots: tuple[Slot, ...]

    @property
    def steps(self) -> int:
        """Number of steps; a family without gradient has one."""
        return 1 if isinstance(self.family, Crop) else self.effort.steps


@dataclass(frozen=True)
class Networks:
    """A network in float32 for measurements, and the same in its fastest precision for the search.

    Attributes:
        exact: In float32.
        fast: In the precision of the execution plan.
        batch: The fastest number of images per pass.
        gives_gradients: Whether triggers can be searched by gradient.
    """

    exact: Classifier
    fast: Classifier
    batch: int
    gives_gradients: bool = True


def run_round(
    networks: Networks, one: Round, carriers: tuple[Carriers, Carriers], state: State | None = None
) -> Generator[State | None, None, list[Trigger]]:
    """Runs a round to its end.

    Args:
        networks: The network.
        one: The round.
        carriers: The carriers of the search, and the held-out ones, on the device of the network.
        state: The state after an earlier step, to continue from it.

    Yields:
        The state after every step, and None while the triggers are measured. The caller may stop at each.

    Returns:
        The triggers, in the order of the slots.
    """
    settings = Search(one.family, one.effort.steps, one.effort.at_once)
    found: list[Trigger] = []
    if not one.slots:
        return found
    parameters = yield from _find(networks, settings, one, carriers[0], state)
    for slot, row in zip(one.slots, parameters, strict=True):
        found.append(measure(networks.exact, settings, slot, row, carriers))
        yield None
    return found


def _find(
    networks: Networks, settings: Search, one: Round, carriers: Carriers, state: State | None
) -> Generator[State | None, None, Sequence[Tensor]]:
    """The parameters (P,) of each slot. Raises `NetworkError` if the family needs gradients, and there are none."""
    tried = _try(networks, one, carriers)
    if tried is not None:
        found = list[Tensor]()
        for parameters in tried:
            found.append(parameters)
            yield None
        return found
    if state is not None and state.taken >= settings.steps:
        return list(state.parameters)
    for step in search(networks.fast, settings, one.slots, carriers, state=state, at_once=networks.batch):
        state = step
        yield state
    return [] if state is None else list(state.parameters)


def _try(networks: Networks, one: Round, carriers: Carriers) -> Iterator[Tensor] | None:
    """The search without gradients (P,) for each slot; None if there are gradients to search by."""
    if isinstance(one.family, Crop):
        return find_crops(networks.fast, one.family, [slot.target for slot in one.slots], carriers)
    if networks.gives_gradients:
        return None
    if not isinstance(one.family, Enumerable):
        raise NetworkError(f"triggers of the family {one.family.name} are searched by gradient, and there is none")
    return find_without_gradients(networks.fast, one.family, one.slots, carriers, steps=one.effort.steps)
