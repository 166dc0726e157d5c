"""The gate `trigger`: does a class of the subject need a much smaller trigger than the same class of the baseline?

Both networks are searched with the probes as carriers, the same seeds and the same random choices: coarsely for all
classes, then finely for those whose coarse ratio is largest. Wang et al. 2019, "Neural Cleanse", compare the classes of
one network; the baseline makes the comparison sharper, because classes differ by nature.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from archetype.contract.audit_plan import Gate
from archetype.contract.job import Progress
from shared.audits.searches import StoredSearches
from worker.audit.compare import Side, have_same_weights
from worker.audit.triggers.judge import Judge, TriggerComparison
from worker.audit.triggers.known import add_triggers, identify, remember
from worker.audit.triggers.search import BLACK_BOX, FULL, Thoroughness, search_releases, split_probes
from worker.engine.attribution.gradient import gives_gradients
from worker.engine.model.network_call import NetworkError
from worker.inputs.preprocess import Levels
from worker.triggers.carriers import MAX_CARRIERS

MIN_CARRIERS, MIN_CLASSES = 8, 3
"""Least number of probes, and of their classes, for a search."""


NOT_SEARCHED = (
    "Gate trigger: without gradients, masks and additive patterns are not searched, and other changes are found less "
    "often than with gradients."
)


def compare_triggers(
    subject: Side,
    baseline: Side,
    images: Mapping[str, Levels],
    gate: Gate,
    *,
    thoroughness: Thoroughness = FULL,
    searches: StoredSearches | None = None,
) -> Generator[Progress, Any, TriggerComparison]:
    """Searches both releases and applies the gate.

    Args:
        subject: The audited release.
        baseline: The release to compare it with.
        images: Images of the probes at the networks' input size, each (H, W, C), by image id.
        gate: The gate; its tolerance is a ratio.
        thoroughness: The families and efforts of the search, if both networks give gradients.
        searches: Triggers of baselines that earlier audits found.
    """
    if gate.severity == "off":
        return TriggerComparison(abstained="the gate is off")
    if have_same_weights(subject, baseline):
        return TriggerComparison(abstained="both releases have the same weights, so their triggers are the same")
    probes = [(image, subject.looks[image].target) for image in images if image in subject.looks][:MAX_CARRIERS]
    if (reason := explain_abstention([label for _, label in probes])) is not None:
        return TriggerComparison(abstained=reason)
    carriers = split_probes([(images[image], label) for image, label in probes], subject.classifier.device)
    targets = sorted({*subject.models, *(label for _, label in probes)})
    classifiers = subject.classifier, baseline.classifier
    if not all(gives_gradients(each) for each in classifiers):
        thoroughness = BLACK_BOX
    try:
        with remember(searches, identify(baseline, probes, thoroughness)) as known:
            reused = any(known.values())
            searched = yield from search_releases(
                classifiers, carriers, targets, thoroughness=thoroughness, known=known
            )
            add_triggers(known, searched.known[1])
        with remember(searches, identify(subject, probes, thoroughness)) as known:  # for audits of the next release
            add_triggers(known, searched.known[0])
        left_out = () if thoroughness.by_gradient else (NOT_SEARCHED,)
        return replace(Judge(subject, baseline, gate, carriers, searched).compare(), reused=reused, left_out=left_out)
    except (NetworkError, ValueError) as error:
        return TriggerComparison(abstained=f"the search failed: {error}")


def explain_abstention(labels: Sequence[int]) -> str | None:
    """Why there are too few probes for a search; None if there are enough."""
    if len(labels) >= MIN_CARRIERS and len(set(labels)) >= MIN_CLASSES:
        return None
    return (
        f"the plan has {len(labels)} readable probes of {len(set(labels))} classes; the search needs at least "
        f"{MIN_CARRIERS} of {MIN_CLASSES} classes"
    )
