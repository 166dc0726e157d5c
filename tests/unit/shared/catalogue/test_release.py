"""Releases: resolution of classes, and checks of their weights."""

import pytest

from archetype.contract.registration import NewRelease
from shared.catalogue.release import Release, build_release
from shared.errors import UnknownTarget


@pytest.fixture
def release() -> Release:
    return Release(name="one", architecture="torchvision:resnet18", classes=["cat", "dog", "crane", "crane"])


def test_targets_are_resolved_by_index_and_by_name_in_any_case(release: Release) -> None:
    assert release.resolve_targets([1, "cat", "DOG", "3"]) == [1, 0, 3]
    assert release.resolve_targets("all") == [0, 1, 2, 3]


def test_an_unknown_class_is_refused_with_the_nearest_names(release: Release) -> None:
    with pytest.raises(UnknownTarget) as error:
        release.resolve_targets(["cat", "dgo", 9])
    first, second = error.value.document.errors
    assert (first.field, first.given, first.allowed) == ("/targets/1", "dgo", ["dog"])
    assert (second.field, second.given, second.allowed) == ("/targets/2", 9, "0 to 3")


def test_a_number_is_the_class_of_this_name_wherever_it_stands() -> None:
    digits = Release(name="digits", architecture="torchvision:resnet18", classes=["0", "1", "10", "2"])
    assert digits.resolve_targets(["2", "10", 3, "#3"]) == [3, 2]
    with pytest.raises(UnknownTarget, match="'3' can be a name or an index"):
        digits.resolve_targets(["3"])
    assert digits.model_dump(mode="json")["classes"] == ["0", "1", "10", "2"]
    assert "class_names" not in digits.model_dump()


def test_a_single_target_is_refused_with_its_own_place(release: Release) -> None:
    with pytest.raises(UnknownTarget) as error:
        release.resolve_target("pear", field="/plan/waivers/0/target")
    assert [fault.field for fault in error.value.document.errors] == ["/plan/waivers/0/target"]


def test_an_ambiguous_class_name_is_refused_with_the_indices(release: Release) -> None:
    with pytest.raises(UnknownTarget) as error:
        release.resolve_targets(["crane"])
    assert error.value.document.errors[0].allowed == [2, 3]


def test_the_class_names_of_a_registration_are_stripped_and_checked() -> None:
    fields = {"name": "one", "architecture": "timm:resnet18", "upload": "a" * 64}
    assert NewRelease(**fields, classes=[" a", "b\n", "b"]).classes == ["a", "b", "b"]
    for wrong in ("", " ", "a\tb", "a\x00b"):
        with pytest.raises(ValueError, match="class 1 is"):
            NewRelease(**fields, classes=["a", wrong])


@pytest.mark.parametrize("argument", ["pretrained", "checkpoint_path", "weights", "pretrained_cfg"])
def test_arguments_that_load_weights_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match="must not load weights"):
        Release(name="one", architecture="timm:resnet18", arguments={argument: "x"}, classes=["a", "b"])


def test_more_than_one_source_of_weights_is_refused() -> None:
    for given in ({"key": "x", "published": True}, {"key": "x", "weights": "y"}):
        with pytest.raises(ValueError, match="only one of"):
            Release(name="one", architecture="timm:resnet18", classes=["a", "b"], **given)
    with pytest.raises(ValueError, match="published"):
        Release(name="one", architecture="factory:mine", classes=["a", "b"], published=True)


def test_a_model_folder_fills_in_the_fields_that_its_registration_does_not_give() -> None:
    fields = {"name": "one", "architecture": "huggingface", "upload": "a" * 64}
    plain = build_release(NewRelease(**fields), [], tenant=None)
    assert plain.from_folder == ["classes", "preprocessing", "output"]
    new = NewRelease(**fields, classes=["a"], preprocessing={"size": [32, 32]})
    assert build_release(new, ["a"], tenant=None).from_folder == ["output"]
    other = NewRelease(name="one", architecture="timm:resnet18", upload="a" * 64, classes=["a"])
    assert build_release(other, ["a"], tenant=None).from_folder == []


@pytest.mark.parametrize("architecture", ["timm:resnet18", "huggingface"])
def test_class_names_may_be_missing_only_while_a_folder_is_to_provide_them(architecture: str) -> None:
    with pytest.raises(ValueError, match="classes must not be empty"):
        Release(name="one", architecture=architecture, classes=[])


def test_a_model_folder_is_never_published_by_a_library() -> None:
    with pytest.raises(ValueError, match="OWNER/NAME@COMMIT"):
        NewRelease(name="one", architecture="huggingface", published=True)


def test_only_a_model_folder_may_lack_class_names() -> None:
    with pytest.raises(ValueError, match="class names are required"):
        NewRelease(name="one", architecture="timm:resnet18", upload="a" * 64)


def test_a_registration_with_uploaded_weights_refers_to_them_by_digest() -> None:
    new = NewRelease(name="one", release="2", architecture="timm:resnet18", upload="a" * 64, classes=["a", "b"])
    release = build_release(new, ["a", "b"], tenant="vision")
    assert (release.key, release.sha256, release.tenant) == (f"weights/vision/{'a' * 64}", "a" * 64, "vision")
