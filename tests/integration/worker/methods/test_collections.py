"""Collections of images in one job: archives, and prefixes in the bucket that the operator allows."""

import io
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import pytest

from archetype.client import Client
from archetype.contract.job import Job, State
from archetype.contract.parameters.inputs import Archive, StorePrefix
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.request import Saliency
from deploy.local import Stack
from shared.storage.s3 import Bucket
from tests.support.drawings import draw_png

BARE = SaliencyParameters(outputs=[])


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def look(client: Client, images: Archive | StorePrefix, **options: Any) -> Job:
    request = Saliency(method="saliency", model="shapes", images=images, **options)
    return client.wait(client.submit(request).id, timeout=400)


def test_every_image_of_an_archive_is_processed_and_only_a_broken_one_fails(client: Client, tmp_path: Path) -> None:
    members = {f"set/{number:02d}.png": draw_png(number % 12, 100 + number) for number in range(20)}
    others = {"set/broken.jpg": b"no picture", "__MACOSX/set/._00.png": b"?", "notes.txt": b"hello"}
    facts = client.upload_archive(pack(tmp_path / "set.zip", members | others))
    assert facts.pictures == 21
    job = look(client, Archive(archive=facts.id), params=BARE)
    assert job.state is State.SUCCEEDED, job.error
    assert [pair["name"] for pair in job.metrics["pairs"]] == list(members)
    (failed,) = job.metrics["failed"]
    assert failed["image"] == "set/broken.jpg"
    assert failed["error"]["type"] == "/problems/unreadable-image"
    assert job.progress.total == 21


def test_an_image_that_an_archive_holds_twice_is_processed_once(client: Client, tmp_path: Path) -> None:
    one, other = draw_png(1, 200), draw_png(2, 201)
    facts = client.upload_archive(pack(tmp_path / "set.zip", {"a.png": one, "b.png": other, "c.png": one}))
    job = look(client, Archive(archive=facts.id))
    assert job.state is State.SUCCEEDED, job.error
    assert [pair["name"] for pair in job.metrics["pairs"]] == ["a.png", "b.png"]
    assert job.metrics["repeated"] == {"c.png": "a.png"}


def test_an_archive_of_broken_images_alone_fails(client: Client, tmp_path: Path) -> None:
    facts = client.upload_archive(pack(tmp_path / "bad.zip", {"a.png": b"no", "b.png": b"picture"}))
    job = look(client, Archive(archive=facts.id))
    assert job.state is State.FAILED
    assert job.error.type == "/problems/unreadable-image"


def test_images_under_an_allowed_prefix_are_processed(client: Client, stack: Stack) -> None:
    bucket = Bucket(stack.settings)
    for number in range(3):
        bucket.put(f"probes/daily/{number}.png", draw_png(number, 60), media_type="image/png")
    job = look(client, StorePrefix(prefix="probes/daily/"), targets=["lemon", "bee"])
    assert [pair["name"] for pair in job.metrics["pairs"]][::2] == [f"probes/daily/{number}.png" for number in range(3)]
    assert len(job.metrics["pairs"]) == 6


@pytest.mark.parametrize(
    ("images", "field"),
    [
        ({"prefix": "jobs/"}, "/images/prefix"),
        ({"prefix": ""}, "/images/prefix"),
        ({"archive": "0" * 64}, "/images/archive"),
        ({"archive": "x"}, "/images/archive"),
        ({"archives": "0" * 64}, "/images/archives"),
    ],
)
def test_prefixes_and_archives_that_are_not_allowed_are_refused(
    stack: Stack, images: dict[str, str], field: str
) -> None:
    body = {"method": "saliency", "model": "shapes", "images": images}
    answer = httpx2.post(f"{stack.url}/v1/jobs", json=body)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("data", "status"), [(b"no archive", 422), (b"", 422), (b"PK\x05\x06" + b"\0" * 18, 422), (b"PK\x03\x04 cut", 422)]
)
def test_a_file_that_is_not_an_archive_of_images_is_refused(stack: Stack, data: bytes, status: int) -> None:
    answer = httpx2.post(f"{stack.url}/v1/archives", files={"file": ("a.zip", io.BytesIO(data))})
    assert answer.status_code == status
    assert answer.json()["errors"][0]["field"] == "file"


def test_an_archive_may_be_larger_than_an_image_may(stack: Stack, tmp_path: Path) -> None:
    limit = stack.settings.max_body_bytes
    path = pack(tmp_path / "large.zip", {f"{number}.png": bytes(limit // 2) for number in range(3)})
    with path.open("rb") as file:
        answer = httpx2.post(f"{stack.url}/v1/archives", files={"file": ("large.zip", file)}, timeout=30)
    assert answer.status_code == 201
    assert answer.json()["bytes"] > limit
