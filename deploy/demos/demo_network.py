"""The ImageNet network of a local service without a catalogue: SqueezeNet 1.1, whose weights torchvision publishes.

Workers download the weights when the first job needs them, as those of any release with `published`, and the job shows
the progress. Without a connection the service has its built-in network alone.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import httpx2

from shared.settings import Settings
from worker.models.download_cache import DownloadCache, Source, open_url

CATALOGUE = Path(__file__).with_name("demo_models.toml")
MODEL = "squeezenet"
URL = "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"
PROBE_SECONDS = 3.0

PHOTOGRAPHS = ("cat", "coffee", "rocket")
"""Photographs that scikit-image contains."""

NO_NETWORK = "The weights of SqueezeNet cannot be downloaded ({reason}); the built-in network is used."

Probe = Callable[[str], None]
"""Raises an error if a URL cannot be reached."""


def reach(url: str) -> None:
    """Asks for the headers of a file. Raises `httpx2.HTTPError`, or another error if there is a proxy."""
    httpx2.head(url, timeout=PROBE_SECONDS, follow_redirects=True).raise_for_status()


def add_demo_network(settings: Settings, probe: Probe = reach) -> Settings:
    """Adds the network if there is no catalogue, and its weights are in the cache or can be reached.

    Otherwise prints in a line why the built-in network is used.
    """
    if settings.catalogue is not None:
        return settings
    source = Source(URL, lambda: open_url(URL), place=URL)
    cache = DownloadCache(settings.cache, settings.max_weights_bytes, settings.cache_bytes)
    if cache.find(source) is None:
        try:
            probe(URL)
        except Exception as error:  # a proxy that httpx does not support, for example: the service works without
            print(NO_NETWORK.format(reason=type(error).__name__), flush=True)
            return settings
    return settings.model_copy(update={"catalogue": CATALOGUE})


def has_demo_network(settings: Settings) -> bool:
    """Whether the service has the network."""
    return settings.catalogue == CATALOGUE


def find_photographs() -> list[Path]:
    """Photographs of an installed package; none if it is not installed."""
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else None
    return [path for name in PHOTOGRAPHS for path in folder.glob(f"{name}.*")] if folder else []
