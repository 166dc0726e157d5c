"""Deletion of many objects: in batches if the store can do that, otherwise one by one, several at the same time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ErrorTypeDef

BATCH = 250
"""Objects of one batch: a store of plain files deletes them one after the other, within the time of a call."""

PARALLEL = 8
"""Objects that are deleted at the same time if the store has no batches."""

NOT_SUPPORTED = frozenset({400, 403, 404, 405, 411, 501})
"""Answers of stores without batches, and of policies that allow only the deletion of single objects."""


def delete_batch(client: "S3Client", bucket: str, keys: Sequence[str]) -> bool:
    """Removes up to a thousand objects with one call; returns False if the store does not support it.

    Raises:
        ClientError: The store failed, or refused to remove one of the objects.
    """
    try:
        answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in NOT_SUPPORTED:
            return False
        raise
    failed = [error for error in answer.get("Errors", []) if error.get("Code") != "NoSuchKey"]
    if failed:
        raise _make_error(failed[0])
    return True


def _make_error(failure: "ErrorTypeDef") -> ClientError:
    """The error that a call for this object alone would have raised."""
    code, message = failure.get("Code", ""), failure.get("Message", "")
    return ClientError({"Error": {"Code": code, "Message": message}}, "DeleteObjects")


def delete_one_by_one(delete: Callable[[str], None], keys: Sequence[str]) -> None:
    """Calls a function for each key, at most `PARALLEL` at the same time. Raises the first error."""
    with ThreadPoolExecutor(min(PARALLEL, max(1, len(keys)))) as pool:
        for _ in pool.map(delete, keys):
            pass
