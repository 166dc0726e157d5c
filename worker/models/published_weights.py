"""Finds the weights that torchvision and timm publish for their architectures, and repositories of the hub."""

import re
from functools import partial
from typing import Any

from archetype.contract.problem import nearest
from archetype.contract.registration import HUGGING_FACE
from shared.catalogue.release import Release
from worker.engine.model.torchvision_import import import_torchvision
from worker.models.architectures import unloadable
from worker.models.download_cache import Source, open_url
from worker.models.huggingface.hub import locate_hub_file, open_hub_file, open_repository


def find_published(release: Release) -> Source:
    """Returns the file of the weights that the library of a release publishes.

    Raises:
        UnloadableModel: The library publishes no weights for this architecture, or none with this name.
    """
    if release.architecture == HUGGING_FACE:
        reference = str(release.published)
        return Source(
            name=f"{reference} of the Hugging Face hub",
            open=partial(open_repository, reference),
            place=f"hub:{reference}",
            digest=release.sha256 or "",
        )
    kind, _, name = release.architecture.partition(":")
    if kind == "timm" and (file := _find_hub_file(release, name)) is not None:
        return Source(
            name=f"{release.architecture}'s published weights",
            open=partial(open_hub_file, *file),
            place=locate_hub_file(*file),
            digest=release.sha256 or "",
        )
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


def _find_hub_file(release: Release, name: str) -> tuple[str, str, str] | None:
    """Repository, file and revision of weights that timm publishes on the hub; None if it publishes them elsewhere."""
    config = _find_config(release, name)
    return (config.hf_hub_id, config.hf_hub_filename or "model.safetensors", "main") if config.hf_hub_id else None


def _find_timm(release: Release, name: str) -> str:
    return str(_find_config(release, name).url)


def _find_config(release: Release, name: str) -> Any:
    """What timm knows of the weights of an architecture."""
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
    return config
