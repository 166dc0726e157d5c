"""Labels of classes in images."""

import pytest

from archetype.contract.class_names import ClassNames
from worker.output.labels import label_class


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["bee", "пёс"], "пёс"),
        (["bee", "猫"], "#1"),
        (["bee", "قط"], "#1"),
        (["7", "2"], "2"),
        (["crane", "crane"], "crane #1"),
        (["猫", "猫"], "#1"),
    ],
)
def test_a_label_is_the_name_or_the_index_if_the_name_is_not_legible_or_not_unique(
    names: list[str], label: str
) -> None:
    assert label_class(ClassNames(names), 1) == label
