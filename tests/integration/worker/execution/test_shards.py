"""Jobs of several shards: assembly, failed shards, and shards whose worker died."""

import pytest

from archetype.contract.job import State
from shared.queue.claims import Claims
from tests.support.lane_workplace import LaneWorkplace
from worker.execution.lane_runner import run_next_lane


def test_a_job_of_many_targets_is_assembled_from_its_shards(lanes: LaneWorkplace, batches: list[int]) -> None:
    params = {"steps": 6, "seeds": [0, 1, 2, 3, 4], "frames": 2}
    job_id = lanes.submit([0, 1, 2], params=params)
    assert [lanes.job_index.find(job_id).state] == [State.QUEUED]
    lanes.work(lane_seconds=0)
    job = lanes.result(job_id)
    assert (job.state, job.progress.done, job.progress.total) == (State.SUCCEEDED, 90, 90)
    assert lanes.job_index.find(job_id).progress == job.progress
    assert [target["target"]["index"] for target in job.metrics["targets"]] == [0, 1, 2]
    names = [artifact.name for artifact in job.artifacts]
    assert names.count("contact-sheet.png") == names.count("metrics.json") == 1
    assert {artifact.target.index for artifact in job.artifacts if artifact.target} == {0, 1, 2}
    assert set(names) == lanes.manifest(job_id).keys.keys()
    assert len({key.split("/")[3] for key in lanes.manifest(job_id).keys.values()}) == 4  # three shards and the job
    assert job.provenance["model"]["reference"] == "grey@1"


def test_a_failed_shard_is_reported_and_the_results_of_the_other_shards_are_kept(lanes: LaneWorkplace) -> None:
    params = {"steps": 6, "seeds": [0, 1, 2, 3, 4]}
    job_id = lanes.submit([0, 1], model="picky", params=params)
    lanes.work()
    job = lanes.result(job_id)
    assert job.state is State.SUCCEEDED
    succeeded, failed = job.metrics["targets"]
    assert "rank" in succeeded
    assert "does not like this picture" in failed["error"]["detail"]
    hopeless = lanes.submit([1], model="picky", params={"steps": 6, "seeds": list(range(16))})
    lanes.work()
    assert lanes.result(hopeless).error.type == "/problems/network-failed"


def test_a_shard_whose_result_was_stored_before_its_worker_died_is_not_computed_again(
    lanes: LaneWorkplace, monkeypatch: pytest.MonkeyPatch, batches: list[int]
) -> None:
    job_id = lanes.submit([0, 1], params={"steps": 6, "seeds": [0, 1, 2, 3, 4]})
    plain = Claims.finish_shard
    monkeypatch.setattr(Claims, "finish_shard", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_next_lane(lanes.worker_context(lane_seconds=0))
    monkeypatch.setattr(Claims, "finish_shard", plain)
    lanes.lose_lease()
    batches.clear()
    lanes.work(lane_seconds=0)
    assert lanes.result(job_id).state is State.SUCCEEDED
    assert len(batches) == 6  # those of the other shard
