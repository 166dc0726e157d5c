"""Candidates of a class model: the result of each slot, what networks predict for it, and its files and metrics."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archetype.contract.job import TargetClass
from archetype.contract.request import ClassModel
from archetype.contract.strict_json import dump_json, replace_non_finite
from shared.media.artifact_names import file_stem
from worker.engine.ascent.config import Slot
from worker.engine.render import encode_png, to_rgb
from worker.inputs.predictions import predict
from worker.inputs.preprocess import Levels
from worker.inputs.view import crop_levels
from worker.job.context import Evaluator, JobContext
from worker.optimization.ascent_files import save_extras
from worker.optimization.optimize import AscentResult, has_finite_scores
from worker.output.contact_sheet import Cell, pack_cell, unpack_cell

FLAT = 2.0
"""An image with a smaller standard deviation of its levels (0 to 255) shows nothing."""

Prediction = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """The result of one slot, and what networks predict for it.

    Attributes:
        target: Class index.
        seed: The seed as the request names it.
        result: The ascent.
        prediction: Prediction of the network that the ascent ran on, for the saved image.
        evaluations: Predictions of the evaluators, by reference.
    """

    target: int
    seed: int
    result: AscentResult
    prediction: Prediction
    evaluations: dict[str, Prediction]

    @property
    def is_finite(self) -> bool:
        """Whether the scores of the saved image are finite; otherwise the candidate is no result."""
        return has_finite_scores(self.prediction)

    def sort_key(self) -> tuple[int, float]:
        """Sorts candidates by the prediction of their own network, the best first."""
        return self.prediction["rank"], -self.prediction["score"]

    @property
    def converged(self) -> bool:
        """Whether the network recognizes the class in the image that was drawn of it."""
        return bool(self.prediction["rank"] == 1)

    def describe(self) -> dict[str, Any]:
        """The metrics of the candidate."""
        end = self.result.end
        metrics = {"seed": self.seed, "steps": end.steps, "stopped": end.reason, **self.prediction}
        metrics["converged"] = self.converged
        return metrics | ({"judges": self.evaluations} if self.evaluations else {})


def evaluate_candidates(
    context: JobContext[ClassModel], slots: Sequence[Slot], results: Mapping[int, AscentResult]
) -> list[Candidate]:
    """Predicts all results that are not flat, as they are saved, with the network and all evaluators.

    A prediction of an evaluator that is NaN or infinite is left out, with a warning.

    Args:
        context: The job.
        slots: The slots, in the order of `build_slots`.
        results: Results by slot.
    """
    visible = {number: result for number, result in results.items() if result.levels.std() >= FLAT}
    targets = [slots[number].target for number in visible]
    images = [result.levels for result in visible.values()]
    networks = (Evaluator(context.release, context.classifier), *context.evaluators)
    own, *others = (predict_all(network, images, targets) for network in networks)
    for evaluator, predictions in zip(context.evaluators, others, strict=True):
        faulty = sum(not has_finite_scores(prediction) for prediction in predictions)
        if faulty:
            context.output.warn(f"{evaluator.release.reference} gives NaN or infinity for {faulty} class models")
    seeds = context.request.params.seeds
    return [
        Candidate(
            target=slots[number].target,
            seed=seeds[number % len(seeds)],
            result=result,
            prediction=own[row],
            evaluations={
                evaluator.release.reference: predictions[row]
                for evaluator, predictions in zip(context.evaluators, others, strict=True)
                if has_finite_scores(predictions[row])
            },
        )
        for row, (number, result) in enumerate(visible.items())
    ]


def predict_all(
    network: Evaluator, images: Sequence[Levels], targets: Sequence[int], at_once: int = 16
) -> list[Prediction]:
    """Predictions of a network for saved images (H, W, C), each cropped as the network crops its inputs."""
    predictions: list[Prediction] = []
    for start in range(0, len(images), at_once):
        views = [crop_levels(levels, network.release.preprocessing) for levels in images[start : start + at_once]]
        predictions += predict(network.classifier, network.release, views, targets[start : start + at_once])
    return predictions


def save_candidates(context: JobContext[ClassModel], target: int, candidates: Sequence[Candidate]) -> Iterator[None]:
    """Saves the files of a target, those of the first candidate without a number; yields after each candidate."""
    named = context.target(target)
    for number, candidate in enumerate(candidates, 1):
        stem = file_stem(named) + (f"-{number}" if number > 1 else "")
        context.save(f"{stem}.png", encode_png(to_rgb(candidate.result.levels)), target=named)
        for step, still in candidate.result.stills.items():
            context.save(f"{stem}-step-{step:05d}.png", encode_png(to_rgb(still)), target=named)
        save_extras(context.save, stem, candidate.result, target=named)
        yield


@dataclass(frozen=True)
class ClassModels:
    """The class models of a shard or of a job.

    Attributes:
        targets: Metrics of each target.
        cells: Their cells on the contact sheet of the job.
    """

    targets: list[dict[str, Any]] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)

    def add(self, target: dict[str, Any], cell: Cell | None) -> None:
        """Adds the metrics of a target, and its cell if it has an image."""
        self.targets.append(target)
        self.cells.extend([cell] if cell else [])

    def pack(self) -> dict[str, Any]:
        """Returns the class models as JSON, for a shard result."""
        return {"targets": self.targets, "cells": [pack_cell(cell) for cell in self.cells]}

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> "ClassModels":
        """Reads class models from the JSON of a shard result."""
        return cls(packed["targets"], [unpack_cell(cell) for cell in packed.get("cells", [])])


def save_metrics(context: JobContext[ClassModel], targets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Saves the metrics with all curves as a file; returns the metrics of the job, without curves."""
    stems = [file_stem(TargetClass(**target["target"])) for target in targets]
    curves = {stem: target.get("curves", []) for stem, target in zip(stems, targets, strict=True)}
    plain = [{name: value for name, value in target.items() if name != "curves"} for target in targets]
    metrics = {"summary": summarize(plain), "targets": plain}
    context.save("metrics.json", dump_json(replace_non_finite(metrics | {"curves": curves}), indent=1).encode())
    return dict(replace_non_finite(metrics))


def summarize(targets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The share of all targets that each network recognizes, and the mean probability that it gives them."""
    visible = [target for target in targets if "rank" in target]
    predictions: dict[str, list[Prediction]] = {"self": visible}
    for target in visible:
        for name, prediction in target.get("judges", {}).items():
            predictions.setdefault(name, []).append(prediction)
    count = len(targets)
    return {
        name: {
            "top1": sum(prediction["rank"] == 1 for prediction in of_network) / count,
            "top5": sum(prediction["rank"] <= 5 for prediction in of_network) / count,
            "probability": sum(prediction["probability"] for prediction in of_network) / count,
        }
        for name, of_network in predictions.items()
    }
