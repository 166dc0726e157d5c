"""Checks that a network can do what a request asks for."""

from archetype.contract.model import Capability, Description
from archetype.contract.parameters.saliency import KINDS_WITH_GRADIENTS, SaliencyParameters
from archetype.contract.problem import FieldError
from archetype.contract.request import AnyRequest
from shared.catalogue.release import Release
from shared.errors import InvalidRequest


def check_capabilities(request: AnyRequest, release: Release, description: Description | None) -> None:
    """Checks the method of a request, and the kind of saliency map, if a worker has already tried the release.

    Raises:
        InvalidRequest: The network cannot do this; the error gives the reason and the kinds that work.
    """
    capabilities = description.capabilities if description else None
    if capabilities is None:
        return  # no worker has tried the release; the worker that runs the job does
    params = request.params
    if isinstance(params, SaliencyParameters):
        kinds = {capability.kind: capability for capability in capabilities if capability.method == "saliency"}
        works = [kind for kind, capability in kinds.items() if capability.available and kind is not None]
        _check(kinds.get(params.kind), f"the kind {params.kind!r}", "/params/kind", params.kind, release, works)
        if params.kind in KINDS_WITH_GRADIENTS:
            rule = params.gradient
            _check(kinds.get(rule), f"gradient {rule!r}", "/params/gradient", rule, release)
        return
    methods = {capability.method: capability for capability in capabilities if capability.kind is None}
    _check(methods.get(request.method), f"the method {request.method!r}", "/method", request.method, release)


def _check(
    capability: Capability | None, what: str, field: str, given: str, release: Release, allowed: list[str] | None = None
) -> None:
    if capability is None or capability.available:
        return
    detail = f"{what} does not work with {release.reference}: {capability.reason}"
    error = FieldError(field=field, detail=detail, given=given, allowed=allowed)
    raise InvalidRequest(f"{detail}; GET /v1/models/{release.reference} lists what works", error)
