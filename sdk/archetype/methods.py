"""One call per method of the service: each submits a job and returns its handle."""

import io
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeGuard, Unpack, cast

from archetype.contract.parameters.inputs import Archive, ImageInput, StorePrefix
from archetype.contract.problem import InvalidDocument
from archetype.contract.pydantic_errors import parse_request
from archetype.contract.request import AnyRequest
from archetype.contract.upload import ArchiveFacts, Image
from archetype.errors import InvalidRequest, from_invalid_document
from archetype.handles import JobHandle
from archetype.options import (
    ActivationsOptions,
    ClassModelOptions,
    DeepDreamOptions,
    FeatureInversionOptions,
    FiltersOptions,
    FoolOptions,
    LocalizationOptions,
    PatchesOptions,
    SaliencyOptions,
    TriggerOptions,
)


class Pixels(Protocol):
    """An array of NumPy (H, W) or (H, W, C), or an image of Pillow."""

    @property
    def __array_interface__(self) -> Any:
        """Where the pixels are; see the documentation of NumPy."""


ImageSource = str | bytes | os.PathLike[str] | Pixels | Image | ImageInput
"""An image: its file, bytes or pixels, which are uploaded, or an uploaded image or its id (64 hexadecimal digits)."""

Images = ImageSource | Sequence[ImageSource] | ArchiveFacts | Archive | StorePrefix
"""One image or several; or a ZIP archive of images by its path, an uploaded archive, or a prefix in the store."""

Classes = str | int | Sequence[str | int]
"""One class or several, each by its name or its index."""

IMAGE_ID = re.compile(r"[0-9a-f]{64}")
SUBMISSION = ("cancel_after", "idempotency_key")
FIELDS = ("priority", "tags", "webhook")


