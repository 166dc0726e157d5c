"""What tests share: a running stack, the networks and pictures beside the checkout, and small networks."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from deploy.local import Stack
    from shared.client import Client

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of real networks."""
    return _beside("models")


@pytest.fixture(scope="session")
def images() -> Path:
    """The folder of real pictures."""
    return _beside("images")


def _beside(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs the real {name} in ../shared/{name}, which is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Stack]":
    """The whole service: a real Redis, a real S3 server, a worker and the API, on free ports."""
    from pydantic import SecretStr

    from deploy.local import free_port, run_stack
    from shared.settings import Settings

    folder = tmp_path_factory.mktemp("stack")
    settings = Settings(
        catalogue=write_catalogue(folder),
        factories={
            "cifar_resnet": "benchmarks.cifar_resnet:cifar_resnet",
            "slow": "tests.networks:slow",
            "small": "tests.networks:small",
        },
        lease_seconds=3,
        sweep_seconds=0.5,
        look_seconds=1,
        mlflow_url=f"http://127.0.0.1:{free_port()}",
        mlflow_secret=SecretStr("a registry's"),
        max_body_bytes=2_000_000,
        picture_prefixes=["probes/"],
        weight_prefixes=["exports/"],
        allow_programs=True,
        life=folder / "life",
        cache=folder / "cache",
    )
    with run_stack(folder, settings) as running:
        yield running


@pytest.fixture(scope="session")
def client(stack: "Stack") -> "Iterator[Client]":
    """A client of the running stack."""
    from shared.client import Client

    with Client(stack.url) as connected:
        yield connected


@pytest.fixture(scope="session")
def described(client: "Client") -> Callable[[str], None]:
    """Waits until a worker has looked at a model, so that the API knows its layers."""

    def wait(model: str) -> None:
        limit = time.monotonic() + 120
        while client.model(model)["layers"] is None:
            assert time.monotonic() < limit, f"no worker has described {model}"
            time.sleep(0.2)

    return wait


def write_catalogue(folder: Path) -> Path:
    """A catalogue with small networks, five releases of one, and the real ones where they are."""
    from deploy.audit_demo import describe_releases

    real = (ROOT / "benchmarks" / "models.toml").read_text().replace("../../shared", str(SHARED))
    path = folder / "models.toml"
    path.write_text(SMALL + describe_releases(folder) + (real if SHARED.is_dir() else ""))
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
name = "slow"
architecture = "factory:slow"
classes = ["one", "two", "three"]
preprocessing = { size = [16, 16] }

[[model]]
name = "grey"
architecture = "factory:small"
arguments = { channels = 1 }
classes = ["one", "two", "three"]
preprocessing = { size = [28, 28], mean = [0.5], std = [0.25] }

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
