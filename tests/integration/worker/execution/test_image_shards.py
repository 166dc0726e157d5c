"""Jobs over images of several shards: the same result as in one shard, and every part is computed once."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from archetype.contract.job import Job, State
from shared.queue import sharding
from shared.queue.celery_app import create_broker
from shared.queue.sharding import EXCLUSIVE_SIZE
from shared.state.job_ids import new_job_id
from shared.storage.documents import JobSpec
from shared.storage.s3 import JSON
from tests.support.lane_workplace import LaneWorkplace, assert_same_files
from tests.support.run_method import encode, noise
from tests.support.threads import Inline
from worker.attribution.saliency_maps import MapPool
from worker.execution.lane_runner import run_next_lane
from worker.execution.recovery import LeaseMonitor, Recovery

SIDE = 28
IMAGES = 11

METHODS: dict[str, dict[str, Any]] = {
    "saliency": {"targets": {"top": 2}},
    "saliency with metrics": {"targets": {"top": 2}, "params": {"metrics": ["deletion", "insertion"]}},
    "localization": {"targets": {"top": 2}, "params": {"crops": 1, "iterations": 1}},
    "patches": {"params": {"square": 14, "stride": 14}},
    "activations": {},
    "fool": {"targets": [1], "params": {"steps": 3}},
    "deep_dream": {"params": {"steps": 2, "octaves": 1}},
    "feature_inversion": {"params": {"steps": 2}},
}


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Splits jobs over images into shards of a few pairs."""
    for name, pairs in (("SHARD_PAIRS", 6), ("SHARD_COSTLY_PAIRS", 4), ("SHARD_SLOTS", 4)):
        monkeypatch.setattr(sharding, name, pairs)
    return monkeypatch


def pack(lanes: LaneWorkplace) -> str:
    """Uploads an archive with broken files, and with images that it contains twice."""
    images = [encode(noise(SIDE, SIDE, 1, seed=seed)) for seed in range(IMAGES)]
    members = {f"{number:02}.png": data for number, data in enumerate(images)}
    members |= {"03-again.png": images[3], "12.png": images[0]}
    members |= {"10-broken.png": b"no picture", "11.png": b"none either"}
    return lanes.upload_archive({name: members[name] for name in sorted(members)})


def describe(job: Job) -> Any:
    """What must not depend on the number of shards."""
    files = [(file.name, file.media_type, file.target, file.image) for file in job.artifacts]
    return job.state, job.progress, files, job.metrics


def assert_same_result(job: Job, other: Job) -> None:
    state, progress, files, metrics = describe(other)
    assert describe(job) == (state, progress, files, round_numbers(metrics))


