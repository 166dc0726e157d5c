"""Signs requests again with the true time, so that the store accepts requests of processes with a moved clock."""

from collections.abc import Mapping

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from shared.settings import Settings

OLD = {"authorization", "x-amz-date", "date", "expect"}


def sign_again(settings: Settings, method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """Returns the headers of a request with a new signature of the current time."""
    unsigned = {name: value for name, value in headers.items() if name.lower() not in OLD}
    host = next(value for name, value in unsigned.items() if name.lower() == "host")
    request = AWSRequest(method, f"http://{host}{path}", headers=unsigned, data=body)
    keys = Credentials(settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    S3SigV4Auth(keys, "s3", settings.s3_region).add_auth(request)
    return dict(request.headers.items())
