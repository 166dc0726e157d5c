"""How jobs are split into shards."""

from typing import Any

from archetype.contract.request import REQUEST
from shared.queue.sharding import EXCLUSIVE_SIZE, SHARD_SLOTS, split_job

IMAGE = "a" * 64


def request(method: str = "class_model", **changes: Any) -> Any:
    body = {"method": method, "model": "shapes@1"}
    if method == "class_model":
        body |= {"targets": [1]}
    return REQUEST.validate_python(body | ({"images": [IMAGE]} if method != "class_model" else {}) | changes)


def test_a_job_with_many_targets_is_split_into_shards_of_about_the_same_size() -> None:
    assert split_job(request(), [7]) == ([1], 1)
    assert split_job(request(), list(range(10))) == ([5, 5], 1)
    assert split_job(request(params={"seeds": [0, 1, 2]}), [1, 2, 3]) == ([2, 1], 3)
    shards, weight = split_job(request(), list(range(1000)))
    assert (sum(shards), max(shards), weight) == (1000, SHARD_SLOTS, 1)
    assert split_job(request(params={"seeds": list(range(16))}), [1, 2]) == ([1, 1], 16)


def test_each_pair_takes_one_slot_and_a_job_that_cannot_share_a_batch_takes_a_worker() -> None:
    assert split_job(request("saliency", images=[IMAGE, "b" * 64]), [1, 2]) == ([4], 1)
    assert split_job(request("saliency", targets={"top": 3}), None) == ([3], 1)
    assert split_job(request("saliency", images={"archive": IMAGE}), None) == ([1], EXCLUSIVE_SIZE)
    assert split_job(request("deep_dream"), None) == ([1], EXCLUSIVE_SIZE)
