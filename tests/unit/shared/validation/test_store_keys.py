"""Keys that tenants may name: under the allowed prefixes, without ways out of them."""

import pytest

from shared.storage.layout import PREFIXES
from shared.validation.store_keys import expand_prefixes, is_allowed


@pytest.mark.parametrize(
    "key", ["exports/a.safetensors", "exports/2026/b c.pt", "exports/..a", "exports/", "exports/é"]
)
def test_a_key_under_an_allowed_prefix_is_allowed(key: str) -> None:
    assert is_allowed(key, ["exports/"])


@pytest.mark.parametrize(
    "key",
    [
        "weights/alice/0", "exports", "other/exports/a", "exports/../weights/alice/0", "exports/..", "exports/./a",
        "exports//a", "/exports/a", "exports/\\..\\weights", "exports/a\x00", "exports/a\n", "exports/a/../../jobs/1",
    ],
)  # fmt: skip
def test_a_key_outside_or_with_a_way_out_of_the_prefix_is_refused(key: str) -> None:
    assert not is_allowed(key, ["exports/"])


@pytest.mark.parametrize("place", PREFIXES)
def test_no_prefix_of_the_operator_opens_the_objects_of_the_service(place: str) -> None:
    assert not is_allowed(f"{place}/alice/0", ["", place, f"{place}/"])


def test_a_prefix_with_the_name_of_the_tenant_is_its_own() -> None:
    prefixes = expand_prefixes(["shared/", "exports/{tenant}", "{tenant}/models/"], "alice")
    assert prefixes == ["shared/", "exports/alice/", "alice/models/"]
    assert is_allowed("exports/alice/a", prefixes)
    assert not is_allowed("exports/alice2/a", prefixes)
    assert not is_allowed("exports/{tenant}/a", prefixes)
