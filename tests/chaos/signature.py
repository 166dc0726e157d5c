"""Requests signed afresh, by the true time: to whoever signed them, the store's clock is as wrong as their own."""

from collections.abc import Mapping

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from shared.settings import Settings

OLD = {"authorization", "x-amz-date", "date", "expect"}


def sign_afresh(settings: Settings, method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """The headers with another signature and the time of now."""
    kept = {name: value for name, value in headers.items() if name.lower() not in OLD}
    host = next(value for name, value in kept.items() if name.lower() == "host")
    request = AWSRequest(method, f"http://{host}{path}", headers=kept, data=body)
    keys = Credentials(settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    S3SigV4Auth(keys, "s3", settings.s3_region).add_auth(request)
    return dict(request.headers.items())
