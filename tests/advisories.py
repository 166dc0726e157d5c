"""Looks up the pinned packages among known vulnerabilities: `python -m tests.advisories`.

Where no database of advisories answers, as without the internet, it says so and passes: nobody can know there.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "deploy/api.lock", "deploy/store.lock")
"""What is worked and tested with, and what images have beside."""
SECONDS = 300


def look_up(lock: Path) -> list[dict[str, Any]] | None:
    """Every package of a lock file with what is known of it; None where nobody answers."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--no-deps", "--disable-pip", "--format",
               "json", "--progress-spinner", "off", "--timeout", "15"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:  # it broke off, mostly for want of a connection
        print("\n".join(done.stderr.strip().splitlines()[-1:]))
        return None
    return found if any("vulns" in one for one in found) else None


def main() -> int:
    worst = 0
    for lock in LOCKS:
        found = look_up(ROOT / lock)
        if found is None:
            print(f"advisories: {lock} skipped, no database of vulnerabilities answers here")
            continue
        vulnerable = [one for one in found if one.get("vulns")]
        unknown = [one["name"] for one in found if "vulns" not in one]
        print(f"advisories: {lock}: {len(found)} packages, {len(vulnerable)} vulnerable, {len(unknown)} unknown")
        for one in vulnerable:
            for said in one["vulns"]:
                fixed = ", ".join(said["fix_versions"]) or "no version"
                print(f"  {one['name']} {one['version']}: {said['id']}, repaired in {fixed}", file=sys.stderr)
            worst = 1
    return worst


if __name__ == "__main__":
    sys.exit(main())
