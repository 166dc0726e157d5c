"""Fixtures that all tests share, and the marker `server`.

Fixtures: a running stack, a client of it, and the real networks and images in the folder `shared` next to the checkout.
"""

import gc
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import ROOT, SHARED
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from archetype.client import Client
    from deploy.local import Stack

SERVER_FOLDERS = (ROOT / "tests" / "e2e", ROOT / "tests" / "chaos")
SERVER_STARTERS = ("run_stack", "run_redis", "open_stage", "ProcessGroup")
"""A module that imports one of these starts server processes itself."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keeps thousands of tests and their modules out of garbage collections: each would look at all of them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that needs server processes with `server`; `-m "not server"` selects the others."""
    for item in items:
        if needs_server(item):
            item.add_marker("server")


def needs_server(item: pytest.Item) -> bool:
    """Whether a test uses the fixture `stack`, starts a stack itself, or is an end-to-end test."""
    return (
        "stack" in getattr(item, "fixturenames", ())
        or any(folder in item.path.parents for folder in SERVER_FOLDERS)
        or any(hasattr(getattr(item, "module", None), name) for name in SERVER_STARTERS)
    )


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of real networks."""
    return _find_shared("models")


@pytest.fixture(scope="session")
def images() -> Path:
    """The folder of real images."""
    return _find_shared("images")


def _find_shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs the real {name} in ../shared/{name}")
    return folder


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Stack]":
    """The whole service on free ports: a real Redis, a real S3 server, a worker and the API."""
    from pydantic import SecretStr

    from deploy.local import free_port, run_stack
    from shared.settings import Settings
    from shared.validation.write_back import WriteBackRule
    from tests.support.signing import write_private_key

    folder = tmp_path_factory.mktemp("stack")
    settings = Settings(
        catalogue=write_catalogue(folder),
        factories={
            "cifar_resnet": "benchmarks.cifar_resnet:cifar_resnet",
            "slow": "tests.support.networks:slow",
            "small": "tests.support.networks:small",
            "dark": "tests.support.networks:dark",
        },
        lease_seconds=3,
        sweep_seconds=0.5,
        scheduler_poll_seconds=1,
        mlflow_url=f"http://127.0.0.1:{free_port()}",
        mlflow_secret=SecretStr("a registry's"),
        mlflow_write_back={
            "default": [WriteBackRule(models=["Shapes", "shapes"], aliases=["audited"], tag_prefixes=["archetype."])],
            "alice": [WriteBackRule(models=["alice-*"], aliases=["audited"])],
        },
        signing_key=SecretStr(write_private_key()),
        max_body_bytes=2_000_000,
        picture_prefixes=["probes/"],
        weight_prefixes=["exports/"],
        exported_programs=True,
        liveness_dir=folder / "liveness",
        cache=folder / "cache",
    )
    with run_stack(folder, settings) as running:
        yield running


@pytest.fixture(scope="session")
def client(stack: "Stack") -> "Iterator[Client]":
    """A client of the stack."""
    from archetype.client import Client

    with Client(stack.url) as connected:
        yield connected


@pytest.fixture(scope="session")
def described(client: "Client") -> Callable[[str], None]:
    """A function that waits until a worker has inspected a model, so that the API knows its layers."""

    def wait(model: str) -> None:
        wait_until(lambda: client.model(model)["layers"] is not None, 120, message=f"no worker has described {model}")

    return wait


@pytest.fixture
def every_level_logged() -> Iterator[None]:
    """Logs every level, so that a test can read them: an earlier test may have configured another level."""
    import structlog

    config = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**config)


def write_catalogue(folder: Path) -> Path:
    """Writes a catalogue of small networks, the releases of the audit demo, and the real networks if they exist."""
    from deploy.audit_demo import describe_releases

    real = (ROOT / "benchmarks" / "models.toml").read_text().replace("../../shared", str(SHARED))
    path = folder / "models.toml"
    small = SMALL + (ROOT / "tests" / "support" / "slow.toml").read_text()
    path.write_text(small + describe_releases(folder) + (real if SHARED.is_dir() else ""))
    return path


SMALL = """
[[model]]
name = "timm_cnn"
architecture = "timm:resnet10t"
classes = ["one", "two", "three"]
preprocessing = { size = [64, 96] }

[[model]]
name = "vit"
architecture = "timm:vit_tiny_patch16_224"
arguments = { img_size = 64 }
classes = ["one", "two", "three"]
preprocessing = { size = [64, 64], interpolation = "bicubic" }

[[model]]
name = "grey"
architecture = "factory:small"
arguments = { channels = 1 }
classes = ["one", "two", "three"]
preprocessing = { size = [28, 28], mean = [0.5], std = [0.25] }

[[model]]
name = "dark"
architecture = "factory:dark"
classes = ["one", "two", "three"]
preprocessing = { size = [28, 28], mean = [0.5, 0.5, 0.5], std = [0.25, 0.25, 0.25] }

[[model]]
name = "multispectral"
architecture = "factory:small"
arguments = { channels = 7 }
classes = ["one", "two", "three"]
score_layer = "classifier"
[model.preprocessing]
size = [40, 28]
mean = [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
std = [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
"""
