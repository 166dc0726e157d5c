"""Scans committed files for credentials with detect-secrets; `HARMLESS` lists false positives.

python -m tools.checks.leaks
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import default_settings

DIGESTS = (".lock",)
"""Files that contain many digests."""

HARMLESS = {
    "api/http/example_documents.py": 2,  # example digests
    "deploy/credentials.py": 1,  # the name of a file
    "deploy/kubernetes/backing/hardened.yaml": 1,  # the name of a secret
    "deploy/kubernetes/base/hardened.yaml": 1,
    "shared/process/check_settings.py": 1,  # the form of an address
    "shared/settings.py": 1,  # the name of a variable
    "shared/storage/layout.py": 1,  # a prefix of keys
    "tests/unit/archetype/contract/parameters/test_types.py": 3,  # digests
    "tests/unit/shared/process/test_logging.py": 1,
    "tests/unit/deploy/test_kubernetes.py": 1,
    "tests/unit/api/adapters/test_report_signer.py": 3,  # a test vector of RFC 8032
    "tests/unit/api/web/test_way_back.py": 1,  # example values
    "tests/unit/deploy/test_credentials.py": 2,
    "tests/unit/shared/process/test_loopback.py": 1,
    "tests/unit/shared/validation/test_webhook_url.py": 1,
    "tests/unit/shared/test_settings.py": 1,
    "tests/integration/worker/test_webhook_sender.py": 2,
    "tests/integration/worker/webhooks/test_sender.py": 3,
    "tests/support/sender_workplace.py": 2,  # the example secret of the specification of webhooks
}
"""The number of false positives by file."""

ROOT = Path(__file__).parents[2]


def find_leaks(paths: Sequence[str]) -> Iterator[str]:
    """Yields the position and kind of each secret in files with more matches than known false positives."""
    matches = SecretsCollection(root=str(ROOT))
    with default_settings():
        for path in paths:
            if not path.endswith(DIGESTS):
                matches.scan_file(path)
    for path, secrets in matches.data.items():
        if len(secrets) > HARMLESS.get(path, 0):
            for secret in sorted(secrets, key=lambda secret: secret.line_number):
                yield f"{path}:{secret.line_number}: {secret.type}"


def main() -> int:
    """Prints the secrets in the files of the repository; returns 1 if there are any."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [path for path in listed.splitlines() if (ROOT / path).is_file()]
    leaks = list(find_leaks(paths))
    print("\n".join(leaks) or f"no secrets in {len(paths)} files")
    return bool(leaks)


if __name__ == "__main__":
    sys.exit(main())
