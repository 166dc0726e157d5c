"""Logs a network in every way that MLflow offers, and registers each as a version; prints the versions as JSON.

It runs with MLflow of one environment and PyTorch of another.

Usage: python mlflow_kinds.py SERVER FOLDER_OF_PYTORCH CHECKOUT
"""

import json
import sys
import tempfile
from pathlib import Path


def main(server: str, packages: str, checkout: str) -> None:
    sys.path.append(packages)
    sys.path.insert(0, checkout)
    import mlflow
    import numpy as np
    import onnx
    import torch
    from safetensors.torch import save_file

    from tests.support.networks import small
    from tests.support.onnx_models import export

    mlflow.set_tracking_uri(server)
    client = mlflow.MlflowClient()
    network = small(3).eval()
    client.create_registered_model("Fruit")

    def register(name: str) -> str:
        run = mlflow.active_run()
        assert run is not None
        return str(client.create_model_version("Fruit", f"{run.info.artifact_uri}/{name}", run.info.run_id).version)

    versions = {}
    with mlflow.start_run():
        mlflow.pytorch.log_state_dict(network.state_dict(), artifact_path="weights")
        versions["state dict"] = register("weights")
    with mlflow.start_run(), tempfile.TemporaryDirectory() as folder:
        save_file(network.state_dict(), Path(folder) / "model.safetensors")
        mlflow.log_artifact(str(Path(folder) / "model.safetensors"), "weights")
        versions["safetensors"] = register("weights")
    for kind, model in (("pt2", "Fruit"), ("pickle", "Fruit"), ("pt2", "Program")):
        example = np.zeros((2, 3, 28, 28), np.float32)
        with mlflow.start_run():
            mlflow.pytorch.log_model(
                network,
                name="model",
                registered_model_name=model,
                serialization_format=kind,
                input_example=example,
            )
        newest = max(int(each.version) for each in client.search_model_versions(f"name='{model}'"))
        versions[kind if model == "Fruit" else "program"] = str(newest)
    with mlflow.start_run(), tempfile.TemporaryDirectory() as folder:
        graph = export(network, Path(folder) / "net.onnx", torch.zeros(2, 3, 28, 28))
        mlflow.onnx.log_model(onnx.load(graph), name="model", registered_model_name="Graph")
    versions["onnx"] = "1"
    print(json.dumps(versions))


if __name__ == "__main__":
    main(*sys.argv[1:])
