"""What a version of the service can read: workers do not claim shards that they cannot read.

A shard whose request has a newer format, or that a worker could not read, waits in a *section* of the queue, whose name
says which workers may claim it (`scripts/sections.lua`).
"""

import hashlib
from functools import cache
from typing import NamedTuple, get_args

from archetype.contract.request import STORED
from archetype.contract.strict_json import dump_json
from archetype.version import VERSION
from shared.storage.documents import JobSpec, Manifest, Registration, ShardResult

COMMON_FORMAT = 3
"""Highest format of requests that versions without sections read. Shards of higher formats wait in a section."""


class Reader(NamedTuple):
    """What a version can read.

    Attributes:
        name: Differs between versions that can read different documents.
        format: Highest format of requests.
    """

    name: str
    format: int


@cache
def describe_reader() -> Reader:
    """What this version can read."""
    documents = [
        STORED.json_schema(),
        *(kind.model_json_schema() for kind in (JobSpec, ShardResult, Manifest, Registration)),
    ]
    digest = hashlib.sha256(dump_json([VERSION, documents], sort_keys=True).encode()).hexdigest()
    return Reader(digest[:12], max(get_args(JobSpec.model_fields["format"].annotation)))


def name_section(format: int) -> str:  # noqa: A002
    """The section of shards whose request has this format."""
    return f"{format}-" if format > COMMON_FORMAT else ""
