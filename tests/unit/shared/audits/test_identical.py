"""Two releases are identical if the digests of everything that determines their outputs are equal."""

from typing import Any

import pytest

from archetype.contract.model import Description
from shared.audits.identical import DescribedRelease, Identity, find_identity
from shared.catalogue.release import Release


def described(number: str, *, file: str = "1", tensors: str | None = "a", **changes: Any) -> DescribedRelease:
    fields = {"name": "fruit", "release": number, "architecture": "timm:resnet18", "classes": ["apple", "lemon"]}
    digest = None if tensors is None else tensors * 64
    description = Description(sha256=file * 64, tensors=digest, parameters=1, layers=[])
    return DescribedRelease(Release.model_validate(fields | changes), description)


def explain(subject: DescribedRelease, baseline: DescribedRelease) -> str | None:
    identity = find_identity(subject, baseline)
    return None if identity is None else identity.explanation


def test_equal_weights_in_different_files_are_identical_and_the_report_explains_the_digests() -> None:
    identity = find_identity(described("2", file="2"), described("1"))
    assert isinstance(identity, Identity)
    assert identity.baseline.release == "fruit@1"
    assert identity.subject.file_sha256 != identity.baseline.file_sha256
    assert identity.subject.weights_sha256 == identity.baseline.weights_sha256 == "a" * 64
    assert identity.subject.settings_sha256 == identity.baseline.settings_sha256
    assert "files differ in format" in identity.explanation


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "timm:resnet34"},
        {"arguments": {"drop_rate": 0.1}},
        {"preprocessing": {"size": [96, 96]}},
        {"preprocessing": {"interpolation": "nearest"}},
        {"classes": ["lemon", "apple"]},
        {"output": {"kind": "sigmoid_logits"}},
        {"score_layer": "fc"},
    ],
)
def test_the_same_file_in_another_setting_is_not_identical(changes: dict[str, Any]) -> None:
    assert explain(described("2", **changes), described("1")) is None


def test_the_same_file_is_identical_unless_another_state_dict_of_it_is_loaded() -> None:
    assert "same weights file" in (explain(described("2", tensors=None), described("1", tensors=None)) or "")
    assert explain(described("2", tensors=None, state_dict="model_ema"), described("1", tensors=None)) is None


def test_other_or_unknown_weights_are_not_identical() -> None:
    assert explain(described("2", file="2", tensors="b"), described("1")) is None
    assert explain(described("2", file="2", tensors=None), described("1", tensors=None)) is None
    unknown = DescribedRelease(described("2").release, None)
    assert explain(unknown, described("1")) is None


@pytest.mark.parametrize("architecture", ["program", "huggingface"])
def test_equal_weights_do_not_suffice_if_the_file_also_defines_the_network(architecture: str) -> None:
    same, other = described("1", architecture=architecture), described("2", file="2", architecture=architecture)
    assert explain(other, same) is None
    assert explain(described("2", architecture=architecture), same) is not None


def test_a_release_is_identical_to_itself_even_if_no_worker_has_loaded_it() -> None:
    alone = DescribedRelease(described("1").release, None)
    assert explain(alone, alone) == "the subject and the baseline are the same release"
