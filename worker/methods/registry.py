"""Registry of all methods. To add a method, write its module and add it to `METHODS`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from archetype.contract.problem import ProblemDocument
from shared.errors import StoredProblem
from worker.job.cobatch import MethodRun
from worker.job.context import JobContext
from worker.methods import (
    activations,
    audit,
    class_model,
    deep_dream,
    feature_inversion,
    filters,
    fool,
    localization,
    patches,
    saliency,
    trigger,
)
from worker.output.job_results import describe_failed_images

Run = Callable[[JobContext[Any]], MethodRun]
"""Runs one shard of a job; returns the metrics of the shard."""

Gather = Callable[[JobContext[Any], Iterable[dict[str, Any]]], dict[str, Any]]
"""Combines the metrics of all shards into those of the job, and saves the artifacts of the whole job."""

DescribeFailure = Callable[[JobContext[Any], ProblemDocument], dict[str, Any]]
"""Returns the metrics that stand for a failed shard, from its targets or images and its problem."""


def take_only_result(_context: JobContext[Any], results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Gathers the results of a method whose jobs have one shard."""
    (result,) = results
    return result


def fail_job(_context: JobContext[Any], problem: ProblemDocument) -> dict[str, Any]:
    """Describes the failure of a method without partial results: the whole job fails.

    Raises:
        StoredProblem: Always.
    """
    raise StoredProblem(problem)


@dataclass(frozen=True)
class Method:
    """The functions of a method. Only a method whose jobs are split into shards needs the last two."""

    run: Run
    gather: Gather = take_only_result
    describe_failure: DescribeFailure = fail_job


METHODS: Mapping[str, Method] = {
    "activations": Method(activations.run, activations.gather, describe_failed_images),
    "audit": Method(audit.run),
    "class_model": Method(class_model.run, class_model.gather, class_model.describe_failure),
    "deep_dream": Method(deep_dream.run, deep_dream.gather, describe_failed_images),
    "feature_inversion": Method(feature_inversion.run, feature_inversion.gather, describe_failed_images),
    "filters": Method(filters.run),
    "fool": Method(fool.run, fool.gather, describe_failed_images),
    "localization": Method(localization.run, localization.gather, describe_failed_images),
    "patches": Method(patches.run, patches.gather, describe_failed_images),
    "saliency": Method(saliency.run, saliency.gather, describe_failed_images),
    "trigger": Method(trigger.run, trigger.gather, trigger.describe_failure),
}
"""Every method by its name in requests."""
