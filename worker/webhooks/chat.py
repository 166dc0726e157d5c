"""Messages that chat services show: the format of Slack's incoming webhooks, which Mattermost and others read too."""

from typing import Any

from archetype.contract.strict_json import dump_json
from shared.storage.outbox import StoredDelivery

MAX_TEXT = 2000
"""Slack shows at most 3,000 characters of a section."""

ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""Slack, "Formatting text for app surfaces": the characters that must be escaped, and no others."""


def write_chat_message(delivery: StoredDelivery, public_url: str | None) -> str:
    """Returns the message of a delivery as JSON for Slack.

    Args:
        delivery: The delivery.
        public_url: Address of the service for people; without it, the message has no link.
    """
    text = _write_text(delivery.data, delivery.event)
    link = f" <{_find_page(public_url, delivery.data)}|Open>" if public_url else ""
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text + link}}
    return dump_json({"text": text, "blocks": [section]})


def _write_text(data: dict[str, Any], event: str) -> str:
    subject = f"*{_escape(str(data.get('method', 'job')))} of {_escape(str(data.get('model', '')))}*"
    return f"{subject}: {_escape(str(data.get('summary') or data.get('state') or event))}"


def _find_page(public_url: str, data: dict[str, Any]) -> str:
    folder = "audits" if data.get("method") == "audit" else "jobs"
    return f"{public_url.rstrip('/')}/{folder}/{data.get('id', '')}"


def _escape(text: str) -> str:
    """The text in one line, of which Slack reads nothing as a link or a mention."""
    line = " ".join(text.split())
    return (line[:MAX_TEXT] + "…" if len(line) > MAX_TEXT else line).translate(ESCAPES)
