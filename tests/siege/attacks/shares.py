"""One tenant that takes as much as it can of what all tenants share."""

import http.client
import itertools
import time
from functools import partial

from tests.chaos.requests import small
from tests.siege import bombs
from tests.siege.attack import Attack
from tests.siege.findings import Findings
from tests.siege.stage import Stage, bearer, issue_key
from tests.siege.traffic import MULTIPART, Crowd, SlowConnections, call, make_form

DECODER_CALLERS, DECODER_SECONDS = 6, 20.0
LISTENER_SECONDS = 5.0
REGISTRATION_SECONDS, MODELS_SECONDS = 45.0, 1.0
QUEUED_TARGETS = 30
OWN_JOB_SECONDS = 60.0


def take_decoders(stage: Stage, findings: Findings) -> None:
    """Uploads pictures that take seconds to decode, several at a time."""
    form, headers = make_form(slow_picture(), "slow.jpg"), {**bearer(stage.attacker), "Content-Type": MULTIPART}

    def post() -> int | None:
        return call(stage.address, "POST", "/v1/images", form, seconds=DECODER_SECONDS, headers=headers)[0]

    with Crowd(post, count=DECODER_CALLERS) as crowd:
        stage.hold()
    findings.note(f"pictures of {len(slow_picture())} bytes: {crowd.describe()}")


slow_picture = partial(bombs.scans_jpeg, 600)


def take_listeners(stage: Stage, findings: Findings, *, count: int) -> None:
    """Opens event streams with one key, and expects that another tenant can open one."""
    head = f"GET /v1/events HTTP/1.1\r\nHost: {stage.address}\r\nAuthorization: Bearer {stage.attacker}\r\n\r\n"
    with SlowConnections(stage.address, head.encode(), count=count) as listeners:
        time.sleep(2)
        allowed, began = LISTENER_SECONDS * stage.patience, time.monotonic()
        status = open_stream(stage, seconds=allowed)
        sentence = f"another tenant opens an event stream within {allowed:g} s; the answer was {status or 'none'}"
        findings.expect(status == 200, sentence)
        findings.note(f"the event stream of the other tenant was answered after {time.monotonic() - began:.1f} s")
        stage.hold()
    findings.note(f"{listeners.opened} event streams were requested, {count} at a time")


def open_stream(stage: Stage, *, seconds: float) -> int | None:
    """Opens the bystander's event stream; returns the status."""
    connection = http.client.HTTPConnection(stage.address, timeout=seconds)
    try:
        connection.request("GET", "/v1/events", headers=bearer(stage.bystander))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def register_refused(stage: Stage, findings: Findings, *, count: int) -> None:
    """Registers releases whose weights cannot be read."""
    headers = {**bearer(stage.attacker), "Content-Type": MULTIPART}
    form = make_form(b"these are no weights" * 50, "weights.pt")
    status, weights = call(stage.address, "POST", "/v1/weights", form, headers=headers)
    findings.expect(status in (201, 422), f"the file is stored or refused; the answer was {status}")
    numbers = itertools.count()

    def register() -> int | None:
        return stage.register(f"refused-{next(numbers)}", str(weights.get("id", "0" * 64)), seconds=0)

    with Crowd(register, count=4, pause=0, calls=count) as crowd:
        crowd.wait(REGISTRATION_SECONDS)
    findings.note(f"{crowd.answers.total()} registrations: {crowd.describe()}")
    allowed = MODELS_SECONDS * stage.patience
    longest = max(time_models(stage) for _ in range(8))
    findings.note(f"afterwards the list of models took {longest:.2f} s at most")
    findings.expect(longest <= allowed, f"models are listed within {allowed:g} s after the registrations")


def time_models(stage: Stage) -> float:
    """Lists the models of the bystander; returns the seconds. The pause is long enough for caches to become old."""
    time.sleep(1)
    began = time.monotonic()
    call(stage.address, "GET", "/v1/models", headers=bearer(stage.bystander))
    return time.monotonic() - began


def flood_submits(stage: Stage, findings: Findings) -> None:
    """Submits jobs as fast as the service answers, with a key whose tenant may queue a number of targets."""
    key = issue_key(stage.stack, "flood", queued_targets=QUEUED_TARGETS)

    def submit() -> int | None:
        return stage.submit(findings, small(stage.random, "flood"), key=key)

    with Crowd(submit, count=16, pause=0.02) as crowd:
        time.sleep(2)
        expect_own_job(stage, findings)
        stage.hold()
    findings.note(f"submits of the flood: {crowd.describe()}")


def expect_own_job(stage: Stage, findings: Findings) -> None:
    """Expects that a job of the bystander ends in time."""
    allowed, began = OWN_JOB_SECONDS * stage.patience, time.monotonic()
    body = stage.bystander_request.model_dump_json(exclude_unset=True).encode()
    headers = {**bearer(stage.bystander), "Content-Type": "application/json", "Prefer": f"wait={allowed:.0f}"}
    status, job = call(stage.address, "POST", "/v1/jobs", body, seconds=allowed + 10, headers=headers)
    if status in (200, 202) and "id" in job:
        findings.accept(stage.bystander, job["id"], stage.bystander_request)
    seconds = time.monotonic() - began
    findings.note(f"a job of the bystander was {job.get('state')} after {seconds:.1f} s")
    findings.expect(job.get("state") == "succeeded", f"a job of another tenant succeeds within {allowed:g} s")


ATTACKS = (
    Attack(11, "decoders", "one tenant takes all decoders", take_decoders, prepare=slow_picture),
    Attack(11, "listeners-32", "32 event listeners of one key", partial(take_listeners, count=32), short=True),
    Attack(11, "listeners-100", "100 event listeners of one key", partial(take_listeners, count=100)),
    Attack(11, "registrations", "300 registrations that are refused", partial(register_refused, count=300)),
    Attack(11, "submits", "a flood of submits of one tenant", flood_submits),
)
