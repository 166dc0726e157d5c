"""Titles of jobs: the method, the kind or preset, and the classes, layers and images it is about."""

from collections.abc import Sequence
from typing import Any

MAX_NAMES = 4
"""Number of classes or layers that a title names; the others are counted."""

DEFAULT_LAYERS = {"feature_inversion": "4 layers", "activations": "the last layer", "filters": "the first convolution"}
"""What methods show if the request names no layer."""


def write_title(spec: dict[str, Any], classes: Sequence[str] = ()) -> str:
    """Returns the title of a job.

    Args:
        spec: The request with all defaults.
        classes: The class names of the release, with which targets that are indices are named.
    """
    params = spec.get("params", {})
    kind = params.get("kind")
    preset = params.get("preset", "default")
    name = spec["method"].replace("_", " ")
    parts = [
        f"{name} ({kind.replace('_', ' ')})" if kind else name,
        _write_subject(spec, params, classes),
        _write_images(spec),
        f"with the preset {preset}" if preset != "default" else "",
    ]
    return " ".join(part for part in parts if part)


def write_targets(targets: Any, classes: Sequence[str] = ()) -> str:
    """Returns the classes of a request as words."""
    if targets == "all":
        return f"all {len(classes)} classes" if classes else "all classes"
    if isinstance(targets, dict):
        return "the predicted class" if targets["top"] == 1 else f"the {targets['top']} most probable classes"
    return _join([_name(target, classes) for target in targets])


def _write_subject(spec: dict[str, Any], params: dict[str, Any], classes: Sequence[str]) -> str:
    objective: dict[str, Any] = params["objective"] if spec["method"] == "deep_dream" else {"kind": "class"}
    if objective["kind"] != "class":
        layer = objective["layer"] or "the default layer"
        return f"of channel {objective['channel']} of {layer}" if objective["kind"] == "channel" else f"of {layer}"
    if spec.get("targets"):
        return f"{'as' if spec['method'] == 'fool' else 'of'} {write_targets(spec['targets'], classes)}"
    if "targets" in spec:
        return "of the predicted class"
    layers = params.get("layers") or ([params["layer"]] if params.get("layer") else [])
    subject = _join(layers) if layers else DEFAULT_LAYERS.get(spec["method"], "")
    return f"of {subject}" if subject else ""


def _write_images(spec: dict[str, Any]) -> str:
    images = spec.get("images")
    if isinstance(images, dict):
        return "in an archive" if "archive" in images else f"in {images['prefix']}"
    return "" if not images else f"in {len(images)} image{'s' if len(images) > 1 else ''}"


def _name(target: int | str, classes: Sequence[str]) -> str:
    if isinstance(target, str):
        return target
    return classes[target] if target < len(classes) else f"class {target}"


def _join(names: Sequence[str]) -> str:
    rest = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")
