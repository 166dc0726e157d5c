"""Readiness without servers: the answer names the cause for each part, also if many callers ask."""

from concurrent.futures import ThreadPoolExecutor

from flask.testing import FlaskClient


def test_a_part_that_cannot_be_reached_is_named_with_the_cause(http: FlaskClient) -> None:
    response = http.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["status"] == "unavailable"
    assert all("refused" in cause for cause in response.get_json()["parts"].values())


def test_many_callers_share_one_check(http: FlaskClient) -> None:
    app = http.application
    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(lambda _: app.test_client().get("/readyz").status_code, range(40)))
    assert answers == [503] * 40
