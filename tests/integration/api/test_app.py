"""The API runs in an image without torch."""

import subprocess
import sys

from deploy.local import Stack
from tests.support.paths import ROOT


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
