"""Whether the layers that a request names are part of the network."""

from typing import Protocol

from shared.catalogue import Release
from shared.errors import FieldError, InvalidRequest, nearest
from shared.parameters.fields import Parameters
from shared.parameters.filters import FiltersParameters
from shared.storage import Description, Layer


class Descriptions(Protocol):
    """What workers saw when they loaded releases; `Storage` knows it."""

    def load_description(self, name: str, release: str) -> Description | None: ...


def check_layers(params: Parameters, release: Release, store: Descriptions) -> None:
    """Raises `InvalidRequest` where a layer or a channel is not there; the nearest names are given."""
    named = list(params.named_layers())
    description = store.load_description(release.name, release.release) if named else None
    if description is None:
        return  # no worker has looked at it yet; the one that runs the job will
    known = {layer.name: layer for layer in description.layers}
    for place, name, channel in named:
        if name not in known:
            _refuse_unknown(f"/params/{place}", name, list(known), release)
        if isinstance(params, FiltersParameters):
            _check_filters(f"/params/{place}", known[name], channel, description.layers, release)
        else:
            _check_channel(f"/params/{place.removesuffix('layer')}channel", known[name], channel, release)


def _refuse_unknown(field: str, name: str, known: list[str], release: Release) -> None:
    detail = f"layer {name!r} is not part of {release.reference}"
    error = FieldError(field=field, detail=detail, given=name, allowed=nearest(name, known) or None)
    raise InvalidRequest(f"{detail}; GET /v1/models/{release.name} lists its layers", error)


def _check_channel(field: str, layer: Layer, channel: int | None, release: Release) -> None:
    if not layer.shape or channel is None:
        return
    count = layer.shape[-1] if len(layer.shape) == 2 else layer.shape[0]  # tokens have their features last
    if channel >= count:
        detail = f"layer {layer.name!r} of {release.reference} has {count} channels"
        error = FieldError(field=field, detail=detail, given=channel, allowed=f"0 to {count - 1}")
        raise InvalidRequest(f"{detail}, there is no channel {channel}", error)


def _check_filters(field: str, layer: Layer, largest: int | None, layers: list[Layer], release: Release) -> None:
    if layer.filters is None:
        convolutions = [other.name for other in layers if other.filters is not None]
        detail = f"layer {layer.name!r} of {release.reference} is a {layer.kind}, and no convolution"
        near = nearest(layer.name, convolutions) or convolutions[:5]
        raise InvalidRequest(
            f"{detail}; give one, as {', '.join(near)}",
            FieldError(field=field, detail=detail, given=layer.name, allowed=near),
        )
    if largest is not None and largest >= layer.filters:
        detail = f"layer {layer.name!r} of {release.reference} has {layer.filters} filters"
        error = FieldError(field="/params/filters", detail=detail, given=largest, allowed=f"0 to {layer.filters - 1}")
        raise InvalidRequest(f"{detail}, there is no filter {largest}", error)
