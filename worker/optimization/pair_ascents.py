"""Ascents of a job's pairs of image and target: one group after another, each saved when it ends, with checkpoints."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from archetype.contract.job import Progress
from archetype.contract.parameters.ascent import list_frame_steps
from archetype.contract.strict_json import replace_non_finite
from worker.engine.ascent.octaves import SlotPlan
from worker.engine.model.classifier import Classifier
from worker.engine.render import RGBImage
from worker.inputs.pairs import Pair, Pairs
from worker.job.cobatch import BatchRequest, MethodEvent
from worker.job.context import JobContext
from worker.optimization.ascent_files import wants_extras
from worker.optimization.checkpoint import SavedGroup, SavedPairs, pack, unpack
from worker.optimization.optimize import AscentGroup, AscentResult, NoResult, RunningAscents, run_ascents
from worker.optimization.trajectory import Trajectory
from worker.output.contact_sheet import Cell, Sheet
from worker.output.pair_results import pack_results


@dataclass(frozen=True)
class PairOutput:
    """What a pair adds to its job, beside its files.

    Attributes:
        metrics: Metrics of the pair.
        shown: The image (H, W, 3), for the first cell of its row of the contact sheet.
        cells: Further cells of the row; none if the ascent gave no image.
    """

    metrics: dict[str, Any]
    shown: RGBImage
    cells: Sequence[Cell] = ()


BuildPlans = Callable[[Sequence[Pair]], list[SlotPlan]]
"""Returns the plans of a group of pairs: the same number of slots for each pair, the slots of the first pair first."""

SavePair = Callable[[Pair, Sequence[AscentResult | NoResult]], PairOutput]
"""Saves the files of a pair, from the results of its slots."""

Split = Callable[[Sequence[Pair]], Iterable[list[Pair]]]
"""Splits pairs, in their order, into groups that can run as one batch."""


def keep_together(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Makes one group of all pairs."""
    if pairs:
        yield list(pairs)


class PairAscents:
    """Runs the ascents of all pairs of a shard, or the rest of them if an earlier attempt left a checkpoint."""

    def __init__(self, context: JobContext[Any], pairs: Pairs, classifier: Classifier, *, slots: int = 1) -> None:
        """Prepares the ascents.

        Args:
            context: The shard; its parameters are `AscentParameters` with `steps`.
            pairs: The pairs.
            classifier: The network to ascend on.
            slots: Number of slots of each pair.
        """
        params, count = context.request.params, pairs.count() * slots
        self._sheet = Sheet.of(context)
        self._context = context
        self._pairs = pairs
        self._slots = slots
        self._steps = params.steps
        self._total = count * params.steps
        of_job = count if context.place.pairs is None else context.place.pairs * slots
        wanted = wants_extras(params.extras, of_job)
        self._frames = frozenset(list_frame_steps(params.steps, params.frames)) if wanted else None
        self._executor = RunningAscents(classifier, context.batch)
        self._metrics: dict[str, dict[str, Any]] = {}
        self._running: list[str] = []
        self._saved = unpack(context.resume.checkpoint, context.resume.key)
        if self._saved is not None and self._saved["pairs"] is not None:
            self._restore(self._saved["pairs"])

    def run(
        self, build_plans: BuildPlans, save_pair: SavePair, split: Split = keep_together
    ) -> Generator[MethodEvent, Any, dict[str, Any]]:
        """Runs and saves group after group; returns the results of the shard.

        Args:
            build_plans: Builds the ascents of a group.
            save_pair: Saves a pair whose ascents have ended.
            split: Splits a batch of pairs into groups.
        """
        yield Progress(done=len(self._metrics) * self._slots * self._steps, total=self._total, unit="step")
        for pairs in self._read_groups(split):
            before = len(self._metrics.keys() - {name_pair(pair) for pair in pairs})
            group = AscentGroup(build_plans(pairs), self._record(), self._take_saved(pairs))
            report = partial(self._report, before, group)
            checkpoint = partial(self._pack, group)
            ended: dict[int, AscentResult | NoResult] = {}
            ended |= yield from run_ascents(self._executor, group, report=report, checkpoint=checkpoint)
            ended |= group.failures()
            for number, pair in enumerate(pairs):
                if name_pair(pair) not in self._metrics:
                    slots = range(number * self._slots, (number + 1) * self._slots)
                    self._finish(pair, save_pair(pair, [ended[slot] for slot in slots]))
                    yield BatchRequest(self._executor, {}, report(), checkpoint)  # no step: a moment to save or stop
        return pack_results(self._pairs, self._sheet, list(self._metrics.values()))

    def _read_groups(self, split: Split) -> Iterator[list[Pair]]:
        """Groups of the pairs that have not finished; the group that the checkpoint was made in comes first."""
        running, waiting = self._running, list[Pair]()
        for batch in self._pairs.read():
            waiting += [pair for pair in batch if not self._is_finished(pair) or name_pair(pair) in running]
            if len(waiting) < len(running):
                continue
            if running and [name_pair(pair) for pair in waiting[: len(running)]] == running:
                yield waiting[: len(running)]
                waiting = waiting[len(running) :]
            running = []
            yield from split([pair for pair in waiting if not self._is_finished(pair)])
            waiting = []
        yield from split([pair for pair in waiting if not self._is_finished(pair)])

    def _is_finished(self, pair: Pair) -> bool:
        return name_pair(pair) in self._metrics

    def _record(self) -> Trajectory:
        return Trajectory(self._frames, None, show=self._context.show)

    def _take_saved(self, pairs: Sequence[Pair]) -> SavedGroup | None:
        """The checkpoint's state of a group, if it is of this group; the next group has none."""
        saved, self._saved = self._saved, None
        names = [name_pair(pair) for pair in pairs]
        fits, self._running = names == self._running, names
        return saved["group"] if saved is not None and fits else None

    def _finish(self, pair: Pair, output: PairOutput) -> None:
        self._metrics[name_pair(pair)] = replace_non_finite(output.metrics)
        if output.cells:
            self._sheet.add(pair, output.shown, output.cells)

    def _report(self, before: int, group: AscentGroup) -> Progress:
        done = before * self._slots * self._steps + group.steps_taken
        return Progress(done=done, total=self._total, unit="step")

    def _pack(self, group: AscentGroup) -> bytes:
        pairs = SavedPairs(
            metrics=self._metrics, running=self._running, output=self._context.output.pack(), sheet=self._sheet.pack()
        )
        return pack(self._context.resume.key, group.save(), pairs)

    def _restore(self, saved: SavedPairs) -> None:
        self._metrics = saved["metrics"]
        self._running = saved["running"]
        self._context.output.restore(saved["output"])
        self._sheet.restore(saved["sheet"])


def name_pair(pair: Pair) -> str:
    """Names a pair within its job, the same in every attempt."""
    return f"{pair.image.id}/{pair.target}"
