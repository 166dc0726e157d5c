"""Loads what an audit compares: the probes, and each release with the results of its jobs."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from archetype.contract.job import Progress
from archetype.contract.request import Audit
from shared.errors import Problem, Unavailable
from worker.audit.compare import Side, have_same_weights
from worker.audit.cross_predictions import add_predictions
from worker.engine.attribution.gradient import gives_gradients
from worker.inputs.view import View, open_view
from worker.job.context import Evaluator, JobContext
from worker.job.member_results import MemberResults, MissingResult, ProbePredictions, Series


def load_probes(context: JobContext[Audit], errors: list[str]) -> Generator[Progress, Any, dict[str, View]]:
    """The probes as the networks see them, by image id. An unreadable image adds an error.

    Raises:
        Unavailable: The store does not answer.
    """
    views: dict[str, View] = {}
    for number, probe in enumerate(context.request.plan.probes, 1):
        try:
            views[probe.id] = open_view(context.images.load(probe.id), context.release.preprocessing)
        except Unavailable:  # for a while; an error would be in the verdict for ever
            raise
        except Problem as problem:
            errors.append(f"probe {probe.id[:12]}: {problem.detail}")
        yield Progress(done=number, total=len(context.request.plan.probes), unit="probe")
    return views


def load_subject(context: JobContext[Audit], errors: list[str]) -> Side:
    """The subject with the results of its jobs. A job without a result adds an error; the others are still used."""
    results = context.member_results
    models: Series = {}
    looks: ProbePredictions = {}
    if not results.members:  # the subject is identical to all baselines
        return Side(context.release, context.classifier, models, looks)
    try:
        if results.has("subject/class_models"):
            models = results.load_class_models("subject/class_models")
            failures = results.list_failures("subject/class_models")
            names = context.release.class_names
            errors += [f"class model of {names.label(target)}: {reason}" for target, reason in failures.items()]
    except MissingResult as absent:
        errors.append(str(absent))
    if context.request.plan.probes:
        try:
            looks = results.load_predictions("subject/probes")
        except MissingResult as absent:
            errors.append(str(absent))
    return Side(context.release, context.classifier, models, looks)


def load_baseline(evaluator: Evaluator, results: MemberResults) -> Side:
    """A baseline with the results of its jobs. Raises `MissingResult` if a job has no result."""
    role = evaluator.release.reference
    looks = results.load_predictions(f"{role}/probes") if results.has(f"{role}/probes") else {}
    models = results.load_class_models(f"{role}/class_models") if results.has(f"{role}/class_models") else {}
    return Side(evaluator.release, evaluator.classifier, models, looks)


NEED_MODELS = ("recognition", "appearance")
"""Gates that compare class models."""


def explain_no_models(subject: Side, baseline: Side) -> str | None:
    """Why a comparison lacks class models, which need gradients, of one release or both; None if it has them."""
    if subject.models and baseline.models:
        return None
    sides = [side for side in (subject, baseline) if not gives_gradients(side.classifier)]
    if not sides:
        return None
    names = " and ".join(side.release.reference for side in sides)
    return f"class visualizations need gradients, and {names} give{'s' if len(sides) == 1 else ''} none"


def is_known_identical(evaluator: Evaluator, subject: Side, results: MemberResults) -> bool:
    """Whether the audit has no job for a baseline because its weights are those of the subject."""
    has_jobs = any(role.startswith(f"{evaluator.release.reference}/") for role in results.members)
    return not has_jobs and have_same_weights(subject, Side(evaluator.release, evaluator.classifier, {}, {}))


def add_judge(side: Side, judge: Evaluator, counted: Progress) -> Generator[Progress, Any, Side]:
    """A release with the predictions of the other release for its class models. Yields the progress unchanged."""
    models = side.models
    for judged in add_predictions(side.models, judge):
        models = judged
        yield counted
    return replace(side, models=models)
