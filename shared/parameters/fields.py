"""Fields that the parameters of several methods share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

ImageId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(description="What `POST /v1/images` answered as `id`.")
]
Side = Annotated[int, Field(ge=8, le=2048)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
LayerName = Annotated[str, Field(min_length=1, max_length=200, description="`GET /v1/models/{name}` lists them.")]


class Parameters(BaseModel):
    """Parameters of a method: frozen, and nothing that is not named here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
