"""The V1 protocol of KServe: instances in, predictions and explanations out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from api.services.explain.explain_images import ExplainedImages
from api.services.explain.pixels import decode_base64, encode_png
from archetype.contract.problem import FieldError
from archetype.contract.protocols.explain import EncodedImage, ExplainResponse, Explanation
from shared.errors import InvalidRequest


def read_instances(instances: Sequence[EncodedImage | list[Any]]) -> list[bytes]:
    """Returns the image file of each instance.

    Raises:
        InvalidRequest: An instance is not base64, or its rows are not pixels.
    """
    return [_read(instance, number) for number, instance in enumerate(instances)]


def _read(instance: EncodedImage | list[Any], number: int) -> bytes:
    try:
        if isinstance(instance, EncodedImage):
            return decode_base64(instance.b64)
        return encode_png(np.asarray(instance, dtype=np.int64))
    except ValueError as error:
        field = FieldError(field=f"/instances/{number}", detail=str(error))
        raise InvalidRequest("an instance is not an image", field) from error


def make_explain_response(explained: ExplainedImages, kind: str) -> ExplainResponse:
    """Returns the predictions and the explanations of all instances."""
    return ExplainResponse(
        predictions=[image.prediction for image in explained.images],
        explanations=[Explanation(target=image.target, kind=kind, map=image.map) for image in explained.images],
        job=explained.job.id,
    )
