"""Repositories of the Hugging Face hub, from a stand-in of it and from its cache."""

import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants, save_torch_state_dict
from pydantic import ValidationError

from archetype.contract.registration import NewRelease
from shared.catalogue.release import Release, build_release
from shared.errors import UnloadableModel
from worker.engine.model.torchvision_import import import_torchvision
from worker.models import download_cache
from worker.models.download_cache import DownloadCache, ignore
from worker.models.huggingface.folder import complete_release
from worker.models.huggingface.hub import open_hub_file, open_repository
from worker.models.loader import Loader
from worker.models.weight_files import WeightFiles

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries

COMMIT = "0a1b" * 10
REPOSITORY = "owner/small-vit"
REFERENCE = f"{REPOSITORY}@{COMMIT}"


class Hub:
    """A hub with one repository.

    Attributes:
        files: Its files.
        damaged: Names of files of which another content is sent.
        requests: The paths that were asked for.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.damaged: set[str] = set()
        self.requests: list[str] = []
        self.url = ""

    def describe(self) -> dict[str, Any]:
        return {"id": REPOSITORY, "sha": COMMIT, "siblings": [self._describe(name) for name in self.files]}

    def _describe(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        sibling = {
            "rfilename": name,
            "size": len(data),
            "blobId": hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest(),
        }
        if name.endswith((".safetensors", ".bin")):
            sibling["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}
        return sibling

    def answer(self, path: str) -> bytes | None:
        self.requests.append(path)
        if path.partition("?")[0] == f"/api/models/{REPOSITORY}/revision/{COMMIT}":
            return json.dumps(self.describe()).encode()
        name = path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")
        data = self.files.get(name)
        return bytes([data[0] ^ 1]) + data[1:] if data and name in self.damaged else data


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A stand-in of the hub, whose address and cache the library uses."""
    content = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = content.answer(self.path)
            self.send_response(200 if data is not None else 404)
            if data is None:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    content.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", content.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(download_cache, "PAUSE_SECONDS", 0.01)
    yield content
    server.shutdown()
    server.server_close()


def make_vit() -> Any:
    import_torchvision()  # transformers imports torchvision, which must be prepared first
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        labels = {"id2label": {0: "cat", 1: "dog", 2: "bee"}}
        return transformers.ViTForImageClassification(
            transformers.ViTConfig(image_size=32, patch_size=8, **sizes, **labels)
        ).eval()


def fill(hub: Hub, folder: Path, *, shard: str | None = None) -> Any:
    """Puts a network into the repository, with files that are not needed; split if a size of a shard is given."""
    network = make_vit()
    import transformers

    network.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    if shard is not None:
        (folder / "model.safetensors").unlink()
        save_torch_state_dict(network.state_dict(), folder, max_shard_size=shard)
    (folder / "README.md").write_text("# A network")
    (folder / "pytorch_model.bin").write_bytes(b"the same as a pickle")
    hub.files = {path.name: path.read_bytes() for path in folder.iterdir()} | {"onnx/model.onnx": b"in a folder"}
    return network


def register() -> Release:
    fields = {"name": "vit", "architecture": "huggingface", "published": REFERENCE}
    return build_release(NewRelease.model_validate(fields), [], None)


def read(reference: str = REFERENCE) -> bytes:
    return b"".join(chunk for chunk, _ in open_repository(reference))


def test_a_repository_loads_with_its_scores_and_class_names(hub: Hub, tmp_path: Path) -> None:
    network = fill(hub, tmp_path / "vit")
    files = WeightFiles(DownloadCache(tmp_path / "cache"))
    release = complete_release(register(), files, ignore)
    assert release.classes == ["cat", "dog", "bee"]
    loaded = Loader({}, files).load(release, torch.device("cpu"))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(loaded.network(images).logits, network(images).logits)
    asked = len(hub.requests)
    assert files.find(release) is not None  # from the cache of the worker
    assert len(hub.requests) == asked


