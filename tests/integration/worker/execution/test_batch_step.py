"""Batches: jobs of a lane share them, join them late, and fail without affecting each other."""

from typing import Any

import pytest

from archetype.contract.job import State
from shared.media.image import ImageFacts
from tests.support.lane_workplace import QUICK, LaneWorkplace, assert_same_files
from worker.attribution.saliency_maps import MapPool


def test_jobs_of_a_lane_share_a_batch_and_each_has_the_same_result_as_alone(
    lanes: LaneWorkplace, batches: list[int]
) -> None:
    jobs = [lanes.submit([target], params=QUICK | {"seeds": [target]}) for target in (0, 1, 2, 0)]
    assert lanes.work() == 1
    assert max(batches) == 4
    alone = lanes.submit([1], params=QUICK | {"seeds": [1]})
    lanes.work()
    assert_same_files(lanes.files(jobs[1]), lanes.files(alone))
    assert lanes.result(jobs[1]).metrics.keys() == lanes.result(alone).metrics.keys()


def test_a_late_job_joins_the_running_batch(lanes: LaneWorkplace, batches: list[int], at_step: Any) -> None:
    first = lanes.submit([0])
    late: list[str] = []
    at_step(5, lambda: late.append(lanes.submit([1])))
    assert lanes.work() == 1
    assert lanes.result(first).state is lanes.result(late[0]).state is State.SUCCEEDED
    other = lanes.submit([1])
    lanes.work()
    assert_same_files(lanes.files(late[0]), lanes.files(other))


def test_no_more_jobs_are_claimed_than_fit_into_the_planned_batch(lanes: LaneWorkplace, batches: list[int]) -> None:
    jobs = [lanes.submit([0, 1, 2]) for _ in range(4)]
    assert lanes.work() == 1
    assert max(batches) == 2  # eight places, three each
    assert all(lanes.result(job_id).state is State.SUCCEEDED for job_id in jobs)


def test_a_job_that_makes_its_batch_fail_is_the_only_one_that_fails(lanes: LaneWorkplace) -> None:
    jobs = [lanes.submit([0], model="picky", params=QUICK | {"seeds": [seed]}) for seed in (0, 1, 2)]
    poison = lanes.submit([1], model="picky")
    lanes.work()
    assert [lanes.result(job_id).state for job_id in jobs] == [State.SUCCEEDED] * 3
    failed = lanes.result(poison)
    assert (failed.state, failed.error.type) == (State.FAILED, "/problems/network-failed")
    assert "does not like this picture" in failed.error.detail


def test_saliency_maps_of_several_jobs_are_computed_in_one_batch(
    lanes: LaneWorkplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    plain = MapPool.compute

    def compute(self: MapPool, payloads: Any) -> Any:
        sizes.append(sum(map(len, payloads)))
        return plain(self, payloads)

    monkeypatch.setattr(MapPool, "compute", compute)
    images = [lanes.upload(seed) for seed in range(4)]
    jobs = [
        lanes.submit(method="saliency", images=[image], params={}, targets=[seed % 3])
        for seed, image in enumerate(images)
    ]
    both = lanes.submit(method="localization", images=images[:2], params={"crops": 1, "view": "crop"}, targets=[0])
    assert lanes.work() == 1
    assert sizes == [6]
    alone = lanes.submit(method="saliency", images=[images[1]], params={}, targets=[1])
    lanes.work()
    assert_same_files(lanes.files(jobs[1]), lanes.files(alone))
    assert lanes.result(both).state is State.SUCCEEDED


def test_an_image_that_cannot_be_read_fails_only_its_own_job(lanes: LaneWorkplace) -> None:
    good = lanes.submit(method="saliency", images=[lanes.upload(1)], params={}, targets=[0])
    image = lanes.storage.of("default").save_image(b"this was an image once", ImageFacts("PNG", 28, 28)).id
    bad = lanes.submit(method="saliency", images=[image], params={}, targets=[0])
    lanes.work()
    assert [lanes.result(job_id).state for job_id in (good, bad)] == [State.SUCCEEDED, State.FAILED]
