"""Looks up known vulnerabilities of the pinned packages: `python -m tools.checks.advisories`.

If no database of vulnerabilities is reachable, for example offline, the check is skipped with a message.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKS = ("requirements.lock", "deploy/api.lock", "deploy/store.lock")
"""The packages of the development environment, and those that only the images have."""

TIMEOUT_SECONDS = 300

ROOT = Path(__file__).parents[2]


def look_up(lock: Path) -> list[dict[str, Any]] | None:
    """Returns the packages of a lock file with their vulnerabilities; None if no database is reachable."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(result.stdout)["dependencies"]
    except ValueError:  # pip-audit failed, usually because there is no connection
        print("\n".join(result.stderr.strip().splitlines()[-1:]))
        return None
    return packages if any("vulns" in package for package in packages) else None


def main() -> int:
    """Prints the vulnerabilities of all lock files; returns 1 if there are any."""
    exit_code = 0
    for lock in LOCKS:
        packages = look_up(ROOT / lock)
        if packages is None:
            print(f"advisories: {lock} skipped, no database of vulnerabilities is reachable")
            continue
        vulnerable = [package for package in packages if package.get("vulns")]
        unknown = [package["name"] for package in packages if "vulns" not in package]
        print(f"advisories: {lock}: {len(packages)} packages, {len(vulnerable)} vulnerable, {len(unknown)} unknown")
        for package in vulnerable:
            print_vulnerabilities(package)
            exit_code = 1
    return exit_code


def print_vulnerabilities(package: dict[str, Any]) -> None:
    """Prints one line for each vulnerability of a package."""
    for vulnerability in package["vulns"]:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version"
        print(f"  {package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