@pytest.mark.parametrize("shard", [None, "20KB"], ids=["one file", "split"])
def test_only_the_files_of_the_model_folder_are_fetched(hub: Hub, tmp_path: Path, shard: str | None) -> None:
    fill(hub, tmp_path / "vit", shard=shard)
    with zipfile.ZipFile(BytesIO(read())) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        assert all(archive.read(name) == hub.files[name] for name in names)
    weights = [name for name in hub.files if "safetensors" in name]
    assert names == sorted(["config.json", "preprocessor_config.json", *weights])
    assert (len(weights) > 2) == (shard is not None)
    assert read() == read()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_differs_from_the_commit_is_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    fill(hub, tmp_path / "vit")
    hub.damaged = {name}
    with pytest.raises(UnloadableModel, match=rf"{name} of owner/small-vit has the sha\d+ .* instead of"):
        read()


def write_cache(hub: Hub, cache: Path) -> Path:
    """Fills the cache of the hub, as `hf download` does."""
    folder = cache / "models--owner--small-vit" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (folder / name).write_bytes(hub.files[name])
    return folder


def test_files_in_the_cache_of_the_hub_are_not_downloaded(hub: Hub, tmp_path: Path) -> None:
    fill(hub, tmp_path / "vit")
    expected = read()
    write_cache(hub, tmp_path / "hub")
    hub.requests.clear()
    assert read() == expected
    (listed,) = hub.requests  # which files the commit has
    assert listed.startswith("/api/models/")


def test_a_cache_with_some_of_the_files_gives_the_same_archive(hub: Hub, tmp_path: Path) -> None:
    fill(hub, tmp_path / "vit")
    expected = read()
    folder = write_cache(hub, tmp_path / "hub")
    (folder / "preprocessor_config.json").unlink()
    assert read() == expected


def test_a_damaged_file_in_the_cache_is_refused(hub: Hub, tmp_path: Path) -> None:
    fill(hub, tmp_path / "vit")
    (write_cache(hub, tmp_path / "hub") / "config.json").write_bytes(b"{}")
    with pytest.raises(UnloadableModel, match=r"config.json of owner/small-vit has the sha1"):
        read()


def test_offline_nothing_is_downloaded(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(hub, tmp_path / "vit")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UnloadableModel, match="HF_HUB_OFFLINE is set"):
        read()
    with pytest.raises(UnloadableModel, match="HF_HUB_OFFLINE is set"):
        list(open_hub_file(REPOSITORY, "model.safetensors", COMMIT))
    assert hub.requests == []
    write_cache(hub, tmp_path / "hub")
    assert zipfile.ZipFile(BytesIO(read())).namelist()
    assert b"".join(chunk for chunk, _ in open_hub_file(REPOSITORY, "model.safetensors", COMMIT))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"model.safetensors": b"x"}, "no config.json"),
        ({"config.json": b"{}", "flax_model.msgpack": b"x"}, "no model.safetensors or pytorch_model.bin"),
        ({"config.json": b"{}", "model.safetensors.index.json": b"{}"}, "does not name files of weights"),
        (
            {"config.json": b"{}", "model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors"}}'},
            "lacks model-1.safetensors",
        ),
    ],
)
def test_a_repository_that_is_no_model_folder_is_refused(hub: Hub, files: dict[str, bytes], reason: str) -> None:
    hub.files = files
    with pytest.raises(UnloadableModel, match=reason):
        read()


def test_a_missing_repository_and_a_missing_hub_are_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnloadableModel, match="no public repository owner/other with the commit"):
        read(f"owner/other@{COMMIT}")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UnloadableModel, match=r"the hub http://127.0.0.1:9 does not answer"):
        read()


@pytest.mark.parametrize(
    "published",
    [True, "owner/name", "owner/name@main", f"owner/name@{COMMIT[:39]}", f"a/b/c@{COMMIT}", f"../x@{COMMIT}"],
)
def test_a_repository_must_be_pinned_by_its_commit(published: bool | str) -> None:
    with pytest.raises(ValidationError, match="OWNER/NAME@COMMIT"):
        NewRelease.model_validate({"name": "vit", "architecture": "huggingface", "published": published})
