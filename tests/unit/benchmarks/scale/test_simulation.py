"""The simulation of large fleets in a short form."""

import shutil
from dataclasses import replace

import pytest

from benchmarks.scale.redis_server import run_redis  # marks the module as one that starts a server
from benchmarks.scale.report import describe, format_calls, format_table
from benchmarks.scale.simulation import Scale, prepared

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="the clock of the simulated Redis is compiled")

assert run_redis


def test_a_small_fleet_computes_its_jobs_and_survives_losses_and_upgrades() -> None:
    scale = Scale(2, seconds=12.0, warm_up=4.0)
    with prepared(replace(scale, least_lost=2)) as simulation:
        measured = simulation.run()
        figures = describe(measured)
    assert measured.failed == 0
    assert measured.lost >= 1
    assert figures["throughput relative to the GPUs"] > 0.1
    assert 0 < figures["CPU seconds of Redis per second"] < 1
    assert figures["claim, 99th percentile, ms"] > 0
    assert "| workers | 2 |" in format_table([measured])
    assert "| claim |" in format_calls(measured)
