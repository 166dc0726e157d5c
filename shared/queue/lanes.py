"""Lanes: which jobs can be computed in one batch.

Jobs in one lane use the same release, and their parameters differ only in values that do not change the shape of a
forward pass.
"""

import hashlib

from archetype.contract.request import AnyRequest
from archetype.contract.strict_json import dump_json


def name_lane(request: AnyRequest, release: str | None = None) -> str:
    """The lane of a request whose model is named with its release.

    Args:
        request: The request.
        release: Identity of the release; None if it is what the request names.
    """
    shape, name = request.params.shape, release or request.model
    if shape is None:
        return f"{name}/{request.method}"
    digest = hashlib.sha256(dump_json(shape, sort_keys=True).encode()).hexdigest()
    return f"{name}/{request.family}/{digest[:16]}"


def name_tenant_lane(lane: str, tenant: str) -> str:
    """The name in Redis of a tenant's part of a lane. The script `turns` takes it apart."""
    return f"{lane}/~{tenant}"
