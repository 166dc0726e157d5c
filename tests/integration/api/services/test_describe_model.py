"""Models as the API shows them."""

import time

import httpx2


def test_a_model_is_described_with_classes_and_layers(http: httpx2.Client) -> None:
    assert "shapes" in [item["name"] for item in http.get("/v1/models").json()["items"]]
    deadline = time.monotonic() + 60
    while (model := http.get("/v1/models/shapes").json())["layers"] is None:  # until a worker has loaded it
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert model["class_names"][0] == "lemon"
    assert model["releases"][0]["parameters"] > 200_000
    layer = next(layer for layer in model["layers"] if layer["name"] == "features.5.0")
    assert (layer["kind"], layer["shape"]) == ("Conv2d", [80, 5, 5])


def test_an_unknown_model_is_refused_with_similar_names(http: httpx2.Client) -> None:
    missing = http.get("/v1/models/shape")
    assert missing.status_code == 404
    assert "shapes" in missing.json()["detail"]


def test_an_unknown_release_is_refused_with_the_known_ones(http: httpx2.Client) -> None:
    missing = http.get("/v1/models/shapes@9")
    assert missing.status_code == 404
    assert missing.json()["detail"].endswith("its releases are 1")
