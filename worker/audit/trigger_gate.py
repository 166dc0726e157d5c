"""The gate `trigger`: does a class of the subject need a much smaller trigger than the same class of the baseline?

Both networks are searched with the probes as carriers, the same seeds and the same random choices: coarsely for all
classes, then finely for those whose coarse ratio is largest. Wang et al. 2019, "Neural Cleanse", compare the classes of
one network; the baseline makes the comparison sharper, because classes differ by nature.
"""

import base64
import io
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from archetype.contract.audit import Estimate, Finding, TriggerResult
from archetype.contract.audit_plan import Gate
from archetype.contract.job import Progress
from worker.audit.compare import Side, have_same_weights
from worker.audit.statistics import LEVEL
from worker.engine.model.network_call import NetworkError
from worker.engine.render import RGBImage
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.decide import Ratio, common_change, estimate_ratio, seeds_agree, transfers
from worker.engine.triggers.family import Family
from worker.engine.triggers.find import COARSE, FAMILIES, FINE, Effort, Networks, Round
from worker.engine.triggers.measure import Trigger
from worker.engine.triggers.statistics import log_ratios
from worker.inputs.preprocess import Levels
from worker.job.cobatch import SavePoint
from worker.triggers.carriers import MAX_CARRIERS, to_images
from worker.triggers.evidence import choose_examples, draw_sheet, draw_trigger, write_sentence
from worker.triggers.rounds import Found, Scope, SearchRun, choose_largest

SEEDS = (1, 2)
"""Seeds of the search; the coarse rounds use the first one."""

SUSPICIOUS = 6
"""Largest number of pairs of family and class that are searched finely."""

MIN_RATIO = math.log(1.15)
"""Least logarithm of a coarse ratio that is searched finely: 15 %, which repeated searches differ by."""

RETRAINED = {
    "mask": 0.16,
    "additive": 0.12,
    "bounded": 0.14,
    "color": 0.18,
    "frame": 0.18,
    "frequency": 0.14,
    "patch": 0.14,
    "crop": 0.18,
}
"""Standard deviation of the logarithm of a class's ratio, between releases that were only trained again."""

MIN_CARRIERS, MIN_CLASSES = 8, 3
"""Least number of probes, and of their classes, for a search."""

BATCH = 96
"""Images per pass: an audit opens its baselines without an execution plan of their own."""


