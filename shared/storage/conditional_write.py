"""Writes to the store that succeed only if no other process has changed the object meanwhile."""

from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHANGED = frozenset({404, 409, 412})
"""The object is gone, another write is under way, or the object is not the expected one."""

NOT_SUPPORTED = 501


def read_tagged(client: "S3Client", bucket: str, key: str) -> tuple[bytes, str]:
    """The content of an object and its ETag."""
    answer = client.get_object(Bucket=bucket, Key=key)
    return answer["Body"].read(), answer["ETag"]


def write_if_unchanged(
    client: "S3Client", bucket: str, key: str, data: bytes, *, media_type: str, tag: str | None
) -> bool:
    """Stores an object if it is still the expected one.

    A store that ignores the condition, or does not support it, stores the object in any case.

    Args:
        client: Client of the store.
        bucket: Name of the bucket.
        key: Key of the object.
        data: The new content.
        media_type: Content type.
        tag: ETag of the expected object; None if there must be none.

    Returns:
        Whether the object was stored.
    """
    condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
    call = {"Bucket": bucket, "Key": key, "Body": data, "ContentType": media_type}
    try:
        client.put_object(**cast("Any", call | condition))
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status in CHANGED:
            return False
        if status != NOT_SUPPORTED:
            raise
        client.put_object(**cast("Any", call))
    return True
