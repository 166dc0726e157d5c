"""Finds the URLs of the weights that torchvision and timm publish for their architectures."""

import re
from functools import partial
from typing import Any

from archetype.contract.problem import nearest
from shared.catalogue.release import Release
from worker.engine.model.torchvision_import import import_torchvision
from worker.models.architectures import unloadable
from worker.models.download_cache import Source, open_url


def find_published(release: Release) -> Source:
    """Returns the file of the weights that the library of a release publishes.

    Raises:
        UnloadableModel: The library publishes no weights for this architecture, or none with this name.
    """
    kind, _, name = release.architecture.partition(":")
    url = _find_torchvision(release, name) if kind == "torchvision" else _find_timm(release, name)
    # torchvision, and timm for files of its own, write the beginning of the digest into the file name.
    hashed = re.search(r"-([0-9a-f]{8,64})\.\w+$", url)
    return Source(
        name=f"{release.architecture}'s published weights",
        open=partial(open_url, url),
        place=url,
        digest=release.sha256 or (hashed.group(1) if hashed else ""),
    )


def _find_torchvision(release: Release, name: str) -> str:
    models = import_torchvision().models
    if name not in models.list_models(module=models):
        raise unloadable(release, f"torchvision has no classification model {name!r}")
    weights: Any = models.get_model_weights(name)
    members = {member.name: member for member in weights}
    if release.published is True:
        if not members:
            raise unloadable(release, f"torchvision publishes no weights of {name}")
        return str(weights.DEFAULT.url)
    wanted = str(release.published)
    if wanted not in members:
        names = ", ".join(nearest(wanted, members) or list(members))
        raise unloadable(release, f"torchvision publishes no weights {wanted!r} of {name}; it publishes {names}")
    return str(members[wanted].url)


def _find_timm(release: Release, name: str) -> str:
    import_torchvision()  # timm imports torchvision, which must be prepared first
    import timm

    if not timm.is_model(name):
        raise unloadable(release, f"timm has no model {name!r}")
    if release.published is not True:
        tags = timm.list_pretrained(name.partition(".")[0] + "*")
        raise unloadable(
            release,
            f"timm selects weights by the name of the model: set architecture `timm:{(tags or [name])[0]}` and "
            "published true",
        )
    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url) or config.custom_load:
        raise unloadable(release, f"timm publishes no weights of {name} that can be loaded without conversion")
    if config.hf_hub_id:
        return f"https://huggingface.co/{config.hf_hub_id}/resolve/main/{config.hf_hub_filename or 'model.safetensors'}"
    return str(config.url)
