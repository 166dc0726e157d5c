"""Fields that the parameters of several methods share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

ImageId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(description="What `POST /v1/images` answered as `id`.")
]
Side = Annotated[int, Field(ge=8, le=2048)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
LayerName = Annotated[str, Field(min_length=1, max_length=200, description="`GET /v1/models/{name}` lists them.")]


def _are_different(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("each layer once")
    return names


Layers = Annotated[list[LayerName], AfterValidator(_are_different)]
Shown = Literal["crop", "whole"]
SHOWN = "What the network is shown of a picture: what it was trained on, or all of it, stretched to fit."


@dataclass(frozen=True)
class NamedLayer:
    """A layer that a request names.

    Attributes:
        place: Where among the parameters, as `objective/0/layer`.
        channel: The largest that is wanted of it.
        channel_place: Where that stands.
    """

    place: str
    name: str
    channel: int | None = None
    channel_place: str = ""


class Parameters(BaseModel):
    """Parameters of a method: frozen, and nothing that is not named here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def named_layers(self) -> Iterator[NamedLayer]:
        """Every layer that is named."""
        yield from ()

    @property
    def shape(self) -> dict[str, Any] | None:
        """What must be the same for two jobs to share a batch; None where batches are not shared."""
        return None


class LookingParameters(Parameters):
    """Parameters of a method that looks at pictures."""

    @property
    def files(self) -> int:
        """How many files are made of each pair of picture and target."""
        return 1

    @property
    def passes(self) -> int:
        """How many ascents are made of each pair; 0 where nothing climbs."""
        return 0

    def find_fault(self, width: int, height: int) -> tuple[str, str] | None:  # noqa: ARG002
        """What is wrong with these parameters for a picture of this size in pixels: which one, and a sentence."""
        return None
