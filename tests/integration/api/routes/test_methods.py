"""The list of methods."""

import httpx2

from archetype.contract.request import METHODS


def test_methods_are_listed_with_schemas_and_descriptions(http: httpx2.Client) -> None:
    items = http.get("/v1/methods").json()["items"]
    assert [item["method"] for item in items] == list(METHODS)
    assert all(item["schema"]["type"] == "object" and item["description"] for item in items)
