"""The atlas of a model has the newest image of every class that the tenant's jobs have drawn."""

import re

import httpx2

from deploy.local import Stack
from tests.support.finished_jobs import make_class_model


def test_the_atlas_has_the_newest_image_of_a_class(stack: Stack, http: httpx2.Client) -> None:
    jobs = [make_class_model(stack.settings) for _ in range(2)]
    atlas = http.get("/v1/models/shapes/atlas").json()
    assert (atlas["model"], atlas["classes"]) == ("shapes@1", 12)
    lemon = next(entry for entry in atlas["items"] if entry["target"]["name"] == "lemon")
    assert (lemon["job"], lemon["probability"]) == (jobs[1].id, 0.98)
    assert http.get(lemon["href"]).headers["Content-Type"] == "image/png"
    page = http.get("/models/shapes?search=EMO").text
    assert lemon["href"] in page
    assert "strawberry" not in page.partition('id="classes"')[2].partition("</section>")[0]
    drawn = {entry["target"]["index"] for entry in atlas["items"]}  # other tests have drawn some of them
    links = set(re.findall(r"target=%23(\d+)", http.get("/models/shapes").text))
    assert links == {str(index) for index in range(12) if index not in drawn}
