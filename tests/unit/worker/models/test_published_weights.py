"""The URLs of the weights that torchvision and timm publish."""

import pytest

from shared.catalogue.release import Release
from shared.errors import UnloadableModel
from worker.models.published_weights import find_published


def entry(architecture: str, published: bool | str = True) -> Release:
    return Release(name="one", architecture=architecture, published=published, classes=["a", "b"])


def test_torchvision_weights_are_found_by_name_with_the_digest_of_their_file_name() -> None:
    source = find_published(entry("torchvision:resnet50", "IMAGENET1K_V1"))
    assert source.place.startswith("https://download.pytorch.org/models/resnet50-")
    assert len(source.digest) == 8
    assert source.digest in source.place
    assert find_published(entry("torchvision:resnet50")).place != source.place  # the newest, V2


def test_timm_weights_are_found_by_the_tag_of_the_model_name() -> None:
    source = find_published(entry("timm:resnet18.a1_in1k"))
    assert source.place == "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"


@pytest.mark.parametrize(
    ("architecture", "published", "message"),
    [
        ("torchvision:resnet50", "IMAGENET1K_V9", "IMAGENET1K_V1"),
        ("torchvision:resnet19", True, "no classification model"),
        ("timm:resnet18", "a1_in1k", "selects weights by the name"),
        ("timm:resnet19", True, "timm has no model"),
    ],
)
def test_an_error_says_which_weights_are_not_published(architecture: str, published: bool | str, message: str) -> None:
    with pytest.raises(UnloadableModel, match=message):
        find_published(entry(architecture, published))
