"""Checks that the layers and channels in a request exist in the network."""

from archetype.contract.model import Description, Layer
from archetype.contract.parameters.filters import FiltersParameters
from archetype.contract.parameters.types import NamedLayer, Parameters
from archetype.contract.problem import FieldError, nearest
from shared.catalogue.release import Release
from shared.errors import InvalidRequest


def check_layers(params: Parameters, release: Release, description: Description | None) -> None:
    """Checks the layers and channels of a request, if a worker has already described the release.

    Raises:
        InvalidRequest: A layer or a channel does not exist; the error lists the nearest names.
    """
    references = list(params.named_layers())
    if description is None:
        return  # no worker has loaded the release; the worker that runs the job checks the layers
    layers = {layer.name: layer for layer in description.layers}
    for reference in references:
        if reference.name not in layers:
            _refuse_unknown(reference, list(layers), release)
        if isinstance(params, FiltersParameters):
            _check_filters(reference, layers[reference.name], description.layers, release)
        else:
            _check_channel(reference, layers[reference.name], release)


def _refuse_unknown(reference: NamedLayer, names: list[str], release: Release) -> None:
    detail = f"layer {reference.name!r} is not part of {release.reference}"
    close = nearest(reference.name, names) or None
    error = FieldError(field=f"/params/{reference.place}", detail=detail, given=reference.name, allowed=close)
    raise InvalidRequest(f"{detail}; GET /v1/models/{release.name} lists its layers", error)


def _check_channel(reference: NamedLayer, layer: Layer, release: Release) -> None:
    if layer.shape is None:
        detail = f"layer {layer.name!r} of {release.reference} has no output of its own for each image"
        error = FieldError(field=f"/params/{reference.place}", detail=detail, given=layer.name)
        raise InvalidRequest(f"{detail}; choose a layer inside or after it", error)
    if layer.channels is not None:
        _check_index(reference, layer, layer.channels, "channel", release)


def _check_filters(reference: NamedLayer, layer: Layer, layers: list[Layer], release: Release) -> None:
    if not any(other.filters for other in layers):
        return  # the description is older than the count of filters, or there are no convolutions: the worker checks
    if layer.filters is None:
        convolutions = [other.name for other in layers if other.filters is not None]
        detail = f"layer {layer.name!r} of {release.reference} is a {layer.kind}, not a convolution"
        near = nearest(layer.name, convolutions) or convolutions[:5]
        error = FieldError(field=f"/params/{reference.place}", detail=detail, given=layer.name, allowed=near)
        raise InvalidRequest(f"{detail}; choose a convolution, for example {', '.join(near)}", error)
    _check_index(reference, layer, layer.filters, "filter", release)


def _check_index(reference: NamedLayer, layer: Layer, count: int, kind: str, release: Release) -> None:
    if reference.channel is not None and reference.channel >= count:
        detail = f"layer {layer.name!r} of {release.reference} has {count} {kind}s"
        field, allowed = f"/params/{reference.channel_place}", f"0 to {count - 1}"
        error = FieldError(field=field, detail=detail, given=reference.channel, allowed=allowed)
        raise InvalidRequest(f"{detail}, there is no {kind} {reference.channel}", error)
