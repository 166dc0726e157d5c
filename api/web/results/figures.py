"""The figures of a result, from the metrics of its job, as the page shows them."""

from collections.abc import Iterator
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """A measured value.

    Attributes:
        label: What it is, in a few words.
        value: The value as text.
        about: What it means, in a sentence.
    """

    label: str
    value: str
    about: str


def list_layers(metrics: dict[str, Any]) -> list[str]:
    """Returns the layers that the metrics of a job name."""
    entries = [*_list(metrics, "pictures"), *_list(metrics, "pairs")]
    names = [name for entry in entries for name in _name_layers(entry)]
    return list(dict.fromkeys(names))


def find_entry(metrics: dict[str, Any], *, image: str, target: int | None, layer: str, number: int) -> dict[str, Any]:
    """Returns the metrics of one result; empty if there are none.

    Args:
        metrics: The metrics of the job.
        image: Id of its image; empty if it has none.
        target: Index of its class; None if it has none.
        layer: Its layer; empty if it has none.
        number: Number of the candidate, from 1.
    """
    if not image:
        entries = (entry for entry in _list(metrics, "targets") if _index(entry) == target)
        found = next(entries, {})
        tries = found.get("tries", [found])
        return tries[number - 1] if number <= len(tries) else {}
    for entry in _list(metrics, "pairs"):
        if entry.get("image") == image and _index(entry) == target and (target is not None or _fits(entry, layer)):
            return entry
    picture = next((entry for entry in _list(metrics, "pictures") if entry.get("image") == image), {})
    layers = picture.get("layers", {})
    own = layers.get(layer) if isinstance(layers, dict) else next(_of_layer(layers, layer), None)
    return own or {}


def list_figures(entry: dict[str, Any]) -> list[Figure]:
    """Returns the figures of the metrics of one result, the most important first."""
    return [*_list_predictions(entry), *_list_changes(entry), *_list_measures(entry)]


def _list_predictions(entry: dict[str, Any]) -> Iterator[Figure]:
    before, after = entry.get("before"), entry.get("after")
    if isinstance(before, dict) and isinstance(after, dict):
        for label, prediction in (("before", before), ("after", after)):
            yield Figure(label, _predicted(prediction), f"The predicted class {label} the change, and its probability.")
        drop = f"{before['probability']:.1%} → {after['probability']:.1%}"
        yield Figure("target", drop, "The probability of the target before and after the change.")
        yield Figure("fooled", "yes" if entry.get("fooled") else "no", "Whether the network now predicts the target.")
    elif "probability" in entry:
        about = "The probability that the network gives the class for this image."
        yield Figure("probability", f"{entry['probability']:.1%}", about)
        yield Figure("score", f"{entry['score']:.3g}", "The score of the class before the softmax.")
        yield Figure("rank", str(entry["rank"]), "The rank of the class among all classes; 1 is the predicted class.")
        if entry.get("converged") is False:
            yield Figure("converged", "no", "The network does not recognize the class in its image.")
    verdict: dict[str, Any] = entry["verdict"] if isinstance(entry.get("verdict"), dict) else entry
    if verdict.get("predicted") and not isinstance(before, dict) and verdict.get("rank") != 1:
        yield Figure("predicted", _predicted(verdict), "The class that the network predicts, and its probability.")
    for name, prediction in entry.get("judges", {}).items():
        value = f"{_predicted(prediction)}, rank {prediction['rank']}"
        yield Figure(name, value, f"What {name} predicts for this image, and the rank of the target.")


def _list_changes(entry: dict[str, Any]) -> Iterator[Figure]:
    change = entry.get("change")
    if isinstance(change, dict):
        yield Figure("L∞", f"{255 * change['linf']:.0f} of 255 levels", "The largest change of a pixel value.")
        yield Figure("L2", f"{change['l2']:.3g}", "The L2 norm of the change; the full range of a value is 1.")
    if isinstance(entry.get("before"), float):
        value = f"{entry['before']:.4g} → {entry['after']:.4g}"
        yield Figure("objective", value, "The objective for the original and for the result.")
    if "distance" in entry:
        about = "The squared distance of the features, relative to the squared norm of the original's; 0 is equal."
        yield Figure("distance", f"{entry['distance']:.3g}", about)
    if entry.get("patches"):
        falls = [patch["fall"] for patch in entry["patches"]]
        about = "How far the probability of the class falls if the most important patch is covered."
        yield Figure("largest drop", f"{100 * max(falls, key=abs):.1f} points", about)


MEASURES = {
    "deletion": "Area under the curve of the probability while the highest-ranked pixels are deleted; low is good.",
    "insertion": "Area under the curve of the probability while the highest-ranked pixels are inserted; high is good.",
    "pointing": "Whether the maximum of the map lies in a true box.",
    "randomization": "Rank correlation with the map of the network with shuffled weights; near 0 is good.",
    "iou": "Intersection over union of the box and the true box.",
    "largest": "The largest activation.",
    "seed": "The random seed.",
    "steps": "The number of optimization steps.",
}
"""What the plain numbers of the metrics mean."""


def _list_measures(entry: dict[str, Any]) -> Iterator[Figure]:
    for name, about in MEASURES.items():
        value = entry.get(name)
        if isinstance(value, bool):
            yield Figure(name, "yes" if value else "no", about)
        elif isinstance(value, int | float):
            yield Figure(name, f"{value:.4g}", about)
    box = entry.get("box")
    if isinstance(box, dict):
        size = f"{box['right'] - box['left']:.0f} × {box['bottom'] - box['top']:.0f}"
        yield Figure("box", f"{size} at {box['left']:.0f}, {box['top']:.0f}", "The box of the object, in pixels.")
    if isinstance(entry.get("shape"), list):
        yield Figure("shape", " × ".join(map(str, entry["shape"])), "Channels, height and width of the layer's output.")


def _predicted(prediction: dict[str, Any]) -> str:
    return f"{prediction['predicted']['name']} {prediction['predicted']['probability']:.1%}"


def _list(metrics: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entries = metrics.get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _index(entry: dict[str, Any]) -> int | None:
    target = entry.get("target")
    return target.get("index") if isinstance(target, dict) else None


def _fits(entry: dict[str, Any], layer: str) -> bool:
    return bool(entry.get("layer", layer) == layer)


def _name_layers(entry: dict[str, Any]) -> list[str]:
    layers = entry.get("layers", [entry] if "layer" in entry else [])
    return list(layers) if isinstance(layers, dict) else [part["layer"] for part in layers if "layer" in part]


def _of_layer(layers: list[dict[str, Any]], layer: str) -> Iterator[dict[str, Any]]:
    return (part for part in layers if part.get("layer") == layer)
