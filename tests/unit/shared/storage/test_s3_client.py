"""Clients of the object store, without a store."""

import pytest
from botocore.loaders import JSONFileLoader

from shared.settings import Settings
from shared.storage.s3 import Bucket

SETTINGS = Settings(s3_endpoint="http://127.0.0.1:1")


def presign(settings: Settings) -> str:
    return Bucket(settings).presign("jobs/x", seconds=60, media_type="image/png")


def test_a_process_reads_the_description_of_s3_once(monkeypatch: pytest.MonkeyPatch) -> None:
    presign(SETTINGS)
    files: list[str] = []
    load = JSONFileLoader.load_file
    monkeypatch.setattr(JSONFileLoader, "load_file", lambda loader, path: files.append(path) or load(loader, path))
    presign(SETTINGS)
    assert files == []


def test_a_presigned_url_has_the_public_address_of_the_store() -> None:
    public = SETTINGS.model_copy(update={"s3_public_endpoint": "https://files.example"})
    assert presign(public).startswith("https://files.example/archetype/jobs/x?")
