"""The API runs in an image without torch, and answers reads while Redis hangs."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from deploy.local import Stack
from tests.support.api_requests import QUICK
from tests.support.callers import make_app_client
from tests.support.paths import ROOT
from tests.support.redis_servers import run_redis


def test_the_api_serves_where_torch_cannot_be_imported(stack: Stack) -> None:
    program = """
import sys
for name in ("torch", "torchvision", "cv2", "safetensors", "worker"):
    sys.modules[name] = None  # any import of it now fails
from api.app import create_app
from shared.settings import Settings
http = create_app(Settings()).test_client()
body = {"method": "class_model", "model": "shapes", "targets": ["bee"], "params": {"steps": 1}}
answers = [http.get("/readyz"), http.get("/v1/models/shapes"), http.post("/v1/jobs", json=body)]
print([answer.status_code for answer in answers])
"""
    settings = stack.settings
    env = {
        "ARCHETYPE_REDIS_URL": settings.redis_url,
        "ARCHETYPE_S3_ENDPOINT": settings.s3_endpoint,
        "ARCHETYPE_S3_ACCESS_KEY": settings.s3_access_key,
        "ARCHETYPE_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "ARCHETYPE_KEYLESS_LOOPBACK": "true",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "[200, 200, 202]", done.stderr


def test_a_read_is_answered_within_a_second_while_redis_hangs(stack: Stack, tmp_path: Path) -> None:
    with run_redis(tmp_path) as (url, processes):
        http = make_app_client(stack, redis_url=url)
        job = http.post("/v1/jobs", json=QUICK).json["id"]
        assert http.get(f"/v1/jobs/{job}").status_code == 200
        processes.send("redis", signal.SIGSTOP)
        began = time.monotonic()
        response = http.get(f"/v1/jobs/{job}")
        assert (response.status_code, response.json["type"]) == (503, "/problems/unavailable")
        assert time.monotonic() - began < 1
        processes.send("redis", signal.SIGCONT)
