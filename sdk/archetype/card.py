"""The card of a job in a notebook: state, progress, error and images as HTML."""

import base64
from collections.abc import Mapping
from html import escape

from archetype.contract.job import Artifact, Job, State

IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Media types that a card embeds. SVG is not among them: it can hold scripts."""

MAX_IMAGES = 12
MAX_IMAGE_BYTES = 2_000_000
"""A notebook stores every image of a card; these limits keep it small."""

COLORS = {
    State.QUEUED: "#6b7280",
    State.RUNNING: "#2563eb",
    State.SUCCEEDED: "#15803d",
    State.FAILED: "#b91c1c",
    State.CANCELLED: "#a16207",
}


def choose_images(job: Job) -> list[Artifact]:
    """Return the artifacts that a card shows: the first images that are small enough."""
    images = [
        artifact
        for artifact in job.artifacts
        if artifact.media_type in IMAGE_TYPES and artifact.bytes <= MAX_IMAGE_BYTES
    ]
    return images[:MAX_IMAGES]


def render_card(job: Job, images: Mapping[str, bytes]) -> str:
    """Return a job as HTML.

    Args:
        job: The job.
        images: Bytes of images by the name of their artifact; those that could not be loaded are missing.
    """
    parts = [_render_head(job)]
    if not job.state.terminal:
        parts.append(_render_progress(job))
    if job.error is not None:
        parts.append(f"<p style='color:{COLORS[State.FAILED]};margin:.5em 0'>{escape(job.error.detail)}</p>")
    shown = [artifact for artifact in choose_images(job) if artifact.name in images]
    figures = "".join(_render_image(artifact, images[artifact.name]) for artifact in shown)
    if figures:
        parts.append(f"<div style='display:flex;flex-wrap:wrap;gap:.5em;margin-top:.5em'>{figures}</div>")
    if len(job.artifacts) > len(shown):
        parts.append(f"<p style='margin:.5em 0'>{len(job.artifacts)} files; <code>.save(folder)</code> saves them</p>")
    style = "border:1px solid #d1d5db;border-radius:6px;padding:.75em;max-width:60em"
    return f"<div style='{style}'>{''.join(parts)}</div>"


def _render_head(job: Job) -> str:
    state = f"<b style='color:{COLORS[job.state]}'>{escape(job.state)}</b>"
    return f"<b>{escape(job.method)}</b> of {escape(job.model)}: {state} <code>{escape(job.id)}</code>"


def _render_progress(job: Job) -> str:
    done, total, unit = job.progress.done, job.progress.total, escape(job.progress.unit)
    if not total:
        return ""
    bar = f"<progress value='{done}' max='{total}'></progress>"
    return f"<div style='margin-top:.5em'>{bar} {done}/{total} {unit}s</div>"


def _render_image(artifact: Artifact, data: bytes) -> str:
    name = escape(artifact.name)
    caption = escape(artifact.target.name) if artifact.target else name
    source = f"data:{artifact.media_type};base64,{base64.b64encode(data).decode()}"
    image = f"<img src='{source}' alt='{name}' title='{name}' style='max-width:14em;max-height:14em'>"
    return f"<figure style='margin:0;text-align:center'>{image}<figcaption>{caption}</figcaption></figure>"
