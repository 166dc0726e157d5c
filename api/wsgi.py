"""The WSGI application, for `gunicorn --config python:api.server.config`."""

import gc
import sys

from api.app import create_app
from shared.process.logging import configure_logging
from shared.settings import Settings
from shared.state.redis_client import exit_if_cluster

BOOT_ERROR = 3
"""The exit status after which gunicorn does not start the worker again."""

settings = Settings()
configure_logging(settings)
exit_if_cluster(settings, BOOT_ERROR)
app = create_app(settings)

# A thread that computes gives way to others five times as often as by default: with many of them, a request that takes
# little time waited seconds for its turns.
sys.setswitchinterval(0.001)

# Objects that live as long as the process are excluded from garbage collection: a full collection took 0.2 seconds,
# during which no request was answered.
gc.collect()
gc.freeze()
