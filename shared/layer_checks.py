"""Whether the layers that a request names are part of the network."""

from typing import Protocol

from shared.catalogue import Release
from shared.errors import FieldError, InvalidRequest, nearest
from shared.parameters.fields import NamedLayer, Parameters
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
    for one in named:
        if one.name not in known:
            _refuse_unknown(one, list(known), release)
        if isinstance(params, FiltersParameters):
            _check_filters(one, known[one.name], description.layers, release)
        else:
            _check_channel(one, known[one.name], release)


def _refuse_unknown(named: NamedLayer, known: list[str], release: Release) -> None:
    detail = f"layer {named.name!r} is not part of {release.reference}"
    close = nearest(named.name, known) or None
    error = FieldError(field=f"/params/{named.place}", detail=detail, given=named.name, allowed=close)
    raise InvalidRequest(f"{detail}; GET /v1/models/{release.name} lists its layers", error)


def _check_channel(named: NamedLayer, layer: Layer, release: Release) -> None:
    if layer.shape is None:
        detail = f"layer {layer.name!r} of {release.reference} gives no features of its own for each picture"
        error = FieldError(field=f"/params/{named.place}", detail=detail, given=layer.name)
        raise InvalidRequest(f"{detail}; name one inside it, or after it", error)
    if named.channel is not None and layer.channels is not None and named.channel >= layer.channels:
        detail = f"layer {layer.name!r} of {release.reference} has {layer.channels} channels"
        field, allowed = f"/params/{named.channel_place}", f"0 to {layer.channels - 1}"
        error = FieldError(field=field, detail=detail, given=named.channel, allowed=allowed)
        raise InvalidRequest(f"{detail}, there is no channel {named.channel}", error)


def _check_filters(named: NamedLayer, layer: Layer, layers: list[Layer], release: Release) -> None:
    if not any(other.filters for other in layers):
        return  # it was described before filters were counted, or has none: the worker says so
    if layer.filters is None:
        convolutions = [other.name for other in layers if other.filters is not None]
        detail = f"layer {layer.name!r} of {release.reference} is a {layer.kind}, and no convolution"
        near = nearest(layer.name, convolutions) or convolutions[:5]
        error = FieldError(field=f"/params/{named.place}", detail=detail, given=layer.name, allowed=near)
        raise InvalidRequest(f"{detail}; give one, as {', '.join(near)}", error)
    if named.channel is not None and named.channel >= layer.filters:
        detail = f"layer {layer.name!r} of {release.reference} has {layer.filters} filters"
        field, allowed = f"/params/{named.channel_place}", f"0 to {layer.filters - 1}"
        error = FieldError(field=field, detail=detail, given=named.channel, allowed=allowed)
        raise InvalidRequest(f"{detail}, there is no filter {named.channel}", error)
