"""The schema of `values.yaml`, with which Helm finds misspelled values and settings."""

from typing import Any

from shared.settings import Settings

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
SWITCH: Schema = {"type": "boolean"}
ONE_OR_MORE: Schema = {"type": "integer", "minimum": 1}
TWO_OR_MORE: Schema = {"type": "integer", "minimum": 2}  # one pod that must always run cannot be moved
PORTS: Schema = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1, "maximum": 65535}}
"""Kubernetes takes an empty list of ports for all ports."""

MAPPING: Schema = {"type": "object"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
OBJECTS: Schema = {"type": "array", "items": MAPPING}

SECRETS = ("api", "scheduler", "webhookSender", "worker", "redis", "store")
PODS = {"nodeSelector": TEXTS, "tolerations": OBJECTS, "resources": MAPPING}
PARTS = {**PODS, "scratch": NAME}
VOLUMES = {**PODS, "storage": NAME}

OF_SECRETS = {"redis_url", "s3_access_key"}
"""Settings that belong to the login of a part, although only a part of them is secret."""

FIXED = {"liveness_dir"}
"""Settings that other parts of the chart depend on."""


def make_schema() -> Schema:
    """Returns the JSON schema (draft 7) of the values. A key that it does not list is an error, and so is a null."""
    settings = Settings.model_json_schema()
    public = {
        name: _close(field)
        for name, field in settings["properties"].items()
        if not _is_secret(field) and name not in OF_SECRETS | FIXED
    }
    values = {
        "settings": {"type": "object", "additionalProperties": False, "properties": public},
        "secrets": _mapping(dict.fromkeys(SECRETS, NAME)),
        "images": _mapping({"registry": TEXT, "tag": TEXT, "workerSuffix": TEXT, "pullSecrets": OBJECTS}),
        "network": _mapping({"ports": PORTS}),
        "serviceAccount": _mapping({"annotations": TEXTS}),
        "api": _mapping(PARTS | {"minReplicas": TWO_OR_MORE, "maxReplicas": TWO_OR_MORE}),
        "scheduler": _mapping(PARTS),
        "webhookSender": _mapping(PARTS),
        "worker": _mapping(PARTS | {"cache": NAME, "replicas": ONE_OR_MORE, "scaling": _mapping(SCALING)}),
        "backing": BACKING,
    }
    whole = _mapping(values)
    of_helm = {"global": MAPPING, "enabled": SWITCH}  # of every chart, and of charts that have this one as a part
    whole["properties"] |= of_helm
    return {"$schema": "http://json-schema.org/draft-07/schema#", "$defs": settings["$defs"]} | whole


SCALING: Schema = {
    "enabled": SWITCH,
    "minReplicas": ONE_OR_MORE,  # a worker runs the recovery
    "maxReplicas": ONE_OR_MORE,
    "shardsPerWorker": ONE_OR_MORE,
    "prometheus": NAME,
}


def _is_secret(field: Schema) -> bool:
    return any(choice.get("format") == "password" for choice in (field, *field.get("anyOf", [])))


def _close(field: Schema) -> Schema:
    """Refuses keys that do not match a pattern, as the service does."""
    return field | {"additionalProperties": False} if "patternProperties" in field else field


def _mapping(properties: Schema) -> Schema:
    return {
        "type": "object", "additionalProperties": False, "required": list(properties), "properties": properties
    }  # fmt: skip


BACKING = _mapping(
    {
        "enabled": SWITCH,
        "storageClass": TEXT,
        "redis": _mapping(VOLUMES | {"image": NAME}),
        "store": _mapping(VOLUMES),
    }
)
