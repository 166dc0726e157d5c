"""Sends webhooks: `python -m worker.webhook_sender`. It is a separate process, so that slow receivers delay no job."""

import signal
from types import FrameType

import structlog

from shared.process.check_settings import check_settings
from shared.process.logging import configure_logging
from shared.process.parent import die_with_parent
from shared.settings import Settings
from shared.state.redis_client import RedisClient, exit_if_cluster
from shared.storage.outbox import Outbox
from shared.storage.s3 import Bucket
from shared.storage.webhook_secrets import SecretStore
from worker.webhooks.sender import WebhookSender

log = structlog.get_logger()


def main() -> None:
    """Runs the webhook sender until it receives SIGTERM or SIGINT."""
    die_with_parent()
    settings = Settings()
    check_settings(settings)
    configure_logging(settings)
    exit_if_cluster(settings)
    redis_client, bucket = RedisClient(settings), Bucket(settings)
    sender = WebhookSender(settings, redis_client, Outbox(redis_client, bucket), SecretStore(redis_client, bucket))

    def stop(_signal: int, _frame: FrameType | None) -> None:
        sender.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("webhook_sender.ready")
    sender.run()


if __name__ == "__main__":
    main()
