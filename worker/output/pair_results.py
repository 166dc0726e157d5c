"""The results of a shard of a job over images, pair by pair, and its checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

import structlog

from archetype.contract.job import Progress
from archetype.contract.problem import ProblemDocument
from archetype.contract.strict_json import dump_json, load_json, replace_non_finite
from shared.errors import Problem, StoredProblem
from worker.engine.render import RGBImage
from worker.inputs.pairs import Failure, Pair, PairReader, Pairs, Position
from worker.job.cobatch import SavePoint
from worker.job.context import JobContext
from worker.output.contact_sheet import Cell, Rows, Sheet

FORMAT = 1
"""Version of the checkpoint; checkpoints of other versions are ignored."""

log = structlog.get_logger()


class PackedResults(TypedDict):
    """The results of a shard as JSON.

    Attributes:
        images: Number of images of the shard.
        pairs: Metrics of each pair; they name its image.
        extras: What else the summary of the job needs of each pair.
        failed: Images and pairs without a result.
        first: The first name of each image of the shard, by its id.
        repeated: By name, the first name of the same image.
        rows: Rows of the contact sheet; JSON if the job has several shards.
        notes: What the summary of the job needs of the shard.
    """

    images: int
    pairs: list[dict[str, Any]]
    extras: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    first: dict[str, str]
    repeated: dict[str, str]
    rows: Rows
    notes: dict[str, Any]


def pack_results(
    pairs: Pairs,
    sheet: Sheet,
    metrics: Sequence[dict[str, Any]],
    extras: Sequence[dict[str, Any]] = (),
    notes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the results of a shard as JSON, which `JobResults` reads."""
    return dict(
        PackedResults(
            images=len(pairs.context.images.entries),
            pairs=list(metrics),
            extras=list(extras) or [{} for _ in metrics],
            failed=[failure.describe() for failure in pairs.failed],
            first=pairs.first,
            repeated=pairs.repeated,
            rows=sheet.rows if pairs.context.place.images is None else sheet.pack(),
            notes=dict(notes or {}),
        )
    )


class PairResults:
    """The results of the pairs of a shard so far, or those that an earlier attempt left in a checkpoint.

    Attributes:
        reader: Reads the pairs that have no result yet.
        notes: What the summary of the job needs of the shard; JSON.
        is_resumed: Whether an earlier attempt left results.
    """

    def __init__(self, context: JobContext[Any], pairs: Pairs, unit: str) -> None:
        """Restores the checkpoint of the shard, if there is one.

        Args:
            context: The shard.
            pairs: Its pairs.
            unit: Unit of the progress.
        """
        self.notes: dict[str, Any] = {}
        self._context = context
        self._pairs = pairs
        self._unit = unit
        self._total = pairs.count()
        self._sheet = Sheet.of(context)
        self._metrics: list[dict[str, Any]] = []
        self._extras: list[dict[str, Any]] = []
        self._processed = 0
        saved = unpack(context.resume.checkpoint, context.resume.key)
        self.is_resumed = saved is not None
        self.reader = PairReader(pairs, self._restore(saved) if saved else Position())

    @property
    def progress(self) -> Progress:
        """The number of pairs with a result, and of all pairs."""
        return Progress(done=len(self._metrics), total=self._total, unit=self._unit)

    def show(self, pair: Pair, shown: RGBImage, cells: Sequence[Cell]) -> None:
        """Adds cells to the contact sheet; arguments as of `Sheet.add`."""
        self._sheet.add(pair, shown, cells)

    def add(self, metrics: dict[str, Any], extra: Mapping[str, Any] | None = None) -> SavePoint:
        """Adds the metrics of the next pair, and what else the summary of the job needs of it; both are JSON."""
        self._metrics.append(dict(replace_non_finite(metrics)))
        self._extras.append(dict(extra or {}))
        return self._advance()

    def fail(self, pair: Pair, problem: Problem, **part: Any) -> SavePoint:
        """Adds why the next pair has no result."""
        self._pairs.fail(pair, problem, **part)
        return self._advance()

    def pack(self) -> dict[str, Any]:
        """Returns the results as JSON."""
        return pack_results(self._pairs, self._sheet, self._metrics, self._extras, self.notes)

    def _advance(self) -> SavePoint:
        self._processed += 1
        return SavePoint(self.progress, self._save)

    def _save(self) -> bytes:
        position = self.reader.find_position(self._processed)
        entries = self._context.images.entries[: position.images + (position.pairs > 0)]
        names = {entry.name for entry in entries}
        results = self.pack() | {"rows": self._sheet.pack()}
        results["failed"] = [failure for failure in results["failed"] if failure["image"] in names]  # not read ahead
        output = self._context.output
        fields = {"format": FORMAT, "key": self._context.resume.key, "position": position, "results": results}
        return dump_json(fields | {"output": output.pack(), "warnings": output.warnings}).encode()

    def _restore(self, saved: Mapping[str, Any]) -> Position:
        results, output = cast("PackedResults", saved["results"]), self._context.output
        self.notes.update(results["notes"])
        self._metrics += results["pairs"]
        self._extras += results["extras"]
        self._sheet.restore(saved["results"]["rows"])
        self._pairs.first.update(results["first"])
        self._pairs.repeated.update(results["repeated"])
        self._pairs.failed.extend(map(read_failure, results["failed"]))
        output.restore(saved["output"])
        output.warnings[:] = saved["warnings"]
        return Position(*saved["position"])


def read_failure(fields: Mapping[str, Any]) -> Failure:
    """Reads a failure as `Failure.describe` returns it."""
    part = {name: value for name, value in fields.items() if name not in ("image", "error")}
    return Failure(fields["image"], StoredProblem(ProblemDocument.model_validate(fields["error"])), part)


def unpack(data: bytes | None, key: str) -> dict[str, Any] | None:
    """Reads a checkpoint; None if there is none, if it is damaged, or if its format or key is another."""
    if data is None:
        return None
    try:
        content = load_json(data.decode())
    except ValueError as error:
        log.warning("checkpoint.unreadable", error=str(error)[:200])
        return None
    if not isinstance(content, dict) or (content.get("format"), content.get("key")) != (FORMAT, key):
        log.info("checkpoint.does_not_fit")
        return None
    return content
