"""Asks a server for its state with KServe's own client; prints the answers as JSON. Its environment has `kserve`.

Usage: python kserve_client.py URL MODEL
"""

import asyncio
import json
import sys

from kserve import InferenceRESTClient, RESTConfig


async def main(url: str, model: str) -> None:
    v1, v2 = (InferenceRESTClient(RESTConfig(protocol=protocol, timeout=60)) for protocol in ("v1", "v2"))
    answers = {
        "server_live": await v2.is_server_live(url),
        "server_ready": await v2.is_server_ready(url),
        "model_ready_v1": await v1.is_model_ready(url, model),
        "model_ready_v2": await v2.is_model_ready(url, model),
    }
    print(json.dumps(answers))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
