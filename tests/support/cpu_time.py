"""Limits of CPU time that hold on any processor: they grow with the time that a known program takes meanwhile."""

import json
import resource
import subprocess
import sys

YARDSTICK = """
import argparse, asyncio, decimal, email.mime.text, http.client, logging.config, sqlite3, ssl, unittest.mock
import json, resource
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps(usage.ru_utime + usage.ru_stime))
"""

YARDSTICK_SECONDS = 0.1
"""CPU time of the yardstick on the machine for which limits are given."""


def cpu_limit(seconds: float) -> float:
    """A limit for this processor, now. Call it directly before or after what it limits.

    Args:
        seconds: The limit on a machine that imports the yardstick in `YARDSTICK_SECONDS`, or faster.
    """
    command = [sys.executable, "-I", "-c", YARDSTICK]
    times = [json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout) for _ in range(3)]
    return seconds * max(1, min(times) / YARDSTICK_SECONDS)


def children_cpu_seconds() -> float:
    """CPU time of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