def round_numbers(value: Any) -> Any:
    if isinstance(value, float):
        return pytest.approx(value, rel=0.01, abs=1e-4)  # batches of other sizes round differently
    if isinstance(value, dict):
        return {name: round_numbers(each) for name, each in value.items()}
    return [round_numbers(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", METHODS)
def test_a_job_of_several_shards_has_the_result_of_a_job_of_one(
    lanes: LaneWorkplace, small_shards: pytest.MonkeyPatch, name: str
) -> None:
    body = {"method": name.partition(" ")[0], "model": "grey", "images": {"archive": pack(lanes)}, **METHODS[name]}
    with small_shards.context() as whole:
        for limit in ("SHARD_PAIRS", "SHARD_COSTLY_PAIRS", "SHARD_SLOTS"):
            whole.setattr(sharding, limit, 10**6)
        plain = lanes.submit(**body)
    split = lanes.submit(**body)
    assert int(lanes.redis.hget(f"archetype:job:{plain}", "shares")) == 1
    assert int(lanes.redis.hget(f"archetype:job:{split}", "shares")) > 2
    lanes.work(lane_seconds=0)
    assert lanes.result(plain).state is State.SUCCEEDED, lanes.result(plain).error
    assert lanes.result(split).state is State.SUCCEEDED, lanes.result(split).error
    assert_same_result(lanes.result(split), lanes.result(plain))
    assert_same_files(lanes.files(split), lanes.files(plain))
    assert set(lanes.result(plain).metrics["repeated"].items()) == {("03.png", "03-again.png"), ("12.png", "00.png")}
    assert lanes.result(split).provenance["request"] == lanes.result(plain).provenance["request"]


def test_a_job_that_an_earlier_version_accepted_runs_in_its_one_shard(
    lanes: LaneWorkplace, small_shards: pytest.MonkeyPatch
) -> None:
    body = {"method": "saliency", "model": "grey", "images": {"archive": pack(lanes)}, "params": {}}
    split = lanes.submit(**body)
    spec = json.loads(lanes.storage.load_spec(split))
    earlier = {name: value for name, value in spec.items() if name != "images"}
    earlier |= {"format": 2, "shares": [1], "weight": EXCLUSIVE_SIZE}
    job_id = new_job_id()
    lanes.storage.bucket.put(f"jobs/{job_id}/request.json", json.dumps(earlier).encode(), media_type=JSON)
    lanes.claims.create(job_id, JobSpec.model_validate_json(lanes.storage.load_spec(job_id)))
    lanes.work(lane_seconds=0)
    assert_same_result(lanes.result(split), lanes.result(job_id))


def test_the_targets_of_one_image_are_split_over_several_shards(
    lanes: LaneWorkplace, small_shards: pytest.MonkeyPatch
) -> None:
    body = {"method": "saliency", "model": "grey", "images": [lanes.upload(1), lanes.upload(2)], "targets": "all"}
    plain = lanes.submit(**body)
    small_shards.setattr(sharding, "SHARD_PAIRS", 2)
    split = lanes.submit(**body)
    assert int(lanes.redis.hget(f"archetype:job:{split}", "shares")) == 4
    lanes.work(lane_seconds=0)
    assert_same_result(lanes.result(split), lanes.result(plain))
    sheets = [lanes.storage.bucket.get(lanes.manifest(id_).keys["contact-sheet.png"]) for id_ in (plain, split)]
    assert sheets[0] == sheets[1]


def test_images_of_a_prefix_that_are_added_meanwhile_are_neither_lost_nor_read_twice(
    lanes: LaneWorkplace, small_shards: pytest.MonkeyPatch
) -> None:
    def put(name: str, seed: int) -> str:
        key = f"probes/{name}.png"
        lanes.storage.bucket.put(key, encode(noise(SIDE, SIDE, 1, seed=seed)), media_type="image/png")
        return key

    keys = [put(f"{number:02}", number) for number in range(14)]
    job_id = lanes.submit(method="saliency", model="grey", images={"prefix": "probes/"}, keys=keys)
    added = [put("00a", 50), put("07a", 51), put("99", 52)]
    lanes.work(lane_seconds=0)
    names = [pair["name"] for pair in lanes.result(job_id).metrics["pairs"]]
    assert names == sorted([*keys, *added])


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The images whose maps were computed, in order."""
    names: list[str] = []
    compute = MapPool.compute

    def record_and_compute(self: MapPool, wants: Any) -> Any:
        names.extend(pair.name for pairs in wants for pair in pairs)
        return compute(self, wants)

    monkeypatch.setattr(MapPool, "compute", record_and_compute)
    return names


class Died(BaseException):
    """The worker is killed."""


def test_a_shard_of_images_resumes_after_the_last_pair_that_was_saved(
    lanes: LaneWorkplace, mapped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"method": "saliency", "model": "grey", "images": {"archive": pack(lanes)}, "targets": {"top": 2}}
    plain, job_id = lanes.submit(**body), lanes.submit(**body)
    run_next_lane(lanes.worker_context(lane_seconds=0))
    mapped.clear()
    saved = []
    save_artifact = type(lanes.storage).save_artifact

    def save_some(*arguments: Any, **options: Any) -> str:
        saved.append(arguments)
        if len(saved) == 40:  # in the middle of a batch
            raise Died
        return save_artifact(*arguments, **options)

    monkeypatch.setattr(type(lanes.storage), "save_artifact", save_some)
    with pytest.raises(Died):
        run_next_lane(replace(lanes.worker_context(lane_seconds=0, checkpoint_seconds=1e-6), background=Inline()))
    monkeypatch.setattr(type(lanes.storage), "save_artifact", save_artifact)
    lanes.lose_lease()
    computed = len(mapped)
    lanes.work(lane_seconds=0)
    assert len(mapped) < computed + 2 * IMAGES  # not all of them again
    assert len(mapped) - computed <= 2 * IMAGES - 40 // 3 + 1
    assert lanes.result(job_id).attempt == 2
    assert_same_result(lanes.result(job_id), lanes.result(plain))
    assert_same_files(lanes.files(job_id), lanes.files(plain))
    assert list(lanes.storage.bucket.keys(f"jobs/{job_id}/checkpoints/")) == []


def test_a_failed_shard_of_images_is_reported_and_the_results_of_the_others_are_kept(
    lanes: LaneWorkplace, small_shards: pytest.MonkeyPatch, mapped: list[str]
) -> None:
    job_id = lanes.submit(method="saliency", model="grey", images={"archive": pack(lanes)})
    assert lanes.claims.claim("a worker that dies")
    give_up_shard(lanes)
    lanes.work(lane_seconds=0)
    job = lanes.result(job_id)
    assert job.state is State.SUCCEEDED
    gone = [failure["image"] for failure in job.metrics["failed"]]
    assert gone == ["00.png", "01.png", "02.png", "03-again.png", "03.png", "10-broken.png", "11.png"]
    assert {failure["error"]["type"] for failure in job.metrics["failed"][:-2]} == {"/problems/attempts-exhausted"}
    assert [pair["name"] for pair in job.metrics["pairs"]] == [f"{number:02}.png" for number in (*range(4, 11), 12)]
    assert mapped == [pair["name"] for pair in job.metrics["pairs"]]


def give_up_shard(lanes: LaneWorkplace) -> None:
    """Gives up the only shard that is claimed, as the recovery does after its last attempt."""
    context = lanes.worker_context(max_attempts=1)
    recovery = Recovery(
        settings=context.settings,
        redis_client=lanes.redis_client,
        job_index=lanes.job_index,
        locks=context.locks,
        claims=lanes.claims,
        storage=lanes.storage,
        outbox=context.outbox,
        broker=create_broker(context.settings),
        leases=LeaseMonitor(1),
    )
    ((ref, beat),) = lanes.claims.leases().items()
    recovery.return_shard(ref, beat)
