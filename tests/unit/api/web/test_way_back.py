"""After a sign-in, the way back leads to a page of this service and nowhere else."""

import pytest
from flask import Flask

from api.web.way_back import find_way_back, write_way_back

PAGES = [
    "/",
    "/jobs",
    "/jobs?state=failed&method=class_model",
    "/models/shapes@1",
    "/models/a%20model",
    "/audits",
    "/compare?left=01k9v0m2q7gq5n9w3t8yx4r6zs&right=",
]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_of_this_service_is_led_back_to(app: Flask, path: str) -> None:
    with app.test_request_context():
        assert find_way_back(path) == path


OTHERS = {
    "another host": ["//host", "//host/jobs", "///host", "https://host/jobs", "http:/jobs", "javascript:a()", "host"],
    "backslashes": ["/\\host", "\\\\host", "/%5chost", "/%5Chost/jobs", "/jobs\\..", "/%255chost"],
    "control characters": [
        "/\t/host", "/%09/host", "/%0a/host", "/%0d%0aSet-Cookie:%20x=1", "/\x00", "/jobs\n", "/jobs%00", "/%2509/host",
        "\t//host", "/\u2028/host", "/jobs?x=%0d%0aa",
    ],
    "slashes that are encoded": ["/%2fhost", "/%2F%2Fhost", "/%252fhost", "/%25252525252fhost", "/jobs//host"],
    "dots": ["/..//host", "/jobs/..", "/jobs/%2e%2e/%2e%2e", "/./jobs", "/jobs%2f.."],
    "other characters": ["/jobs#part", "/jobs x", "/jobs?x=\u00e9", "/\uff0fhost", "", " /jobs", "?next=/", "@host"],
    "no page": ["/enter", "/leave", "/v1/jobs", "/nothing", "/static/new.js", "/jobs/x/cancel", "/healthz", "/docs"],
    "very long": ["/jobs?tag=" + "a" * 2000, "/" * 100_000, "/" + "%25" * 50_000],
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_anything_else_leads_to_the_first_page(app: Flask, kind: str) -> None:
    with app.test_request_context():
        assert {path[:40]: find_way_back(path) for path in OTHERS[kind]} == {path[:40]: "/" for path in OTHERS[kind]}


@pytest.mark.parametrize("path", PAGES)
def test_the_way_back_to_a_page_survives_the_sign_in_page(app: Flask, path: str) -> None:
    with app.test_request_context(path):
        assert find_way_back(write_way_back()) == path


def test_a_request_that_changes_something_is_not_repeated_after_the_sign_in(app: Flask) -> None:
    with app.test_request_context("/jobs/01k9v0m2q7gq5n9w3t8yx4r6zs/cancel", method="POST"):
        assert write_way_back() == "/"
