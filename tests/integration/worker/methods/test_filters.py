"""Filters, from the view of a client."""

from collections.abc import Callable
from pathlib import Path

import httpx2

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import Filters
from deploy.local import Stack


def test_a_layer_that_is_not_a_convolution_is_refused_with_the_name_of_one(
    stack: Stack, described: Callable[[str], None]
) -> None:
    described("shapes")
    body = {"method": "filters", "model": "shapes", "params": {"layer": "classifier"}}
    answer = httpx2.post(f"{stack.url}/v1/jobs", json=body)
    assert answer.status_code == 422
    assert "not a convolution" in answer.json()["detail"]
    body["params"] = {"filters": [9999], "layer": answer.json()["errors"][0]["allowed"][0]}
    assert httpx2.post(f"{stack.url}/v1/jobs", json=body).json()["errors"][0]["field"] == "/params/filters"


def test_filters_are_those_of_the_weights_file_before_folding(client: Client, models: Path) -> None:
    job = client.wait(client.submit(Filters(method="filters", model="resnet20", params={"count": 3})).id, timeout=400)
    assert job.state is State.SUCCEEDED, job.error
    assert job.metrics["layer"] == "conv1"
    assert job.metrics["shape"] == [16, 3, 3, 3]