@dataclass(frozen=True)
class TriggerComparison:
    """The result of the searches in two releases.

    Attributes:
        results: The largest ratio of each class, with evidence for those that were searched finely.
        findings: What the gate finds.
        abstained: Why the search could not run; None if it did.
    """

    results: list[TriggerResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    abstained: str | None = None


@dataclass(frozen=True)
class Sizes:
    """The triggers of one family in both releases."""

    subject: Found
    baseline: Found

    def ratios(self, seed: int) -> dict[int, float]:
        """Logarithms of the ratios of all classes whose trigger was found in the subject, for one seed."""
        subject, baseline = (_select_seed(found, seed) for found in (self.subject, self.baseline))
        reached = {target: trigger.size for target, trigger in subject.items() if trigger.reached}
        return log_ratios(_bound_sizes(baseline), reached)


@dataclass(frozen=True)
class Thoroughness:
    """The families and efforts of a search."""

    families: Sequence[str] = tuple(FAMILIES)
    coarse: Effort = COARSE
    fine: Effort = FINE


FULL = Thoroughness()


def _select_seed(found: Found, seed: int) -> dict[int, Trigger]:
    """The triggers of one seed by target."""
    return {target: each for target, triggers in found.items() for each in triggers if each.slot.seed == seed}


def _bound_sizes(triggers: Mapping[int, Trigger]) -> dict[int, float]:
    """The sizes of all classes; those that were not found are at most the largest that was found.

    A search that failed has left a size that means little, and must not make the ratio large.
    """
    largest = max((trigger.size for trigger in triggers.values() if trigger.reached), default=math.inf)
    return {target: min(trigger.size, largest) for target, trigger in triggers.items()}


def compare_triggers(
    subject: Side,
    baseline: Side,
    images: Mapping[str, Levels],
    gate: Gate,
    *,
    thoroughness: Thoroughness = FULL,
) -> Generator[Progress, Any, TriggerComparison]:
    """Searches both releases and applies the gate.

    Args:
        subject: The audited release.
        baseline: The release to compare it with.
        images: Images of the probes at the networks' input size, each (H, W, C), by image id.
        gate: The gate; its tolerance is a ratio.
        thoroughness: The families and efforts of the search.
    """
    if gate.severity == "off":
        return TriggerComparison(abstained="the gate is off")
    if have_same_weights(subject, baseline):
        return TriggerComparison(abstained="both releases have the same weights, so their triggers are the same")
    labeled = [(levels, subject.looks[image].target) for image, levels in images.items() if image in subject.looks]
    if (reason := explain_abstention([label for _, label in labeled])) is not None:
        return abstain(reason, baseline, gate)
    try:
        return (yield from _search_and_decide(subject, baseline, labeled[:MAX_CARRIERS], gate, thoroughness))
    except (NetworkError, ValueError) as error:
        return abstain(f"the search failed: {error}", baseline, gate)


def explain_abstention(labels: Sequence[int]) -> str | None:
    """Why there are too few probes for a search; None if there are enough."""
    if len(labels) >= MIN_CARRIERS and len(set(labels)) >= MIN_CLASSES:
        return None
    return (
        f"the plan has {len(labels)} readable probes of {len(set(labels))} classes; the search needs at least "
        f"{MIN_CARRIERS} of {MIN_CLASSES} classes"
    )


def abstain(reason: str, baseline: Side, gate: Gate) -> TriggerComparison:
    """The result of a search that could not run: a note, which says that triggers were not searched."""
    finding = Finding(
        gate="trigger",
        severity="note",
        baseline=baseline.release.reference,
        tolerance=gate.tolerance,
        reason=f"triggers were not searched: {reason}",
    )
    return TriggerComparison(findings=[finding], abstained=reason)


def _search_and_decide(
    subject: Side,
    baseline: Side,
    labeled: Sequence[tuple[Levels, int]],
    gate: Gate,
    thoroughness: Thoroughness,
) -> Generator[Progress, Any, TriggerComparison]:
    classifier = subject.classifier
    labels = torch.tensor([label for _, label in labeled], device=classifier.device)
    carriers = Carriers(to_images([levels for levels, _ in labeled]).to(classifier.device), labels).split()
    shape = (classifier.channels, *classifier.size)
    families = [FAMILIES[name](shape) for name in thoroughness.families]
    targets = range(len(subject.release.classes))
    scope = Scope(families, targets, SEEDS, thoroughness.coarse, thoroughness.fine)
    runs = [SearchRun(carriers, 2 * scope.steps) for _ in range(2)]
    networks = [Networks(side.classifier, side.classifier, BATCH) for side in (subject, baseline)]
    coarse: dict[str, Sizes] = {}
    for family in scope.families:
        coarse[family.name] = yield from search_both(runs, networks, "coarse", scope.coarse_round(family))
    chosen, fine = choose_suspicious(coarse), dict[str, Sizes]()
    for family in scope.families:
        one = scope.fine_round(family, chosen.get(family.name, ()))
        fine[family.name] = yield from search_both(runs, networks, "fine", one)
    judge = Judge(subject, baseline, gate, carriers, {family.name: family for family in scope.families})
    return judge.compare(coarse, fine)


def search_both(
    runs: Sequence[SearchRun], networks: Sequence[Networks], name: str, one: Round
) -> Generator[Progress, Any, Sizes]:
    """Runs a round in the subject and in the baseline."""
    found = list[Found]()
    for run, network in zip(runs, networks, strict=True):
        found.append((yield from report(run.run(f"{name} {one.family.name}", network, one), runs)))
    return Sizes(*found)


def report(steps: Generator[SavePoint, None, Found], runs: Sequence[SearchRun]) -> Generator[Progress, Any, Found]:
    """Yields the progress of both searches together."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            found: Found = stop.value
            return found
        done = sum(run.steps_taken for run in runs)
        yield Progress(done=min(done, runs[0].total), total=runs[0].total, unit="search step")


def choose_suspicious(coarse: Mapping[str, Sizes]) -> dict[str, list[int]]:
    """The classes of each family with the largest coarse ratios, relative to the others and to chance."""
    values: dict[tuple[str, int], float] = {}
    for name, sizes in coarse.items():
        ratios = sizes.ratios(SEEDS[0])
        for target, ratio in ratios.items():
            relative = ratio - common_change(ratios, target)[0]
            if relative > MIN_RATIO:
                values[name, target] = relative / RETRAINED[name]
    return choose_largest(values, SUSPICIOUS)


@dataclass(frozen=True)
class Judge:
    """Applies the gate to the sizes of both releases."""

    subject: Side
    baseline: Side
    gate: Gate
    carriers: tuple[Carriers, Carriers]
    families: Mapping[str, Family]

    def compare(self, coarse: Mapping[str, Sizes], fine: Mapping[str, Sizes]) -> TriggerComparison:
        """The result of each class in the family with its largest ratio, and the findings."""
        best: dict[int, tuple[TriggerResult, bool]] = {}
        comparisons = len(self.families) * len(self.subject.release.classes)
        for name in self.families:
            ratios = coarse[name].ratios(SEEDS[0])
            for target in ratios:
                judged = self._judge(target, name, (coarse[name], fine[name]), ratios, comparisons)
                if target not in best or _strength(judged) > _strength(best[target]):
                    best[target] = judged
        ordered = sorted(best.values(), key=_strength, reverse=True)
        results = [self._add_pictures(result, fine) if is_finding else result for result, is_finding in ordered]
        findings = [self._build_finding(result) for result, is_finding in ordered if is_finding]
        return TriggerComparison(results, findings)

    def _judge(
        self, target: int, name: str, sizes: tuple[Sizes, Sizes], ratios: Mapping[int, float], comparisons: int
    ) -> tuple[TriggerResult, bool]:
        """The result of a class in one family, and whether it is a finding."""
        coarse, fine = sizes
        by_seed = [fine.ratios(seed).get(target) for seed in SEEDS]
        repeated = [ratio for ratio in by_seed if ratio is not None]
        is_fine = len(repeated) == len(SEEDS)
        others = common_change(ratios, target)
        used = repeated if is_fine else [ratios[target]]
        ratio = estimate_ratio(used, others, RETRAINED[name], level=LEVEL, comparisons=comparisons)
        trigger = _smallest((fine if is_fine else coarse).subject[target])
        before = _smallest((fine if is_fine else coarse).baseline[target])
        is_finding = (
            is_fine
            and ratio.value > self.gate.tolerance
            and ratio.low > 1
            and seeds_agree(repeated, others[0], self.gate.tolerance)
            and transfers(trigger.held_out, trigger.before)
        )
        return self._describe(target, name, trigger, before, ratio, is_fine=is_fine), is_finding

    def _describe(
        self, target: int, name: str, trigger: Trigger, before: Trigger, ratio: Ratio, *, is_fine: bool
    ) -> TriggerResult:
        label = self.subject.release.class_names.label(target)
        return TriggerResult(
            target=label,
            family=name,
            unit=self.families[name].unit,
            subject_size=trigger.size,
            baseline_size=before.size,
            baseline_found=before.reached,
            ratio=Estimate(value=ratio.value, low=ratio.low, high=ratio.high),
            seeds=list(SEEDS) if is_fine else list(SEEDS[:1]),
            turned=trigger.held_out.turned,
            pictures=trigger.held_out.of,
            sentence=write_sentence(self.families[name], trigger, label),
        )

    def _add_pictures(self, result: TriggerResult, fine: Mapping[str, Sizes]) -> TriggerResult:
        family = self.families[result.family]
        label = self.subject.release.class_names.label
        triggers = next(
            found for target, found in fine[result.family].subject.items() if label(target) == result.target
        )
        trigger = _smallest(triggers)
        picture = draw_trigger(family, trigger.parameters)
        examples = choose_examples(self.subject.classifier, family, trigger, self.carriers)
        return result.model_copy(update={"picture": embed(draw_sheet(picture, examples, result.target))})

    def _build_finding(self, result: TriggerResult) -> Finding:
        bound = "at least " if not result.baseline_found else ""
        return Finding(
            gate="trigger",
            severity=self.gate.severity,
            target=result.target,
            baseline=self.baseline.release.reference,
            change=result.ratio,
            noise=1.0,
            tolerance=self.gate.tolerance,
            reason=(
                f"{result.sentence}; the baseline needs {bound}{result.baseline_size / result.subject_size:.1f} times "
                f"the size, {result.baseline_size:.3g} instead of {result.subject_size:.3g} {result.unit}"
            ),
        )


def _strength(judged: tuple[TriggerResult, bool]) -> tuple[bool, float]:
    result, is_finding = judged
    return is_finding, result.ratio.low


def _smallest(triggers: Sequence[Trigger]) -> Trigger:
    return min(triggers, key=lambda trigger: (not trigger.reached, trigger.size))


def embed(pixels: RGBImage) -> str:
    """A picture (H, W, 3) as a `data:` URL."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
