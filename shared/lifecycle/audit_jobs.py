"""The jobs of an audit: whether releases can be compared, and which jobs compute what."""

from collections.abc import Collection, Sequence
from typing import Any

from archetype.contract.audit_plan import AuditPlan, Probe
from archetype.contract.model import Description
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.problem import FieldError
from archetype.contract.request import AnyRequest, Audit, ClassModel, Saliency
from shared.catalogue.release import Release
from shared.errors import InvalidRequest
from shared.validation.job_inputs import check_box_targets

PREDICTIONS = SaliencyParameters(kind="gradient", outputs=[])
"""The cheapest maps, without files: the audit needs the predictions, and maps the probes itself."""

PREDICTIONS_WITHOUT_GRADIENT = SaliencyParameters(kind="occlusion", outputs=[], square=1024, stride=1024)
"""The same for networks without gradients: one square covers the image."""

MAX_CONTROL_PROBES = 12
"""Probes whose maps are compared with those of randomized weights. These are enough to tell whether maps depend on
what the network has learned."""


def explain_difference(subject: Release, baseline: Release) -> str | None:
    """Why two releases cannot be compared; None if they can."""
    ours, theirs = subject.preprocessing, baseline.preprocessing
    if len(subject.classes) != len(baseline.classes):
        return f"they have other classes: {len(subject.classes)} and {len(baseline.classes)}"
    if subject.classes != baseline.classes:
        return "they have other classes, or the same classes in another order"
    if ours.channels != theirs.channels:
        return f"their inputs have {ours.channels} and {theirs.channels} channels"
    if ours.size != theirs.size:
        return f"their inputs are {_describe_size(ours.size)} and {_describe_size(theirs.size)} pixels"
    if ours != theirs:
        return "their preprocessing differs, and its effect cannot be told from a difference in what they have learned"
    return None


def _describe_size(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"


def check_plan(plan: AuditPlan, subject: Release) -> None:
    """Checks an audit plan against the release that is audited.

    Raises:
        UnknownTarget: The subject does not have a class of the plan.
        InvalidRequest: The plan requests other saliency outputs than an audit uses.
    """
    subject.resolve_targets(plan.classes, field="/plan/classes")
    for position, probe in enumerate(plan.probes):
        subject.resolve_target(probe.target, field=f"/plan/probes/{position}/target")
        check_box_targets(probe.boxes, subject, field=f"/plan/probes/{position}/boxes")
    for position, waiver in enumerate(plan.waivers):
        if waiver.target is not None:
            subject.resolve_target(waiver.target, field=f"/plan/waivers/{position}/target")
    if plan.saliency is not None and (plan.saliency.outputs != ["raw"] or plan.saliency.metrics):
        detail = "an audit uses raw maps without measures; the report contains its own measures"
        raise InvalidRequest(detail, FieldError(field="/plan/saliency/outputs", detail=detail, allowed=["raw"]))


def build_members(
    audit: Audit, subject: Release, baselines: Sequence[Release], black_boxes: Collection[str] = ()
) -> dict[str, AnyRequest]:
    """The requests of the jobs of an audit, by their role, for example `subject/class_models`.

    The request of a job depends on its own release and the plan alone, so that audits that compare the release with
    others can use the result.

    Args:
        audit: The audit.
        subject: The release that is audited.
        baselines: The releases that can be compared with the subject.
        black_boxes: References of the releases without gradients: class models are not drawn of them, nor of the
            releases that are compared with them.

    Returns:
        The requests; none if nothing can be compared, because the plan has no probes, and no class models are drawn.
    """
    plan = audit.plan
    targets: list[int | str] = list(subject.resolve_targets(plan.classes))
    seeds = plan.subject_seeds or plan.seeds
    members: dict[str, AnyRequest] = {}
    drawn = (
        [] if subject.reference in black_boxes else [each for each in baselines if each.reference not in black_boxes]
    )
    if drawn or not (baselines or subject.reference in black_boxes):
        members["subject/class_models"] = _build_class_models(audit, subject, targets, seeds, plan.judges)
    for baseline in drawn:
        name = baseline.reference
        members[f"{name}/class_models"] = _build_class_models(audit, baseline, targets, plan.seeds, plan.judges)
        members[f"{name}/noise"] = _build_class_models(audit, baseline, targets[::-1], plan.noise_seeds, [])
    if plan.probes:
        for role, release in [("subject", subject), *((baseline.reference, baseline) for baseline in baselines)]:
            kind = PREDICTIONS_WITHOUT_GRADIENT if release.reference in black_boxes else PREDICTIONS
            members[f"{role}/probes"] = _build_saliency(audit, release, plan.probes, plan.saliency or kind)
        if plan.saliency is not None and subject.reference not in black_boxes:
            members["subject/shuffled"] = _build_control(audit, subject, plan.saliency)
    return members


def is_black_box(description: Description | None) -> bool:
    """Whether a network is known to have no class models, because it gives no gradients."""
    capabilities = (description.capabilities if description else None) or []
    return any(each.method == "class_model" and not each.available for each in capabilities)


def _build_class_models(
    audit: Audit, release: Release, targets: list[int | str], seeds: list[int], evaluators: Sequence[str]
) -> ClassModel:
    judges = [reference for reference in evaluators if reference != release.reference]
    params = audit.plan.class_models.model_copy(update={"seeds": seeds, "judges": judges})
    return ClassModel(
        method="class_model", model=release.reference, targets=targets, params=params, **_common_fields(audit)
    )


def _build_saliency(audit: Audit, release: Release, probes: Sequence[Probe], params: SaliencyParameters) -> Saliency:
    return Saliency(
        method="saliency",
        model=release.reference,
        images=[probe.picture for probe in probes],
        params=params,
        **_common_fields(audit),
    )


def _build_control(audit: Audit, release: Release, params: SaliencyParameters) -> Saliency:
    """Maps of some probes, compared with those of randomized weights."""
    step = max(1, len(audit.plan.probes) // MAX_CONTROL_PROBES)
    params = params.model_copy(update={"metrics": ["randomization"]})
    return _build_saliency(audit, release, audit.plan.probes[::step], params)


def _common_fields(audit: Audit) -> dict[str, Any]:
    return {"priority": audit.priority, "tags": [*audit.tags]}
