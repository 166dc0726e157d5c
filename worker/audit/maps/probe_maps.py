"""The saliency maps of the probes of both releases, of the kind that is most faithful to the subject."""

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

from archetype.contract.audit_plan import AuditPlan, Probe
from archetype.contract.job import Progress
from archetype.contract.parameters.saliency import KINDS_WITHOUT_GRADIENT
from archetype.contract.request import Audit
from shared.lifecycle.audit_jobs import PREDICTIONS
from worker.audit.compare import Side
from worker.audit.maps.faithfulness import (
    LabeledView,
    MapMaker,
    MapPlan,
    choose_controls,
    choose_kind,
    correlate_with_shuffled,
    list_kinds,
    map_probes,
    replace_maps,
)
from worker.audit.parts import report_parts
from worker.engine.attribution.gradient import gives_gradients
from worker.inputs.view import View
from worker.job.context import JobContext
from worker.job.member_results import MemberResults, MissingResult


def plan_maps(
    context: JobContext[Audit], subject: Side, views: Mapping[str, View]
) -> Generator[Progress, Any, MapPlan]:
    """Chooses the kind of maps that is most faithful to the subject, unless the plan names one, and measures it.

    If a release gives no gradients, only kinds that need none are chosen from.
    """
    declared, probes = context.request.plan.saliency, list_labeled(subject, views)
    kinds = list_kinds(context.classifier.size) if declared is None else [declared]
    networks = [context.classifier, *(evaluator.classifier for evaluator in context.evaluators)]
    by_gradient = all(map(gives_gradients, networks))
    if not by_gradient:
        kinds = [kind for kind in kinds if kind.kind in KINDS_WITHOUT_GRADIENT]
    chosen = yield from report_parts(choose_kind(context.classifier, probes, kinds), "kind")
    if declared is not None:
        correlations = list_control_correlations(context.member_results)
        return MapPlan(declared, chosen and chosen[1], correlations=correlations)
    params, faithfulness = chosen or (PREDICTIONS if by_gradient else kinds[0], None)
    maker, controls = MapMaker(context.classifier, params), choose_controls(probes)
    drawn = yield from report_parts(map_probes(maker, controls), "map")
    correlations = correlate_with_shuffled(maker, controls, drawn)
    return MapPlan(params, faithfulness, is_computed=True, correlations=correlations)


def map_side(side: Side, maps: MapPlan, views: Mapping[str, View]) -> Generator[Progress, Any, Side]:
    """A release with maps of the chosen kind in the place of those of its jobs."""
    maker = MapMaker(side.classifier, maps.params)
    drawn = yield from report_parts(map_probes(maker, list_labeled(side, views)), "map")
    return replace(side, looks=replace_maps(side.looks, drawn, views))


def list_labeled(side: Side, views: Mapping[str, View]) -> list[LabeledView]:
    """The probes that a release has classified, in the order of the plan."""
    return [LabeledView(image, view, side.looks[image].target) for image, view in views.items() if image in side.looks]


def list_probes(plan: AuditPlan, maps: MapPlan) -> dict[str, Probe]:
    """The probes by image id; without boxes if the gate that needs them abstains."""
    hidden: dict[str, Any] = {} if maps.abstention is None else {"boxes": []}
    return {probe.id: probe.model_copy(update=hidden) for probe in plan.probes}


def list_control_correlations(results: MemberResults) -> list[float]:
    """Rank correlations of the subject's saliency maps with those of its network with shuffled weights."""
    try:
        looks = results.load_predictions("subject/shuffled")
    except MissingResult:
        return []
    return [look.control for look in looks.values() if look.control is not None]
