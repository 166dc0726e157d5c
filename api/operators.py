"""Calls that are for operators alone."""

import hmac

from flask import request

from api.services import services
from shared.errors import FieldError, Forbidden, Unauthorized


def check_operator() -> None:
    """Lets only those pass who send the operators' token.

    Raises:
        Forbidden: The service has no such token, and takes the call from nobody.
        Unauthorized: The token is missing or wrong.
    """
    token = services().settings.operator_token
    if token is None or not token.get_secret_value().strip():
        raise Forbidden("this service has no operators; set ARCHETYPE_OPERATOR_TOKEN where it is started")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    expected = token.get_secret_value().encode()
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), expected):
        field = FieldError(field="Authorization", detail="missing or wrong", allowed="Bearer and the operators' token")
        raise Unauthorized("this call is for operators; send Authorization: Bearer and their token", field)
