"""Formats and levels of logs."""

import json
from collections.abc import Iterator

import pytest
import structlog

from shared.process.logging import configure_logging
from shared.settings import Settings


@pytest.fixture(autouse=True)
def _restore_structlog() -> Iterator[None]:
    config = structlog.get_config()
    yield
    structlog.configure(**config)


def test_json_logs_have_one_object_in_each_line_and_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="json"))
    log = structlog.get_logger()
    try:
        password = "a secret"
        raise ValueError(len(password))
    except ValueError:
        log.exception("job.failed", job_id="j")
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["event"], event["job_id"], event["level"]) == ("job.failed", "j", "error")
    assert "a secret" not in line


def test_messages_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_level="warning"))
    log = structlog.get_logger()
    log.info("job.claimed")
    log.warning("job.lost")
    lines = capsys.readouterr().err
    assert "job.lost" in lines
    assert "job.claimed" not in lines