class MethodCalls(ABC):
    """The calls of `Client` that submit a job of one method.

    `model` is `name` or `name@release`. Keyword options are those of every job (see `JobOptions`) and the parameters
    of the method, which `archetype methods` lists. All calls raise `InvalidRequest` if the request does not fit.
    """

    def class_model(
        self, model: str, targets: Classes | Literal["all"], **options: Unpack[ClassModelOptions]
    ) -> JobHandle:
        """Class visualization (class model): synthesize an image that maximizes the score of each target class."""
        return self._submit("class_model", model, options, targets=_read_targets(targets, None))

    def saliency(
        self,
        model: str,
        images: Images,
        targets: Classes | Literal["all"] | None = None,
        *,
        top: int | None = None,
        **options: Unpack[SaliencyOptions],
    ) -> JobHandle:
        """Saliency maps: show which pixels the score of a class depends on.

        Args:
            model: `name` or `name@release`.
            images: The images to explain.
            targets: The classes; without `targets` and `top`, the class that the model predicts.
            top: Instead of `targets`: the number of classes with the highest scores for each image.
            options: Options of the job and parameters of the method.
        """
        chosen = _read_targets(targets, top)
        return self._submit("saliency", model, options, images=images, targets=chosen)

    def localization(
        self,
        model: str,
        images: Images,
        targets: Classes | None = None,
        *,
        top: int | None = None,
        **options: Unpack[LocalizationOptions],
    ) -> JobHandle:
        """Localization: find the mask and the box of a class in each image.

        Args:
            model: `name` or `name@release`.
            images: The images to search.
            targets: The classes; without `targets` and `top`, the five classes with the highest scores.
            top: Instead of `targets`: the number of classes with the highest scores for each image.
            options: Options of the job and parameters of the method.
        """
        chosen = _read_targets(targets, top)
        return self._submit("localization", model, options, images=images, targets=chosen)

    def patches(
        self,
        model: str,
        images: Images,
        targets: Classes | None = None,
        *,
        top: int | None = None,
        **options: Unpack[PatchesOptions],
    ) -> JobHandle:
        """Patches: find the patches that change the probability of a class most when they are covered.

        Args:
            model: `name` or `name@release`.
            images: The images to examine.
            targets: The classes; without `targets` and `top`, the class that the model predicts.
            top: Instead of `targets`: the number of classes with the highest scores for each image.
            options: Options of the job and parameters of the method.
        """
        chosen = _read_targets(targets, top)
        return self._submit("patches", model, options, images=images, targets=chosen)

    def fool(self, model: str, images: Images, targets: Classes, **options: Unpack[FoolOptions]) -> JobHandle:
        """Adversarial examples: change each image until the model predicts the target class."""
        return self._submit("fool", model, options, images=images, targets=_read_targets(targets, None))

    def trigger(
        self,
        model: str,
        images: Images = (),
        targets: Classes | Literal["all"] = "all",
        **options: Unpack[TriggerOptions],
    ) -> JobHandle:
        """Trigger search: find the smallest change that turns images of other classes into each target class.

        Args:
            model: `name` or `name@release`.
            images: The images that changes are tried on; without any, images of random colors are drawn.
            targets: The classes; all of the model by default.
            options: Options of the job and parameters of the method.
        """
        return self._submit("trigger", model, options, images=images, targets=_read_targets(targets, None))

    def deep_dream(
        self, model: str, images: Images, targets: Classes | None = None, **options: Unpack[DeepDreamOptions]
    ) -> JobHandle:
        """DeepDream: amplify in each image what a layer, a channel or a class responds to.

        Args:
            model: `name` or `name@release`.
            images: The images to start from.
            targets: The classes to amplify. `objective` may be left out then.
            options: Options of the job and parameters of the method.
        """
        if targets is not None:
            options.setdefault("objective", {"kind": "class"})
        return self._submit("deep_dream", model, options, images=images, targets=_read_targets(targets, None))

    def feature_inversion(self, model: str, images: Images, **options: Unpack[FeatureInversionOptions]) -> JobHandle:
        """Feature inversion: reconstruct each image from the features of layers."""
        return self._submit("feature_inversion", model, options, images=images)

    def activations(self, model: str, images: Images, **options: Unpack[ActivationsOptions]) -> JobHandle:
        """Activations: draw the feature maps of layers for each image."""
        return self._submit("activations", model, options, images=images)

    def filters(self, model: str, **options: Unpack[FiltersOptions]) -> JobHandle:
        """Filters: draw the weights of a convolution."""
        return self._submit("filters", model, options)

    @abstractmethod
    def start(
        self, request: AnyRequest, *, idempotency_key: str | None = None, cancel_after: str | None = None
    ) -> JobHandle:
        """Submit a request and return the handle of its job."""

    @abstractmethod
    def upload(self, data: bytes, name: str = "image") -> Image:
        """Upload an image."""

    @abstractmethod
    def upload_archive(self, path: Path) -> ArchiveFacts:
        """Upload a ZIP archive of images."""

    def _submit(
        self,
        method: str,
        model: str,
        options: Mapping[str, object],
        *,
        images: Images | None = None,
        targets: Any = None,
    ) -> JobHandle:
        body: dict[str, Any] = {"method": method, "model": model}
        body |= {name: options[name] for name in FIELDS if name in options}
        body["params"] = {name: value for name, value in options.items() if name not in FIELDS + SUBMISSION}
        body |= {} if targets is None else {"targets": targets}
        body |= {} if images is None else {"images": self._resolve_images(images)}
        sending: dict[str, Any] = {name: options[name] for name in SUBMISSION if name in options}
        try:
            request = parse_request(body)
        except InvalidDocument as error:
            raise from_invalid_document(error) from error
        return self.start(request, **sending)

    def _resolve_images(self, images: Images) -> list[str | ImageInput] | Archive | StorePrefix:
        """Upload what is not uploaded yet; return the value of the request's `images`."""
        if isinstance(images, Archive | StorePrefix):
            return images
        if isinstance(images, ArchiveFacts):
            return Archive(archive=images.id)
        if isinstance(images, str | os.PathLike) and Path(images).suffix.lower() == ".zip":
            return Archive(archive=self.upload_archive(Path(images)).id)
        is_one = isinstance(images, str | bytes | os.PathLike | Image | ImageInput) or _has_pixels(images)
        sources = cast("Sequence[ImageSource]", [images] if is_one else images)
        return [self._resolve_image(source) for source in sources]

    def _resolve_image(self, source: ImageSource) -> str | ImageInput:
        if isinstance(source, ImageInput):
            return source
        if isinstance(source, Image):
            return source.id
        if isinstance(source, bytes):
            return self.upload(source).id
        if _has_pixels(source):
            return self.upload(_encode(source)).id
        if isinstance(source, str) and IMAGE_ID.fullmatch(source):
            return source
        path = Path(cast("str | os.PathLike[str]", source))
        return self.upload(path.read_bytes(), path.name).id


PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
"""Modes of Pillow that a PNG file can have."""


def _has_pixels(source: object) -> TypeGuard[Pixels]:
    """Whether the source is an image of Pillow or an array of numbers; arrays of paths are not."""
    if isinstance(source, str | bytes) or not hasattr(source, "__array_interface__"):
        return False
    return hasattr(source, "save") or getattr(getattr(source, "dtype", None), "kind", "") in "buif"


def _encode(pixels: Pixels) -> bytes:
    """Return the pixels as a file: an image of Pillow as PNG, turned upright; an array as `.npy`."""
    buffer = io.BytesIO()
    if hasattr(pixels, "save"):
        from PIL import ImageOps

        upright = ImageOps.exif_transpose(cast("Any", pixels))
        (upright if upright.mode in PNG_MODES else upright.convert("RGB")).save(buffer, "PNG")
    else:
        import numpy as np

        np.save(buffer, np.asarray(pixels))
    return buffer.getvalue()


def _read_targets(targets: Classes | None, top: int | None) -> Any:
    """Return the value of the request's `targets`, or None to leave it out."""
    if top is not None:
        if targets is not None:
            raise InvalidRequest("give targets or top, not both")
        return {"top": top}
    if isinstance(targets, int) or (isinstance(targets, str) and targets != "all"):
        return [targets]
    return targets if targets is None or isinstance(targets, str) else list(targets)
