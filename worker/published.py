"""Where torchvision and timm publish the weights of their architectures."""

import re
from functools import partial
from typing import Any

from shared.catalogue import Release
from shared.errors import UnloadableModel, nearest
from worker.downloads import Source, open_url
from worker.engine.torchvision_import import import_torchvision


def find_published(release: Release) -> Source:
    """The file of the weights that a release's library publishes.

    Raises:
        UnloadableModel: It publishes none for this architecture, or none of that name.
    """
    kind, _, name = release.architecture.partition(":")
    url = _find_torchvision(release, name) if kind == "torchvision" else _find_timm(release, name)
    # torchvision, and timm where it has files of its own, write the beginning of the digest into the file's name.
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
        raise _none(release, f"torchvision has no classification model {name!r}")
    known: Any = models.get_model_weights(name)
    members = {each.name: each for each in known}
    if release.published is True:
        if not members:
            raise _none(release, f"torchvision publishes no weights of {name}")
        return str(known.DEFAULT.url)
    wanted = str(release.published)
    if wanted not in members:
        near = nearest(wanted, members) or list(members)
        raise _none(release, f"torchvision publishes no weights {wanted!r} of {name}; there are {', '.join(near)}")
    return str(members[wanted].url)


def _find_timm(release: Release, name: str) -> str:
    import_torchvision()  # timm imports it, and would not find its operators
    import timm

    if not timm.is_model(name):
        raise _none(release, f"timm has no model {name!r}")
    if release.published is not True:
        tags = timm.list_pretrained(name.partition(".")[0] + "*")
        raise _none(release, f"of timm's, the name says which: `timm:{(tags or [name])[0]}`, and published is true")
    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url) or config.custom_load:
        raise _none(release, f"timm publishes no weights of {name} that it loads as they are")
    if config.hf_hub_id:
        return f"https://huggingface.co/{config.hf_hub_id}/resolve/main/{config.hf_hub_filename or 'model.safetensors'}"
    return str(config.url)


def _none(release: Release, detail: str) -> UnloadableModel:
    return UnloadableModel(f"model {release.reference}: {detail}")
