"""The configuration of gunicorn, read with `gunicorn --config python:api.server.config`."""

from api.server.limits import BLOCKED_WRITERS, LONG_BODIES, WORKING
from shared.settings import Settings

_settings = Settings()

wsgi_app = "api.wsgi:app"
worker_class = "api.server.worker.DeadlineWorker"
worker_connections = _settings.max_connections
threads = WORKING + _settings.max_listeners + LONG_BODIES + BLOCKED_WRITERS
keepalive = 75
control_socket_disable = True
loglevel = "warning"

# No header of a client or a proxy changes the request here: the application reads X-Forwarded-… of trusted proxies.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
