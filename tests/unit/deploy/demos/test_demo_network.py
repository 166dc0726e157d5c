"""The ImageNet network of a local service: used if its weights can be downloaded."""

from pathlib import Path

import httpx2
import pytest

from deploy.demos.demo_network import CATALOGUE, MODEL, URL, add_demo_network, find_photographs, has_demo_network
from shared.catalogue.catalogue import load_catalogue
from shared.settings import Settings
from worker.models.download_cache import DownloadCache, Source
from worker.models.published_weights import find_published


def make_settings(folder: Path, **changes: object) -> Settings:
    return Settings().model_copy(update={"cache": folder / "cache", "catalogue": None, **changes})


def test_the_network_is_used_if_its_weights_can_be_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []
    settings = add_demo_network(make_settings(tmp_path), asked.append)
    assert (settings.catalogue, asked, capsys.readouterr().out) == (CATALOGUE, [URL], "")
    assert has_demo_network(settings)


@pytest.mark.parametrize("error", [httpx2.ConnectError("no route"), ImportError("SOCKS needs socksio"), OSError("no")])
def test_without_a_connection_the_built_in_network_is_used_and_a_line_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(_url: str) -> None:
        raise error

    settings = add_demo_network(make_settings(tmp_path), fail)
    assert not has_demo_network(settings)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert f"cannot be downloaded ({type(error).__name__}); the built-in network is used." in said


def test_weights_in_the_cache_need_no_connection(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    cache = DownloadCache(settings.cache, settings.max_weights_bytes, settings.cache_bytes)
    cache.fetch(Source("weights", lambda: iter([(b"weights", 7)]), place=URL))
    assert has_demo_network(add_demo_network(settings, lambda _: pytest.fail("the network was asked")))


def test_a_catalogue_is_left_as_it_is(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, catalogue=tmp_path / "models.toml")
    assert add_demo_network(settings, lambda _: pytest.fail("the network was asked")) is settings


def test_the_address_is_the_one_that_torchvision_publishes() -> None:
    release = load_catalogue(CATALOGUE).find(MODEL)
    assert find_published(release).place == URL
    assert {"lemon", "zebra", "flamingo"} <= set(release.classes)


def test_photographs_are_those_of_an_installed_package() -> None:
    assert all(path.is_file() for path in find_photographs())
