"""What an audit's jobs have made, read back from the store: class models, and looks at probes."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.jobs import Manifest, State
from worker.engine.render import Pixels, decode_png

Verdict = Mapping[str, Any]


class Absent(Exception):
    """A job of the audit has nothing to show; the message says why."""


@dataclass(frozen=True)
class Drawn:
    """A class model.

    Attributes:
        pixels: As it was saved: (H, W, 3).
        verdict: What its own network says of it.
        judges: What others say of it, by reference.
    """

    target: int
    seed: int
    steps: int
    pixels: Pixels
    verdict: Verdict
    judges: Mapping[str, Verdict]


@dataclass(frozen=True)
class Look:
    """What a network makes of a probe.

    Attributes:
        image: The picture's id.
        verdict: What it says of the picture and its true class.
        view: What its score depends on, of what it is shown (h, w).
        picture: The same in the picture's own pixels (H, W).
        control: Rank correlation of the map with that of shuffled weights, where it was asked for.
    """

    image: str
    target: int
    verdict: Verdict
    view: NDArray[np.float32]
    picture: NDArray[np.float32]
    control: float | None = None

    @property
    def right(self) -> bool:
        return bool(self.verdict["rank"] == 1)


Series = dict[int, list[Drawn]]
"""Class models by class, in the order of their seeds."""

Looks = dict[str, Look]
"""By picture."""


def _read_nothing(key: str) -> bytes:
    raise KeyError(key)


@dataclass(frozen=True)
class Evidence:
    """The results of the jobs that an audit is made of.

    Attributes:
        members: Their ids by role.
        load: The manifest of a job, None where it has none.
        read: The bytes under a key of the store.
    """

    members: Mapping[str, str]
    load: Callable[[str], Manifest | None]
    read: Callable[[str], bytes]

    def manifest(self, role: str) -> Manifest:
        """Of the job in this role. Raises `Absent` where it did not succeed."""
        if role not in self.members:
            raise Absent(f"the plan asks for no {role}")
        manifest = self.load(self.members[role])
        if manifest is None:
            raise Absent(f"job {self.members[role]} ({role}) is gone")
        if manifest.job.state is not State.SUCCEEDED:
            why = manifest.job.error.detail if manifest.job.error else "no reason given"
            raise Absent(f"job {manifest.job.id} ({role}) {manifest.job.state}: {why}")
        return manifest

    def series(self, role: str) -> Series:
        """The class models of a job; of classes that came to nothing, none. Raises `Absent`."""
        manifest = self.manifest(role)
        names: dict[int, list[str]] = {}
        for artifact in manifest.job.artifacts:
            if artifact.target is not None and artifact.media_type == "image/png" and "-step-" not in artifact.name:
                names.setdefault(artifact.target.index, []).append(artifact.name)
        found: Series = {}
        for said in manifest.job.metrics["targets"]:
            target = int(said["target"]["index"])
            tries = said.get("tries") or ([said] if "rank" in said else [])
            drawn = [
                Drawn(
                    target, int(one["seed"]), int(one["steps"]), decode_png(self.read(manifest.keys[name])), one,
                    one.get("judges", {}),
                )
                for one, name in zip(tries, names.get(target, []), strict=False)
            ]  # fmt: skip
            found[target] = sorted(drawn, key=lambda one: one.seed)
        return found

    def dead(self, role: str) -> dict[str, str]:
        """The classes of a job that came to nothing, and why."""
        said = self.manifest(role).job.metrics["targets"]
        return {one["target"]["name"]: one["error"]["detail"] for one in said if "error" in one}

    def looks(self, role: str) -> Looks:
        """What a release makes of every probe that could be read. Raises `Absent`."""
        manifest = self.manifest(role)
        maps = {
            (artifact.image, artifact.target.index): manifest.keys[artifact.name]
            for artifact in manifest.job.artifacts
            if artifact.image and artifact.target is not None and artifact.name.endswith(".npz")
        }
        found: Looks = {}
        for pair in manifest.job.metrics["pairs"]:
            image, target = str(pair["image"]), int(pair["target"]["index"])
            with np.load(io.BytesIO(self.read(maps[image, target]))) as packed:
                view, picture = np.abs(packed["view"]), np.abs(packed["picture"])
            found[image] = Look(image, target, pair, view, picture, pair.get("randomized_rank_correlation"))
        return found


NOTHING = Evidence({}, lambda _: None, _read_nothing)
"""Of what comes after no other job."""
