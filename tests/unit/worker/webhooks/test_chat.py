"""Messages for chat services."""

import json
from typing import Any

import pytest

from archetype.contract.job import State, now
from shared.settings import Settings
from shared.storage.outbox import StoredDelivery, describe_end
from tests.support.jobs import make_spec
from worker.webhooks.chat import MAX_TEXT, write_chat_message
from worker.webhooks.message import make_message

SLACK = "https://hooks.slack.com/services/T/B/x"


def make_delivery(url: str = SLACK, **data: Any) -> StoredDelivery:
    job = make_spec().job("0" * 26).model_copy(update={"state": State.SUCCEEDED, "webhook": url})
    delivery = describe_end(job, now())
    return delivery.model_copy(update={"data": delivery.data | data})


def read_text(delivery: StoredDelivery, public_url: str | None = None) -> str:
    message = json.loads(write_chat_message(delivery, public_url))
    (section,) = message["blocks"]
    assert section["text"]["type"] == "mrkdwn"
    assert section["text"]["text"].startswith(message["text"])
    return str(section["text"]["text"])


def test_the_message_of_an_audit_is_its_summary_with_a_link() -> None:
    delivery = make_delivery(method="audit", model="fruit@3", verdict="fail", summary="fail: 1 finding")
    text = read_text(delivery, "https://archetype.example.com/")
    assert text == f"*audit of fruit@3*: fail: 1 finding <https://archetype.example.com/audits/{delivery.id}|Open>"


def test_the_message_of_a_job_is_its_state() -> None:
    assert read_text(make_delivery(method="saliency", model="fruit@3")) == "*saliency of fruit@3*: succeeded"


def test_texts_of_users_cannot_become_links_mentions_or_lines() -> None:
    text = read_text(make_delivery(model="<!channel> & <http://a|b>", summary="a\n*b*"))
    assert "&lt;!channel&gt; &amp; &lt;http://a|b&gt;" in text
    assert "\n" not in text


def test_long_texts_are_cut() -> None:
    assert len(read_text(make_delivery(summary="x" * 10_000))) < MAX_TEXT + 200


@pytest.mark.parametrize(
    ("url", "is_chat"),
    [
        (SLACK, True),
        ("https://HOOKS.slack.com/services/x", True),
        ("https://chat.example.com/hooks/x", True),
        ("https://hooks.slack.com.example.com/x", False),
        ("https://example.com/hooks.slack.com", False),
    ],
)
def test_only_chat_services_get_this_format(url: str, is_chat: bool) -> None:
    settings = Settings(chat_hosts=["hooks.slack.com", "chat.example.com"])
    body, headers = make_message(make_delivery(url), [], settings)
    assert ("blocks" in json.loads(body)) is is_chat
    assert headers["Content-Type"] == "application/json"
