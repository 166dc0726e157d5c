"""The schema of `values.yaml`, with which Helm finds misspelled values and settings."""

from typing import Any

from shared.settings import Settings

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
SWITCH: Schema = {"type": "boolean"}
ONE_OR_MORE: Schema = {"type": "integer", "minimum": 1}
PORTS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535}}
LIST: Schema = {"type": "array"}
MAPPING: Schema = {"type": "object"}

SECRETS = ("api", "scheduler", "webhookSender", "worker", "redis", "store")
PODS = {"nodeSelector": MAPPING, "tolerations": LIST, "resources": MAPPING}
VOLUMES = {**PODS, "storage": NAME}


def make_schema() -> Schema:
    """Returns the JSON schema (draft 7) of the values. A key that it does not list is an error."""
    settings = Settings.model_json_schema()
    public = {name: field for name, field in settings["properties"].items() if not _is_secret(field)}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "$defs": settings["$defs"]} | _mapping(
        {
            "settings": _mapping(public),
            "secrets": _mapping(dict.fromkeys(SECRETS, NAME)),
            "images": _mapping({"registry": TEXT, "tag": TEXT, "workerSuffix": TEXT, "pullSecrets": LIST}),
            "network": _mapping({"ports": PORTS}),
            "serviceAccount": _mapping({"annotations": MAPPING}),
            "api": _mapping(PODS | {"minReplicas": ONE_OR_MORE, "maxReplicas": ONE_OR_MORE}),
            "scheduler": _mapping(PODS),
            "webhookSender": _mapping(PODS),
            "worker": _mapping(PODS | {"replicas": ONE_OR_MORE, "scaling": _mapping(SCALING)}),
            "backing": _mapping(
                {
                    "enabled": SWITCH,
                    "storageClass": {"type": ["string", "null"]},
                    "redis": _mapping(VOLUMES | {"image": NAME}),
                    "store": _mapping(VOLUMES),
                }
            ),
            "global": MAPPING,  # Helm adds it
        }
    )


SCALING: Schema = {
    "enabled": SWITCH,
    "minReplicas": ONE_OR_MORE,  # a worker runs the recovery
    "maxReplicas": ONE_OR_MORE,
    "shardsPerWorker": ONE_OR_MORE,
    "prometheus": NAME,
}


def _is_secret(field: Schema) -> bool:
    return any(choice.get("format") == "password" for choice in (field, *field.get("anyOf", [])))


def _mapping(properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}
