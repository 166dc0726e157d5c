"""Results of the member jobs of an audit, read from the store: class models and predictions for probes."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archetype.contract.job import State
from shared.storage.documents import Manifest
from worker.engine.render import RGBImage, decode_png

Prediction = Mapping[str, Any]
"""Score, probability, rank and predicted class, as `worker.inputs.predictions` describes them."""


class MissingResult(Exception):
    """A member job of the audit has no result; the message says why."""


@dataclass(frozen=True)
class DrawnModel:
    """A class visualization (class model) of a member job.

    Attributes:
        pixels: The saved image, (H, W, 3).
        verdict: The prediction of its own network for the saved image.
        judges: The predictions of the evaluators, by reference.
    """

    target: int
    seed: int
    steps: int
    pixels: RGBImage
    verdict: Prediction
    judges: Mapping[str, Prediction]


@dataclass(frozen=True)
class ProbePrediction:
    """The prediction of a network for a probe, with its saliency map.

    Attributes:
        image: The id of the image.
        verdict: The prediction for the image and its true class.
        view: Absolute saliency of each pixel of the view, (h, w).
        picture: The same in the pixels of the image, (H, W).
        control: Rank correlation of the map with that of a network with random weights; None if it was not requested.
    """

    image: str
    target: int
    verdict: Prediction
    view: NDArray[np.float32]
    picture: NDArray[np.float32]
    control: float | None = None

    @property
    def right(self) -> bool:
        """Whether the network predicts the true class."""
        return bool(self.verdict["rank"] == 1)

    @property
    def is_mapped(self) -> bool:
        """Whether there is a map; a probe that an audit does not map has an empty one."""
        return self.view.size > 1


NO_MAP: NDArray[np.float32] = np.zeros((1, 1), np.float32)
"""The map of a probe that was not mapped."""

Series = dict[int, list[DrawnModel]]
"""Class models by class index, ordered by seed."""

ProbePredictions = dict[str, ProbePrediction]
"""Predictions for probes by image id."""


def _read_nothing(key: str) -> bytes:
    raise KeyError(key)


@dataclass(frozen=True)
class MemberResults:
    """The results of the member jobs of an audit.

    Attributes:
        members: Job ids by role.
        load: Loads the manifest of a job; returns None if it has no manifest.
        read: Reads the bytes under a key of the store.
    """

    members: Mapping[str, str]
    load: Callable[[str], Manifest | None]
    read: Callable[[str], bytes]

    def has(self, role: str) -> bool:
        """Whether the audit has a job in this role: networks without gradients have no class models."""
        return role in self.members

    def manifest(self, role: str) -> Manifest:
        """Returns the manifest of the job in this role.

        Raises:
            MissingResult: There is no such job, or it did not succeed.
        """
        if role not in self.members:
            raise MissingResult(f"the audit plan has no {role}")
        job_id = self.members[role]
        manifest = self.load(job_id)
        if manifest is None:
            raise MissingResult(f"job {job_id} ({role}) is gone")
        if manifest.job.state is not State.SUCCEEDED:
            why = manifest.job.error.detail if manifest.job.error else "no reason given"
            raise MissingResult(f"job {job_id} ({role}) {manifest.job.state}: {why}")
        return manifest

    def load_class_models(self, role: str) -> Series:
        """Returns the class models of a job; a class without a result has an empty list.

        Raises:
            MissingResult: As `manifest`.
        """
        manifest = self.manifest(role)
        names: dict[int, list[str]] = {}
        for artifact in manifest.job.artifacts:
            if artifact.target is not None and artifact.media_type == "image/png" and "-step-" not in artifact.name:
                names.setdefault(artifact.target.index, []).append(artifact.name)
        series: Series = {}
        for metrics in manifest.job.metrics["targets"]:
            target = int(metrics["target"]["index"])
            models = [
                self._read_class_model(target, candidate, manifest.keys[name])
                for candidate, name in zip(_list_candidates(metrics), names.get(target, []), strict=False)
            ]
            series[target] = sorted(models, key=lambda model: model.seed)
        return series

    def _read_class_model(self, target: int, candidate: Mapping[str, Any], key: str) -> DrawnModel:
        return DrawnModel(
            target=target,
            seed=int(candidate["seed"]),
            steps=int(candidate["steps"]),
            pixels=decode_png(self.read(key)),
            verdict=candidate,
            judges=candidate.get("judges", {}),
        )

    def list_failures(self, role: str) -> dict[int, str]:
        """Returns the indices of the classes without a class model, each with the reason.

        Raises:
            MissingResult: As `manifest`.
        """
        targets = self.manifest(role).job.metrics["targets"]
        return {target["target"]["index"]: target["error"]["detail"] for target in targets if "error" in target}

    def load_predictions(self, role: str) -> ProbePredictions:
        """Returns the predictions of a release for every probe that could be read.

        Raises:
            MissingResult: As `manifest`.
        """
        manifest = self.manifest(role)
        maps = {
            (artifact.image, artifact.target.index): manifest.keys[artifact.name]
            for artifact in manifest.job.artifacts
            if artifact.image and artifact.target is not None and artifact.name.endswith(".npz")
        }
        predictions: ProbePredictions = {}
        for pair in manifest.job.metrics["pairs"]:
            image, target = str(pair["image"]), int(pair["target"]["index"])
            view, picture = self._read_map(maps.get((image, target)))
            control = pair.get("randomized_rank_correlation")
            predictions[image] = ProbePrediction(image, target, pair, view, picture, control)
        return predictions

    def _read_map(self, key: str | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Reads the magnitudes of a map of a view and of its image; empty maps if the job saved none."""
        if key is None:
            return NO_MAP, NO_MAP
        with np.load(io.BytesIO(self.read(key))) as arrays:
            return np.abs(arrays["view"]), np.abs(arrays["picture"])


def _list_candidates(target: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the metrics of each candidate of a target, one per seed; none if the target has no image."""
    return target.get("tries") or ([target] if "rank" in target else [])


NO_MEMBERS = MemberResults({}, lambda _: None, _read_nothing)
"""The member results of a job that has no member jobs."""
