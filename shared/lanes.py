"""Which jobs can share a batch, and how a job is cut into shares.

Jobs of one lane have the same network, and parameters that differ in nothing that shapes a pass through it.
"""

import hashlib
import json
import math
from itertools import pairwise

from shared.methods import AnyRequest, ClassModel, Looking
from shared.parameters.subjects import Top

SHARE = 8
"""Slots of a share: the smallest batch that is planned for. A worker with room for more takes several at once."""

ALONE = 1_000_000
"""The size of a share that wants a worker for itself."""


def name_lane(request: AnyRequest) -> str:
    """The lane of a request whose model is named with its release."""
    shape = request.params.shape
    if shape is None:
        return f"{request.model}/{request.method}"
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()
    return f"{request.model}/{request.family}/{digest[:16]}"


def cut(request: AnyRequest, targets: list[int] | None) -> tuple[list[int], int]:
    """How many items each share has, and how many places in a batch an item takes.

    Args:
        targets: Class indices, where the request names any.
    """
    if isinstance(request, ClassModel):
        count, seeds = len(targets or []), len(request.params.seeds)
        shares = math.ceil(count / max(1, SHARE // seeds))
        edges = [round(count * number / shares) for number in range(shares + 1)]
        return [end - start for start, end in pairwise(edges)], seeds
    if request.params.shape is not None and isinstance(request, Looking) and request.pictures:
        wanted = request.classes
        each = len(targets) if targets is not None else wanted.top if isinstance(wanted, Top) else 1
        return [sum(len(picture.targets or "") or each for picture in request.pictures)], 1
    return [1], ALONE
