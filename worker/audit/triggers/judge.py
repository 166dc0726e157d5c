"""Decides which classes need a much smaller trigger than before, and describes them with evidence."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from archetype.contract.audit import Estimate, Finding, TriggerResult
from archetype.contract.audit_plan import Gate
from worker.audit.compare import Side
from worker.audit.statistics import LEVEL
from worker.audit.triggers.search import SEEDS, Halves, Searched
from worker.audit.triggers.sizes import (
    FINE_SPREAD,
    RETRAINED,
    RETRAINED_MEAN,
    Sizes,
    choose_groups,
    find_smallest,
    mean_ratios,
)
from worker.engine.render import RGBImage
from worker.engine.triggers.measure import Trigger
from worker.engine.triggers.statistics import Ratio, common_change, estimate_ratio, seeds_agree, transfers
from worker.triggers.evidence import choose_examples, draw_sheet, draw_trigger, write_sentence


@dataclass(frozen=True)
class TriggerComparison:
    """The result of the searches in two releases.

    Attributes:
        results: The largest ratio of each class, with evidence for those that were searched finely.
        findings: What the gate finds.
        abstained: Why the search could not run; None if it did.
        left_out: Sentences about what was not searched.
        reused: Whether triggers of the baseline are those of an earlier audit.
    """

    results: list[TriggerResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    abstained: str | None = None
    left_out: Sequence[str] = ()
    reused: bool = False

    @property
    def changes(self) -> dict[str, dict[str, Estimate]]:
        """The ratios, as in `Comparison.changes`; empty if triggers were not searched."""
        return {"trigger": {result.target: result.ratio for result in self.results}} if self.results else {}


@dataclass(frozen=True)
class Judge:
    """Applies the gate to the sizes of both releases."""

    subject: Side
    baseline: Side
    gate: Gate
    carriers: Halves
    searched: Searched

    def compare(self) -> TriggerComparison:
        """The result of each class in the family or group with its largest ratio, and the findings."""
        coarse, fine = self.searched.coarse, self.searched.fine
        best: dict[int, tuple[TriggerResult, bool]] = {}
        for names in (*((name,) for name in coarse), *choose_groups(coarse)):
            ratios = mean_ratios([coarse[name] for name in names], SEEDS[0])
            for target in ratios:
                judged = self._judge(target, names, ratios)
                if target not in best or _strength(judged) > _strength(best[target]):
                    best[target] = judged
        ordered = sorted(best.values(), key=_strength, reverse=True)
        results = [self._add_pictures(result, fine) if is_finding else result for result, is_finding in ordered]
        findings = [self._build_finding(result) for result, is_finding in ordered if is_finding]
        return TriggerComparison(results, findings)

    def _judge(self, target: int, names: Sequence[str], ratios: Mapping[int, float]) -> tuple[TriggerResult, bool]:
        """The result of a class in a family, or in a group of similar ones, and whether it is a finding."""
        name = max(names, key=lambda each: self._rank(target, each))
        repeated = self._repeat(target, name)
        sizes = (self.searched.fine if repeated else self.searched.coarse)[name]
        alone = self.searched.coarse[name].shared(target, SEEDS[0])
        shared = alone if len(names) == 1 else common_change(ratios, target)
        ratio = self._estimate(names, ratios[target], shared, repeated)
        trigger = find_smallest(sizes.subject[target])
        is_finding = (
            bool(repeated)
            and ratio.value > self.gate.tolerance
            and ratio.low > 1
            and seeds_agree(repeated, alone[0], self.gate.tolerance)
            and transfers(trigger.held_out, trigger.before)
        )
        result = self._describe(target, name, trigger, sizes, ratio, is_fine=bool(repeated))
        return result.model_copy(update={"families": list(names)}), is_finding

    def _estimate(
        self, names: Sequence[str], coarse: float, shared: tuple[float, float], repeated: Sequence[float]
    ) -> Ratio:
        """The ratio of a class, from its fine searches if there are any, or from the mean over a group of families.

        Args:
            names: The family, or the families of a group.
            coarse: Logarithm of the ratio of the coarse search, or the mean of those of the group.
            shared: What all classes share, and how much they vary.
            repeated: Logarithms of the ratios of the fine search.
        """
        center, spread = shared
        deviation = RETRAINED[names[0]] if len(names) == 1 else RETRAINED_MEAN
        used = [coarse]
        if repeated and len(names) == 1:
            used, spread = list(repeated), FINE_SPREAD * spread
        comparisons = sum(len(sizes.subject) for sizes in self.searched.coarse.values())
        return estimate_ratio(used, (center, spread), deviation, level=LEVEL, comparisons=comparisons)

    def _repeat(self, target: int, name: str) -> list[float]:
        """Logarithms of the ratios of the fine search, one per seed; empty if there is none with every seed."""
        by_seed = [self.searched.fine[name].ratios(seed).get(target) for seed in SEEDS]
        found = [ratio for ratio in by_seed if ratio is not None]
        return found if len(found) == len(SEEDS) else []

    def _rank(self, target: int, name: str) -> tuple[bool, float]:
        """Sorts the families of a class: those that were searched finely come last, the largest ratio at the end."""
        if repeated := self._repeat(target, name):
            return True, sum(repeated)
        return False, self.searched.coarse[name].ratios(SEEDS[0]).get(target, -math.inf)

    def _describe(
        self, target: int, name: str, trigger: Trigger, sizes: Sizes, ratio: Ratio, *, is_fine: bool
    ) -> TriggerResult:
        label = self.subject.release.class_names.label(target)
        return TriggerResult(
            target=label,
            family=name,
            unit=self.searched.families[name].unit,
            subject_size=trigger.size,
            baseline_size=sizes.baseline_size(target),
            baseline_found=find_smallest(sizes.baseline[target]).reached,
            ratio=Estimate(value=ratio.value, low=ratio.low, high=ratio.high),
            seeds=list(SEEDS) if is_fine else list(SEEDS[:1]),
            turned=trigger.held_out.turned,
            pictures=trigger.held_out.of,
            sentence=write_sentence(self.searched.families[name], trigger, label),
        )

    def _add_pictures(self, result: TriggerResult, fine: Mapping[str, Sizes]) -> TriggerResult:
        family = self.searched.families[result.family]
        label = self.subject.release.class_names.label
        triggers = next(
            found for target, found in fine[result.family].subject.items() if label(target) == result.target
        )
        trigger = find_smallest(triggers)
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
                f"{_describe_group(result)}"
            ),
        )


def _strength(judged: tuple[TriggerResult, bool]) -> tuple[bool, float]:
    result, is_finding = judged
    return is_finding, result.ratio.low


def _describe_group(result: TriggerResult) -> str:
    if len(result.families) < 2:
        return ""
    *others, last = result.families
    return f"; over the families {', '.join(others)} and {last}, it needs {result.ratio.value:.1f} times the size"


def embed(pixels: RGBImage) -> str:
    """A picture (H, W, 3) as a `data:` URL."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
