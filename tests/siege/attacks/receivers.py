"""Receivers of webhooks that hang, fail or do not exist, and many deliveries of one tenant."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from archetype.contract.request import AnyRequest
from deploy.servers import HOST, free_port
from tests.chaos.requests import small
from tests.siege.attack import Attack
from tests.siege.findings import Findings
from tests.siege.stage import JSON, Stage, bearer
from tests.siege.traffic import Crowd, call
from tests.support.hostile_receiver import drip as drip_bytes
from tests.support.hostile_receiver import hostile_receiver
from tests.support.receiver import Receiver

DELIVERED_SECONDS = 15.0
"""The longest time from a job's submission to the message about it, while another tenant attacks."""

SLOW_SECONDS = 8.0
ENDLESS = b"HTTP/1.1 200 OK\r\nX-Slow: " + b"." * 10_000
RECEIVERS = 10
IMPOSSIBLE = ("https://" + "a" * 64 + ".example/hook", "https://a..example/hook", "https://xn--a-.example/hook")
"""Host names that cannot be looked up: too long a label, an empty one, and one that is not Punycode."""


def drip(stage: Stage, findings: Findings, *, receivers: int) -> None:
    """Sends messages to receivers whose answers never end, and expects the message of another tenant."""
    with ExitStack() as stack:
        ports = [stack.enter_context(hostile_receiver(drip_bytes(ENDLESS))) for _ in range(receivers)]
        urls = [f"http://{HOST}:{port}/hook" for port in ports]
        flood(stage, findings, urls, count=3 * receivers)
        expect_delivery(stage, findings)
        stage.hold()


def flood_deliveries(stage: Stage, findings: Findings, *, count: int) -> None:
    """Sends many messages to receivers that take some seconds for each, and expects the message of another tenant."""
    with ExitStack() as stack:
        slow = [stack.enter_context(receiver(slow_seconds=SLOW_SECONDS)) for _ in range(RECEIVERS)]
        flood(stage, findings, [one.url for one in slow], count=count)
        expect_delivery(stage, findings)
        stage.hold()
        findings.note(f"{sum(len(one.taken) for one in slow)} messages of the attacker arrived")


def impossible_hosts(stage: Stage, findings: Findings) -> None:
    """Names receivers that cannot exist: refused, or every attempt is recorded as failed."""
    for url in IMPOSSIBLE:
        status = stage.submit(findings, with_webhook(stage, url))
        findings.note(f"{url[:30]}…: {status}")
        findings.expect(status in (202, 422), f"{url[:30]}… is accepted or refused with 422, not {status}")
    expect_delivery(stage, findings)
    time.sleep(max(stage.seconds, 6.0 * stage.patience))
    for delivery in list_deliveries(stage):
        if delivery["url"] in IMPOSSIBLE and delivery["state"] == "waiting":
            sentence = f"an attempt at {delivery['url'][:30]}… is recorded with its error; it has no attempts"
            findings.expect(any(attempt["error"] for attempt in delivery["tries"]), sentence)


def retry_after(stage: Stage, findings: Findings) -> None:
    """Answers 503 with `Retry-After: 3600`, and expects no second attempt before that."""
    with receiver(answer=503, headers={"Retry-After": "3600"}) as busy:
        findings.expect(stage.submit(findings, with_webhook(stage, busy.url)) == 202, "the job is accepted")
        time.sleep(max(stage.seconds, 18.0))  # the second attempt without `Retry-After` is made after five seconds
        attempts = len(busy.paths)
    findings.expect(attempts == 1, f"a receiver with Retry-After: 3600 gets one attempt; it got {attempts}")


@contextmanager
def receiver(**options: object) -> Iterator[Receiver]:
    """A receiver on a free port."""
    running = Receiver(free_port(), **options)  # type: ignore[arg-type]
    running.start()
    try:
        yield running
    finally:
        running.stop()


def with_webhook(stage: Stage, url: str) -> AnyRequest:
    """A small job that sends a message to a URL when it has ended."""
    return small(stage.random, "webhook").model_copy(update={"webhook": url})


def flood(stage: Stage, findings: Findings, urls: Sequence[str], *, count: int) -> None:
    """Submits jobs of the attacker with webhooks and cancels them, so that their messages are sent at once."""
    requests = iter([with_webhook(stage, urls[number % len(urls)]) for number in range(count)])
    began = time.monotonic()

    def submit_and_cancel() -> int | None:
        request = next(requests)
        body, headers = request.model_dump_json(exclude_unset=True).encode(), bearer(stage.attacker)
        status, job = call(stage.address, "POST", "/v1/jobs", body, headers={**headers, **JSON})
        if status == 202:
            findings.accept(stage.attacker, job["id"], request)
            call(stage.address, "POST", f"/v1/jobs/{job['id']}/cancel", headers=headers)
        return status

    with Crowd(submit_and_cancel, count=1, pause=0, calls=count) as crowd:
        crowd.wait(2 * stage.seconds)
    findings.note(f"{crowd.answers.total()} webhooks in {time.monotonic() - began:.1f} s: {crowd.describe()}")


def expect_delivery(stage: Stage, findings: Findings) -> None:
    """Expects that the message of a job of the bystander arrives in time."""
    allowed, began = DELIVERED_SECONDS * stage.patience, time.monotonic()
    with receiver() as own:
        status = stage.submit(findings, with_webhook(stage, own.url), key=stage.bystander)
        findings.expect(status == 202, f"the bystander's job with a webhook is accepted; the answer was {status}")
        while not own.taken and time.monotonic() - began < allowed:
            time.sleep(0.1)
        arrived = bool(own.taken)
    seconds = time.monotonic() - began
    findings.note(f"the bystander's message {'arrived' if arrived else 'had not arrived'} after {seconds:.1f} s")
    findings.expect(arrived, f"the message of another tenant arrives within {allowed:g} s")


def list_deliveries(stage: Stage) -> list[dict[str, Any]]:
    """Returns the newest deliveries of the attacker."""
    path = "/v1/webhooks/deliveries?limit=200"
    return list(call(stage.address, "GET", path, headers=bearer(stage.attacker))[1].get("items", []))


ATTACKS = (
    Attack(9, "receivers-drip", "ten receivers that answer a byte at a time", partial(drip, receivers=RECEIVERS)),
    Attack(11, "deliveries", "100 webhooks of one tenant to ten slow receivers", partial(flood_deliveries, count=100)),
    Attack(12, "impossible-hosts", "webhooks to impossible host names", impossible_hosts),
    Attack(12, "retry-after", "a receiver that answers Retry-After: 3600", retry_after),
)
