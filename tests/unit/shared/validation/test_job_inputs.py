"""Checks of the images in a request."""

from typing import Any

import pytest

from archetype.contract.request import REQUEST
from archetype.contract.upload import ArchiveFacts, Image
from shared.catalogue.catalogue import load_catalogue
from shared.errors import InvalidRequest, UnknownImage, UnknownTarget
from shared.validation.job_inputs import MAX_ASCENTS, MAX_FILES, MAX_PAIRS, check_input, check_pairs

IMAGE, ARCHIVE = "a" * 64, "b" * 64
RELEASE = load_catalogue(None).find("shapes")


class Uploaded:
    """One image and one archive."""

    def __init__(self, channels: int = 3) -> None:
        self.channels = channels

    def describe_image(self, image_id: str) -> Image | None:
        if image_id != IMAGE:
            return None
        return Image(id=image_id, format="NPY", width=80, height=60, channels=self.channels, bytes=1)

    def describe_archive(self, archive_id: str) -> ArchiveFacts | None:
        return ArchiveFacts(id=archive_id, pictures=7, bytes=1) if archive_id == ARCHIVE else None


def request(images: Any, method: str = "saliency", **params: Any) -> Any:
    return REQUEST.validate_python({"method": method, "model": "shapes@1", "images": images, "params": params})


def test_the_images_of_a_list_and_of_an_archive_are_counted() -> None:
    assert check_input(request([IMAGE]), RELEASE, Uploaded(), []) == 1
    assert check_input(request({"archive": ARCHIVE}), RELEASE, Uploaded(), []) == 7
    assert check_input(request({"prefix": "probes/today/"}), RELEASE, Uploaded(), ["probes/"]) == 0


def test_an_archive_that_was_not_uploaded_is_refused() -> None:
    with pytest.raises(UnknownImage, match="POST /v1/archives"):
        check_input(request({"archive": "c" * 64}), RELEASE, Uploaded(), [])


def test_a_prefix_that_the_operator_does_not_allow_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(InvalidRequest, match="picture_prefixes") as error:
        check_input(request({"prefix": "other/"}), RELEASE, Uploaded(), ["probes/"])
    assert error.value.errors[0].allowed == ["probes/"]


def test_an_image_with_other_channels_than_the_network_is_refused() -> None:
    assert check_input(request([IMAGE]), RELEASE, Uploaded(channels=1), []) == 1
    with pytest.raises(InvalidRequest, match="7 channels and the network expects 3"):
        check_input(request([IMAGE]), RELEASE, Uploaded(channels=7), [])


def test_targets_of_an_image_must_be_classes_of_the_model() -> None:
    with pytest.raises(UnknownTarget) as error:
        check_input(request([{"id": IMAGE, "targets": ["lemon", "lemming"]}]), RELEASE, Uploaded(), [])
    assert error.value.errors[0].field == "/images/0/targets/1"


def test_the_classes_of_true_boxes_must_be_classes_of_the_model() -> None:
    box = {"left": 0, "top": 0, "right": 9, "bottom": 9}
    boxes = [box, box | {"target": "LEMON"}, box | {"target": "lemming"}]
    assert check_input(request([{"id": IMAGE, "boxes": boxes[:2]}]), RELEASE, Uploaded(), []) == 1
    with pytest.raises(UnknownTarget) as error:
        check_input(request([{"id": IMAGE, "boxes": boxes}]), RELEASE, Uploaded(), [])
    assert error.value.errors[0].field == "/images/0/boxes/2/target"


def test_targets_of_an_image_are_refused_if_the_result_does_not_depend_on_them() -> None:
    with pytest.raises(InvalidRequest) as error:
        check_input(request([{"id": IMAGE, "targets": [1]}], "activations"), RELEASE, Uploaded(), [])
    assert error.value.errors[0].field == "/images/0/targets"


@pytest.mark.parametrize(
    ("method", "params", "limit", "field"),
    [
        ("saliency", {"outputs": []}, MAX_PAIRS, "/images"),
        ("saliency", {"outputs": ["raw"]}, MAX_FILES, "/params/outputs"),
        ("deep_dream", {"extras": False}, MAX_ASCENTS, "/images"),
    ],
)
def test_a_job_is_refused_above_each_limit_and_not_at_it(
    method: str, params: dict[str, Any], limit: int, field: str
) -> None:
    checked = request([IMAGE], method, **params)
    per_pair = {MAX_PAIRS: 1, MAX_FILES: checked.params.files, MAX_ASCENTS: checked.params.passes}[limit]
    check_pairs(checked, limit // per_pair)
    with pytest.raises(InvalidRequest, match=str(limit)) as error:
        check_pairs(checked, limit // per_pair + 1)
    assert error.value.errors[0].field == field
