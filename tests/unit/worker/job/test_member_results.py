"""The predictions of a job for probes are read with its maps, if it has saved any."""

import io

import numpy as np

from archetype.contract.job import Artifact, Job, State, TargetClass, now
from shared.storage.documents import Manifest
from worker.job.member_results import MemberResults

BEE = TargetClass(index=3, name="bee")


def pack_map() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, view=np.full((2, 2), -1.0, np.float32), picture=np.ones((4, 4), np.float32))
    return buffer.getvalue()


def read(image_with_map: str) -> MemberResults:
    artifact = Artifact(
        name="map.npz", media_type="application/octet-stream", bytes=1, sha256="0" * 64, href="", target=BEE,
        image=image_with_map,
    )  # fmt: skip
    pairs = [{"image": image, "target": BEE.model_dump(), "rank": rank} for image, rank in (("a", 1), ("b", 2))]
    job = Job(
        id="job", method="saliency", model="m@1", state=State.SUCCEEDED, created_at=now(), artifacts=[artifact],
        metrics={"pairs": pairs},
    )  # fmt: skip
    manifest = Manifest(job=job, fence=1, keys={"map.npz": "key of the map"})
    return MemberResults({"subject/probes": "job"}, lambda _: manifest, {"key of the map": pack_map()}.__getitem__)


def test_a_probe_without_a_map_has_its_prediction_all_the_same() -> None:
    predictions = read("a").load_predictions("subject/probes")
    assert [(look.target, look.right, look.is_mapped) for look in predictions.values()] == [
        (3, True, True),
        (3, False, False),
    ]
    assert predictions["a"].view.tolist() == [[1, 1], [1, 1]]
    assert predictions["a"].picture.shape == (4, 4)
