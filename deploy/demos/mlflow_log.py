"""Logs versions of a model to an MLflow server, as training code does. Runs in an environment with MLflow.

Usage: python mlflow_log.py SERVER webhook URL SECRET
       python mlflow_log.py SERVER version MODEL FILE [FOLDER]    logs a file, and registers the folder it is in
       python mlflow_log.py SERVER show MODEL                     prints tags and aliases of all versions as JSON
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent
from mlflow.exceptions import MlflowException


def webhook(client: mlflow.MlflowClient, url: str, secret: str) -> None:
    """Tells MLflow to announce new versions."""
    client.create_webhook(
        name="archetype",
        url=url,
        events=[WebhookEvent(WebhookEntity.MODEL_VERSION, WebhookAction.CREATED)],
        secret=secret,
    )


def version(client: mlflow.MlflowClient, model: str, file: str, folder: str = "weights") -> None:
    """Logs a file of weights in a run of its own, and registers it as the next version of a model."""
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    with mlflow.start_run() as run:
        mlflow.log_artifact(file, folder)
        source = f"{run.info.artifact_uri}/{Path(folder).parts[0]}"
        print(client.create_model_version(model, source, run.info.run_id).version)


def show(client: mlflow.MlflowClient, model: str) -> None:
    """Prints what the registry knows of the versions of a model."""
    versions = {
        each.version: {"tags": each.tags, "run": client.get_run(each.run_id).data.metrics, "run_id": each.run_id}
        for each in client.search_model_versions(f"name = '{model}'")
    }
    aliases = client.get_registered_model(model).aliases
    print(json.dumps({"versions": versions, "aliases": {name: str(number) for name, number in aliases.items()}}))


if __name__ == "__main__":
    server, command, *arguments = sys.argv[1:]
    mlflow.set_tracking_uri(server)
    commands: dict[str, Callable[..., None]] = {"webhook": webhook, "version": version, "show": show}
    commands[command](mlflow.MlflowClient(), *arguments)
