"""Data of earlier versions in Redis and the store are used; data of newer versions are left alone."""

import json
import shutil
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
from pydantic import ValidationError

from archetype.client import Client
from archetype.contract.job import State
from deploy.local import run_stack
from shared.errors import Unavailable
from shared.settings import Settings
from shared.storage.documents import JobSpec, Manifest
from shared.storage.s3 import read_document
from tests.support.paths import ROOT

EARLIER = ROOT / "tests" / "earlier"
AGES = 1_000_000_000
SETTINGS = Settings(lease_seconds=3, sweep_seconds=0.5, reconcile_seconds=1, retention_seconds=AGES)


@pytest.mark.parametrize("version", sorted(path.name.removesuffix(".tar.xz") for path in EARLIER.glob("*.tar.xz")))
@pytest.mark.parametrize("with_redis", [pytest.param(True, marks=pytest.mark.slow), False])
def test_jobs_of_an_earlier_version_succeed(version: str, with_redis: bool, tmp_path: Path) -> None:
    with tarfile.open(EARLIER / f"{version}.tar.xz") as archive:
        archive.extractall(tmp_path)
    jobs = json.loads((tmp_path / "jobs.json").read_text())
    if not with_redis:
        shutil.rmtree(tmp_path / "redis")
    with run_stack(tmp_path, SETTINGS) as stack, Client(stack.url, timeout=60) as client:
        ended = client.job(jobs["ended"])
        assert ended.state is State.SUCCEEDED
        files = {artifact.name: client.fetch(artifact) for artifact in ended.artifacts}
        assert {name: sha256(data).hexdigest() for name, data in files.items()} == jobs["digests"]
        running = client.wait(jobs["running"], timeout=400)
        assert running.state is State.SUCCEEDED
        queued = client.wait(jobs["queued"], timeout=400)
        assert queued.state is State.SUCCEEDED
        assert len(queued.metrics["targets"]) == 12


@pytest.mark.parametrize("kind", [JobSpec, Manifest])
def test_a_document_of_a_newer_version_is_unavailable_and_not_invalid(kind: type[JobSpec] | type[Manifest]) -> None:
    newer = json.dumps({"format": kind.model_fields["format"].default + 1, "shape": "unheard of"}).encode()
    with pytest.raises(Unavailable, match="a newer version"):
        read_document(newer, kind)
    with pytest.raises(ValidationError):
        read_document(b'{"format": 1}', kind)
