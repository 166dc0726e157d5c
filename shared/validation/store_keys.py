"""Which keys of the bucket a tenant may name: those under the prefixes that the operator allows, and no others."""

import re
from collections.abc import Sequence

from shared.storage.layout import PREFIXES

TENANT = "{tenant}"
"""Part of an allowed prefix that stands for the name of the tenant."""

UNUSUAL = re.compile(r"[\x00-\x1f\x7f\\]|//|(^|/)\.\.?(/|$)|^/")
"""What some stores interpret as another key: control characters, backslashes, and empty, `.` and `..` segments."""


def expand_prefixes(prefixes: Sequence[str], tenant: str) -> list[str]:
    """The prefixes that are allowed for a tenant. One with `{tenant}` covers whole segments of keys."""
    return [
        prefix.removesuffix("/").replace(TENANT, tenant) + "/" if TENANT in prefix else prefix for prefix in prefixes
    ]


def is_allowed(key: str, prefixes: Sequence[str]) -> bool:
    """Whether a key, or a prefix of keys, is under one of the prefixes and not among the service's own objects.

    Args:
        key: A key of the bucket, or the beginning of keys.
        prefixes: The prefixes that are allowed for the tenant; see `expand_prefixes`.
    """
    is_plain = UNUSUAL.search(key) is None and key.partition("/")[0] not in PREFIXES
    return is_plain and any(key.startswith(prefix) for prefix in prefixes)
