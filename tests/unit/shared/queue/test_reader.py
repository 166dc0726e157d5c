"""What a version can read, and the sections of the queue."""

import re
from typing import Any

import pytest
from pydantic import TypeAdapter

from archetype.contract.request import ClassModel
from shared.queue import reader
from shared.queue.reader import COMMON_FORMAT, describe_reader, name_section


def test_the_reader_is_the_same_in_every_process_and_can_be_part_of_the_name_of_a_section() -> None:
    assert describe_reader.__wrapped__() == describe_reader()
    assert re.fullmatch("[0-9a-f]+", describe_reader().name)


def test_a_version_with_other_requests_is_another_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer: TypeAdapter[Any] = TypeAdapter(ClassModel)
    monkeypatch.setattr(reader, "STORED", fewer)
    assert describe_reader.__wrapped__().name != describe_reader().name


def test_formats_that_all_versions_read_have_no_section() -> None:
    assert [name_section(number) for number in (1, 2, 3, 4)] == ["", "", "", "4-"]
    assert describe_reader().format >= COMMON_FORMAT
