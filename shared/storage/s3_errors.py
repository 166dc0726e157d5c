"""Names the cause of an error of the object store."""

import re

from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from shared.errors import ObjectRefused, Refused, Unavailable

MISSING = {"NoSuchKey", "404", "NotFound"}
"""Error codes that mean that there is no such object; which one depends on the store."""

REASONS = {
    "InvalidAccessKeyId": "it does not know the access key; check ARCHETYPE_S3_ACCESS_KEY",
    "SignatureDoesNotMatch": "the secret key (password) is wrong; check ARCHETYPE_S3_SECRET_KEY",
    "InvalidToken": "the session token is wrong; check ARCHETYPE_S3_SESSION_TOKEN",
    "ExpiredToken": "the session token has expired; renew ARCHETYPE_S3_SESSION_TOKEN",
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it",
    "AccessDenied": "the account has no permission for this; see `python -m deploy.setup policy`",
    "403": "the credentials are wrong or have no permission for this; see `python -m deploy.setup policy`",
    "NoSuchBucket": "the bucket does not exist; run `python -m deploy.setup bucket`",
    "EntityTooLarge": "it does not accept objects of this size",
    "QuotaExceeded": "the quota of its disk is used up; free space or raise the quota",
    "InsufficientStorage": "its disk is full; free space",
    "XMinioStorageFull": "its disk is full; free space",
    "507": "its disk is full; free space",
}
"""What the error codes of stores mean."""

OF_AN_OBJECT = {
    "AccessDenied",
    "AllAccessDisabled",
    "403",
    "EntityTooLarge",
    "InvalidObjectState",
    "KeyTooLongError",
    "MethodNotAllowed",
}
"""Error codes that can concern one object, and that a store gives again if the call is repeated."""

FULL = re.compile(r"no space left|disk (is )?full|not enough space|insufficient storage|quota", re.IGNORECASE)
NO_NAME = re.compile(r"name or service not known|name resolution|getaddrinfo|nodename nor servname", re.IGNORECASE)


def read_code(error: ClientError) -> str:
    """Returns the error code of the store, or the HTTP status if it gave none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def explain(error: Exception) -> Unavailable:
    """Returns the problem of an error of botocore, with the cause and what to do."""
    if isinstance(error, ClientError):
        return _explain_response(error)
    return Unavailable(f"the object store does not answer: {_explain_connection(error)}")


def _explain_response(error: ClientError) -> Unavailable:
    code = read_code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = str(error.response.get("Error", {}).get("Message", ""))
    reason = REASONS.get(code) or REASONS.get(str(status))
    if FULL.search(message):
        reason = REASONS["507"]
    text = f"the object store refused a call ({code}): {reason or message or 'try again in a moment'}"
    if status >= 500:
        return Unavailable(text)
    return ObjectRefused(text) if code in OF_AN_OBJECT and not FULL.search(message) else Refused(text)


def _explain_connection(error: Exception) -> str:
    if isinstance(error, NoCredentialsError):
        return "there are no credentials for it; set ARCHETYPE_S3_ACCESS_KEY and ARCHETYPE_S3_SECRET_KEY"
    if isinstance(error, SSLError):
        return "its TLS certificate is not accepted; check ARCHETYPE_CA_BUNDLE"
    text = f"{error} {getattr(error, 'kwargs', {}).get('error', '')}"
    if isinstance(error, EndpointConnectionError) and NO_NAME.search(text):
        return "the host name of ARCHETYPE_S3_ENDPOINT has no address (DNS)"
    if isinstance(error, EndpointConnectionError) and "refused" in text.lower():
        return "the connection was refused; check that it runs, and ARCHETYPE_S3_ENDPOINT"
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return "no answer in time; try again in a moment"
    return "try again in a moment"
