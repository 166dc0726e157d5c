"""The limits of a JSON document are checked before an object is built from it."""

import json
import time
from typing import Any

import pytest

from archetype.contract.strict_json import JsonLimits, TooManyElements, load_json

LIMITS = JsonLimits(elements=100, depth=5)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"a": {"b": [1, 2.5, None, True, "text"]}},
        ["[[[[[[[[", "{{{{{{{", '"][', "\\", '\\"', ",,," * 200, "\u2028", "ä" * 200],
        {"[{" * 20: 1},
        list(range(99)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_a_document_within_the_limits_is_read_unchanged(value: Any, encoding: str) -> None:
    assert load_json(json.dumps(value, ensure_ascii=False).encode(encoding), LIMITS) == value
    assert load_json(json.dumps(value), LIMITS) == value


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(list(range(200))),
        json.dumps([[]] * 200),
        json.dumps({str(number): 1 for number in range(60)}),
        json.dumps(["]"] * 200),
        "[" * 6 + "]" * 6,
        '{"a":' * 6 + "1" + "}" * 6,
        "[" * 1_000_000,
        '{"a":' * 100_000,
        json.dumps(list(range(200))).encode("utf-16"),
    ],
)
def test_a_document_beyond_the_limits_is_refused_before_it_is_parsed(
    text: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(TooManyElements, match=r"elements|levels"):
        load_json(text, LIMITS)


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 500_000, '["' + "a" * 1_000_000, '"' * 1_000_001, "\\" * 1_000_000, " " * 1_000_000, '"\\']
)
def test_a_document_with_text_that_never_ends_is_refused_in_linear_time(text: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match=r"text|value|elements|string|levels|data"):
        load_json(text, LIMITS)
    assert time.process_time() - start < 20
