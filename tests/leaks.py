"""Looks for secrets in what is committed: `python -m tests.leaks`. What only looks like one is listed here."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings

ROOT = Path(__file__).parents[1]
DIGESTS = (".lock",)
"""Files that are full of them."""

HARMLESS = {
    "api/examples.py": 2,  # digests of nothing
    "deploy/kubernetes/backing/hardened.yaml": 1,  # the name of a secret
    "deploy/kubernetes/base/hardened.yaml": 1,
    "shared/settings.py": 1,  # the name of a variable
    "tests/deploy/test_kubernetes.py": 1,
    "tests/shared/test_settings.py": 1,  # made up
    "tests/worker/test_courier.py": 2,
}
"""How many things in a file look like a secret and are none."""


def find_leaks(paths: Sequence[str]) -> Iterator[str]:
    """Where there are more of them than are known."""
    found = SecretsCollection(root=str(ROOT))
    with default_settings():
        for path in paths:
            if not path.endswith(DIGESTS):
                found.scan_file(path)
    for path, secrets in found.data.items():
        if len(secrets) > HARMLESS.get(path, 0):
            for secret in sorted(secrets, key=lambda one: one.line_number):
                yield f"{path}:{secret.line_number}: {secret.type}"


def main() -> int:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [path for path in listed.splitlines() if (ROOT / path).is_file()]
    leaks = list(find_leaks(paths))
    print("\n".join(leaks) or f"no secrets in {len(paths)} files")
    return bool(leaks)


if __name__ == "__main__":
    sys.exit(main())
