"""How jobs are split into shards."""

from typing import Any

import pytest

from archetype.contract.request import REQUEST
from shared.queue.sharding import (
    EXCLUSIVE_SIZE,
    SHARD_PAIRS,
    SHARD_SLOTS,
    SHARD_TRIGGERS,
    UNLIMITED_ROOM,
    WHOLE_JOB,
    ImageRange,
    Split,
    count_pairs,
    split_job,
)

IMAGE = "a" * 64


def request(method: str = "class_model", **changes: Any) -> Any:
    body = {"method": method, "model": "shapes@1"}
    if method == "class_model":
        body |= {"targets": [1]}
    return REQUEST.validate_python(body | ({"images": [IMAGE]} if method != "class_model" else {}) | changes)


def test_a_job_with_many_targets_is_split_into_shards_of_about_the_same_size() -> None:
    assert split_job(request(), [7]) == Split([1], 1)
    assert split_job(request(), list(range(10))) == Split([5, 5], 1)
    assert split_job(request(params={"seeds": [0, 1, 2]}), [1, 2, 3]) == Split([2, 1], 3)
    shards, weight, images = split_job(request(), list(range(1000)))
    assert (sum(shards), max(shards), weight, images) == (1000, SHARD_SLOTS, 1, ())
    assert split_job(request(params={"seeds": list(range(16))}), [1, 2]) == Split([1, 1], 16)


def test_each_pair_takes_one_slot_and_a_small_job_that_cannot_share_a_batch_takes_a_worker() -> None:
    assert split_job(request("saliency", images=[IMAGE, "b" * 64]), [1, 2], 2) == Split([4], 1)
    assert split_job(request("saliency", targets={"top": 3}), None, 1) == Split([3], 1)
    assert split_job(request("saliency", images={"archive": IMAGE}), None, SHARD_PAIRS) == Split([SHARD_PAIRS], 1)
    assert split_job(request("deep_dream"), None, 1) == Split([1], EXCLUSIVE_SIZE)
    assert split_job(request("saliency", images={"prefix": "empty/"}), None, ()) == Split([1], EXCLUSIVE_SIZE)


def test_a_trigger_search_is_split_by_classes_and_each_shard_uses_all_images() -> None:
    assert split_job(request("trigger"), list(range(SHARD_TRIGGERS)), 60) == WHOLE_JOB
    shards, weight, images = split_job(request("trigger"), list(range(1000)), 60)
    assert (sum(shards), images) == (1000, ())
    assert min(shards) > SHARD_TRIGGERS - 3 >= max(shards) - 3
    assert UNLIMITED_ROOM // 2 < weight * max(shards) <= UNLIMITED_ROOM


METHODS: dict[str, dict[str, Any]] = {
    "saliency": {},
    "localization": {},
    "patches": {},
    "fool": {"targets": [1]},
    "deep_dream": {},
    "feature_inversion": {},
    "activations": {},
}


@pytest.mark.parametrize("method", METHODS)
def test_a_large_job_of_every_method_over_images_has_many_shards_and_every_pair_is_in_one(method: str) -> None:
    images, targets = 1000, [1] if method == "fool" else None
    body = request(method, images={"archive": IMAGE}, **METHODS[method])
    split = split_job(body, targets, images)
    of_image = 5 if method == "localization" else 1
    assert sum(split.shards) == images * of_image
    assert len(split.shards) == len(split.images) >= 16
    assert max(split.shards) <= SHARD_PAIRS
    assert max(split.shards) - min(split.shards) <= 2 * of_image
    edges = [(part.start, part.stop) for part in split.images]
    assert [start for start, _ in edges] == [0, *(stop for _, stop in edges[:-1])]
    assert edges[-1][1] == images
    assert {(part.first, part.last) for part in split.images} == {(0, None)}
    sizes = [items * split.weight for items in split.shards]
    assert max(sizes) <= UNLIMITED_ROOM  # a worker without a shard has room for it
    assert body.params.shape is not None or min(sizes) > 10_000  # and none beside it


def test_a_pair_that_takes_many_passes_makes_smaller_shards() -> None:
    plain, costly, measured = (
        split_job(request("saliency", images={"archive": IMAGE}, params=params), None, 640)
        for params in ({}, {"kind": "smoothgrad"}, {"metrics": ["deletion"]})
    )
    assert (len(plain.shards), len(costly.shards), len(measured.shards)) == (10, 40, 40)
    inversion = split_job(request("feature_inversion", images={"archive": IMAGE}), None, 10)
    assert inversion.shards == [2] * 5  # each takes four ascents


def test_the_targets_of_an_image_are_split_only_if_they_are_too_many_for_a_shard() -> None:
    few = split_job(request("saliency", images={"archive": IMAGE}), list(range(40)), 4)
    assert few.images == tuple(ImageRange(number, number + 1) for number in range(4))
    many = split_job(request("saliency"), list(range(1000)), 1)
    assert sum(many.shards) == 1000
    assert [part[:2] for part in many.images] == [(0, 1)] * 16
    assert [part.first for part in many.images] == [0, *(part.last for part in many.images[:-1])]
    own = [{"id": f"{number:064x}", "targets": list(range(1 + number))} for number in range(100)]
    uneven = split_job(request("saliency", images=own), [3], 100)
    counts = [1 + number for number in range(100)]
    assert uneven.shards == [count_pairs(part, counts) for part in uneven.images]
    assert sum(uneven.shards) == sum(counts)
    assert max(uneven.shards) <= SHARD_PAIRS


def test_the_shards_of_a_prefix_are_limited_by_keys_and_the_last_one_has_all_later_keys() -> None:
    keys = [f"probes/{number:03}.png" for number in range(130)]
    split = split_job(request("saliency", images={"prefix": "probes/"}), None, keys)
    assert [(part.after, part.until) for part in split.images] == [
        ("", keys[43]),
        (keys[43], keys[86]),
        (keys[86], None),
    ]


def test_only_a_job_over_images_with_several_shards_has_the_newer_format() -> None:
    assert split_job(request(), list(range(100))).stored_fields["format"] == 2
    assert split_job(request("saliency"), None, 1).stored_fields["format"] == 2
    assert split_job(request("saliency", images={"archive": IMAGE}), None, 100).stored_fields["format"] == 3
