"""What a WSGI server loads: `gunicorn api.wsgi:app`."""

import gc

from api.app import create_app
from shared.settings import Settings

app = create_app(Settings())

# What is there for good is never looked through for garbage: that took a fifth of a second, and nobody was answered.
gc.collect()
gc.freeze()
