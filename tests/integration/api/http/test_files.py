"""Stored files over HTTP: every route that sends them, and every media type that the service stores."""

import base64
import hashlib
import io
import shutil
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx2
import pytest

from api.app import create_app
from api.http.openapi import BINARY
from api.routes.audits import REPORT
from archetype.contract.job import Artifact, Job, State, now
from deploy.local import Stack
from shared.state.job_ids import new_job_id
from shared.state.job_index import JobIndex
from shared.state.redis_client import RedisClient
from shared.storage.documents import Manifest
from shared.storage.job_store import JobStore
from shared.storage.s3 import Bucket
from tests.support.finished_jobs import make_fool
from tests.support.jobs import make_spec
from tests.support.run_method import encode, noise
from worker.output.artifacts import MEDIA_TYPES

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FENCE = 3
PIXEL = base64.b64encode(encode(noise(2, 2, 3))).decode()
REPORT_HTML = f"""<!doctype html><title>not executed</title>
<style>body {{ background: rgb(1, 2, 3) }}</style>
<img src="data:image/png;base64,{PIXEL}">
<script>document.title = "executed"</script>
<img src="/nothing" onerror="document.title = 'executed'">
<body onload="document.title = 'executed'">
"""
FILES = {f"file.{suffix}": media_type for suffix, media_type in MEDIA_TYPES.items()} | {
    "report.html": "text/html",
    "drawing.svg": "image/svg+xml",
}
HEADERS = ("X-Content-Type-Options", "Content-Security-Policy", "Content-Disposition", "Content-Type", "ETag")


@pytest.fixture(scope="module")
def job(stack: Stack) -> Job:
    """A finished audit with a file of every media type."""
    storage = JobStore(Bucket(stack.settings))
    job_id, artifacts, keys = new_job_id(), [], {}
    for name, media_type in FILES.items():
        data = REPORT_HTML.encode()
        keys[name] = storage.save_artifact(job_id, FENCE, name, data, media_type=media_type)
        digest = hashlib.sha256(data).hexdigest()
        href = f"/v1/jobs/{job_id}/artifacts/{name}"
        artifacts.append(Artifact(name=name, media_type=media_type, bytes=len(data), sha256=digest, href=href))
    ended = {"method": "audit", "state": State.SUCCEEDED, "finished_at": now(), "artifacts": artifacts}
    manifest = Manifest(job=make_spec().job(job_id).model_copy(update=ended), fence=FENCE, keys=keys)
    storage.save_manifest(manifest)
    JobIndex(RedisClient(stack.settings)).save_finished(manifest)
    return manifest.job


@pytest.fixture(scope="module")
def image_id(stack: Stack) -> str:
    return httpx2.post(f"{stack.url}/v1/images", files={"file": encode(noise(8, 8, 3))}).json()["id"]


def list_addresses(stack: Stack, job: Job, image_id: str) -> list[str]:
    """The addresses of stored files, from the application's own routes, so that no route is forgotten."""
    app = create_app(stack.settings)
    values = {"job_id": job.id, "audit_id": job.id, "image_id": image_id}
    addresses = []
    for rule in app.url_map.iter_rules():
        description = getattr(app.view_functions[rule.endpoint], "description", None)
        if description is None or description.responses.get(200) not in (BINARY, REPORT):
            continue
        for name in FILES if "name" in rule.arguments else [""]:
            fields = values | {"name": name}
            _, path = rule.build({argument: fields[argument] for argument in rule.arguments})
            addresses.append(path)
    return addresses


def test_every_stored_file_is_sent_with_the_headers_that_keep_browsers_from_executing_it(
    stack: Stack, job: Job, image_id: str, http: httpx2.Client
) -> None:
    addresses = list_addresses(stack, job, image_id)
    assert len(addresses) == len(FILES) + 2
    for address in addresses:
        response = http.get(address)
        assert response.status_code == 200, address
        assert response.headers["X-Content-Type-Options"] == "nosniff", address
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, address
        assert policy.endswith("sandbox"), address
        assert "filename=" in response.headers["Content-Disposition"], address
        assert int(response.headers["Content-Length"]) == len(response.content), address
        unchanged = http.get(address, headers={"If-None-Match": response.headers["ETag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b""), address


def test_the_archive_of_a_job_contains_all_of_its_files(job: Job, http: httpx2.Client) -> None:
    response = http.get(f"/v1/jobs/{job.id}/archive")
    assert response.headers["Content-Disposition"] == f"attachment; filename=audit-{job.id[-8:]}.zip"
    assert response.headers["Content-Security-Policy"].endswith("sandbox")
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == set(FILES)


def test_files_of_an_image_have_the_name_with_which_the_image_was_uploaded_last(
    stack: Stack, http: httpx2.Client
) -> None:
    data = encode(noise(8, 8, 3, seed=77))
    for name in ("first.png", "folder/my cat.png"):
        image = http.post("/v1/images", files={"file": (name, data)}).json()
    assert image["name"] == "my cat.png"
    fooled = make_fool(stack.settings, image["id"])
    with zipfile.ZipFile(io.BytesIO(http.get(f"/v1/jobs/{fooled.id}/archive").content)) as archive:
        assert "my cat-0000-lemon-difference.png" in archive.namelist()
    page = http.get(f"/jobs/{fooled.id}").text
    assert "my cat-0000-lemon-difference.png" in page
    assert "1.0% → 93.0%" in page


def test_a_report_is_sent_with_the_same_headers_through_both_addresses(job: Job, http: httpx2.Client) -> None:
    report = http.get(f"/v1/audits/{job.id}/report")
    artifact = http.get(f"/v1/jobs/{job.id}/artifacts/report.html")
    assert report.content == artifact.content
    for name in HEADERS:
        assert report.headers[name] == artifact.headers[name]


@pytest.mark.parametrize("name", FILES)
def test_the_object_store_sends_a_file_with_its_media_type_and_saves_what_could_contain_scripts(
    job: Job, http: httpx2.Client, name: str
) -> None:
    location = http.get(f"/v1/jobs/{job.id}/artifacts/{name}", params={"redirect": "1"}).headers["Location"]
    response = httpx2.get(location)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == FILES[name]
    disposition = response.headers["Content-Disposition"]
    assert disposition.endswith(f"filename={name}")
    if name.endswith((".html", ".svg", ".xml", ".npz", ".npy", ".pdf")):
        assert disposition.startswith("attachment")
    else:
        assert disposition.startswith("inline")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.mark.parametrize("path", ["/v1/audits/{}/report", "/v1/jobs/{}/artifacts/report.html"])
def test_a_browser_shows_a_report_with_styles_and_images_and_runs_no_script(
    stack: Stack, job: Job, browser: "Browser", path: str
) -> None:
    page = browser.new_page(base_url=stack.url)
    page.goto(path.format(job.id))
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(1, 2, 3)"
    assert page.evaluate("document.images[0].naturalWidth") == 2
    assert page.title() == "not executed"
    page.close()
