"""Concurrent submissions of a tenant cannot exceed its limits together."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2

from api.adapters.admission import HOLD_SECONDS, Admission
from archetype.client import Client
from archetype.contract.api_key import Limits
from deploy.local import Stack
from shared.state.redis_client import RedisClient
from tests.support.callers import issue_token

LONG: dict[str, Any] = {"method": "class_model", "model": "slow", "targets": [0, 1], "params": {"steps": 3000}}


def test_a_submission_knows_those_that_are_being_accepted_and_forgets_those_that_were(stack: Stack) -> None:
    admission = Admission(RedisClient(stack.settings))
    with admission.hold("held", 3) as first, admission.hold("held", 4) as second, admission.hold("other", 1) as other:
        assert (first, second, other) == (0, 3, 0)
        with admission.hold("held", 1) as third:
            assert third == 7
    with admission.hold("held", 1) as later:
        assert later == 0


def test_a_submission_whose_process_has_died_is_forgotten(stack: Stack) -> None:
    moment = 1_800_000_000.0
    admission = Admission(RedisClient(stack.settings), clock=lambda: moment)
    abandoned = admission.hold("dead", 5)
    abandoned.__enter__()
    with admission.hold("dead", 1) as soon:
        assert soon == 5
    moment += HOLD_SECONDS + 1
    with admission.hold("dead", 1) as later:
        assert later == 0
    abandoned.__exit__(None, None, None)


def test_many_submissions_at_once_do_not_exceed_the_limit(stack: Stack, operator: Client) -> None:
    token = issue_token(operator, "crowd", limits=Limits(queued_targets=5))
    with httpx2.Client(base_url=stack.url, headers={"Authorization": f"Bearer {token}"}, timeout=120) as http:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: http.post("/v1/jobs", json=LONG), range(16)))
        accepted = [answer.json()["id"] for answer in answers if answer.status_code == 202]
        assert {answer.status_code for answer in answers} <= {202, 429}
        assert len(accepted) <= 2
        for job_id in accepted:
            http.post(f"/v1/jobs/{job_id}/cancel")
