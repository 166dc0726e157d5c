"""Where the libraries publish their weights."""

import pytest

from shared.catalogue import Release
from shared.errors import UnloadableModel
from worker.published import find_published


def entry(architecture: str, published: bool | str = True) -> Release:
    return Release(name="one", architecture=architecture, published=published, classes=["a", "b"])


def test_torchvisions_weights_are_those_of_the_name_and_their_digest_is_in_it() -> None:
    source = find_published(entry("torchvision:resnet50", "IMAGENET1K_V1"))
    assert source.place.startswith("https://download.pytorch.org/models/resnet50-")
    assert len(source.digest) == 8
    assert source.digest in source.place
    assert find_published(entry("torchvision:resnet50")).place != source.place  # the newest, V2


def test_timms_weights_are_those_of_the_tag() -> None:
    source = find_published(entry("timm:resnet18.a1_in1k"))
    assert source.place == "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"


@pytest.mark.parametrize(
    ("architecture", "published", "message"),
    [
        ("torchvision:resnet50", "IMAGENET1K_V9", "IMAGENET1K_V1"),
        ("torchvision:resnet19", True, "no classification model"),
        ("timm:resnet18", "a1_in1k", "the name says which"),
        ("timm:resnet19", True, "timm has no model"),
    ],
)
def test_what_is_not_published_is_said(architecture: str, published: bool | str, message: str) -> None:
    with pytest.raises(UnloadableModel, match=message):
        find_published(entry(architecture, published))
