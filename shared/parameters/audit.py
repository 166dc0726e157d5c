"""What an audit looks at, and when it is content: a plan, kept under the digest of all that it says."""

import hashlib
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from shared.catalogue import Name
from shared.parameters.class_model import ClassModelParameters
from shared.parameters.fields import ImageId, Parameters, Seed
from shared.parameters.saliency import SaliencyParameters
from shared.parameters.subjects import Picture, Target, Targets, TrueBox

Severity = Literal["fail", "warn", "off"]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]

PREVIOUS = "previous"
"""As a baseline: the release before the subject's."""


class Probe(Parameters):
    """A picture of which it is known what it shows."""

    id: ImageId
    target: Target = Field(description="The class of what it shows.")
    boxes: list[TrueBox] = Field(default=[], max_length=100, description="Where that is.")

    @property
    def picture(self) -> Picture:
        """The same as jobs name it."""
        return Picture(id=self.id, targets=[self.target], boxes=self.boxes)


class Gate(Parameters):
    """When a change is too much. It must be larger than the tolerance, and surely larger than the noise."""

    tolerance: float = Field(
        gt=0, le=100, description="The largest change that does not matter, in the gate's own unit."
    )
    severity: Severity = Field(default="fail", description="What a larger one does to the verdict.")


class Gates(Parameters):
    """What is looked for, each with what is tolerated."""

    accuracy: Gate = Field(
        default=Gate(tolerance=0.02),
        description="Share of all probes that the subject gets wrong and the baseline right.",
    )
    confidence: Gate = Field(
        default=Gate(tolerance=0.05),
        description="Per class: how much less probable the probes' true class has become, less what all classes share.",
    )
    recognition: Gate = Field(
        default=Gate(tolerance=0.5),
        description="Per class: how much less probable the class is to the baseline in the subject's class models than "
        "in its own; of those class models that the subject is as sure of as it usually is.",
    )
    shortcut: Gate = Field(
        default=Gate(tolerance=0.25),
        description="Per class: share of the other classes' probes that the subject takes for the class once a small "
        "mark (a plain square, or a part of its class model) is pasted into a corner, less what the baseline does.",
    )
    focus: Gate = Field(
        default=Gate(tolerance=0.15, severity="warn"),
        description="Per class: how much less of the saliency lies inside the true boxes.",
    )
    appearance: Gate = Field(
        default=Gate(tolerance=2, severity="warn"),
        description="Per class: how much further its class model has moved than those of the other classes, as a share "
        "of how far those have.",
    )
    sanity: Gate = Field(
        default=Gate(tolerance=0.5, severity="warn"),
        description="Share of its own class models that the subject does not recognise, and the largest rank "
        "correlation of its maps with those of shuffled weights. Where the baseline is sure of two class "
        "models of a class and the subject is not, `recognition` cannot judge them, and this says so.",
    )


class Waiver(Parameters):
    """A finding that somebody has looked at and answers for, for a while."""

    gate: Text = Field(description="The gate's name.")
    target: Target | None = Field(default=None, description="The class; without it, every class.")
    owner: Text
    reason: Text
    expires: date = Field(description="The last day on which it holds.")


class Plan(Parameters):
    """Which classes and pictures are looked at, how, and when the audit is content."""

    name: Name = Field(examples=["nightly"])
    classes: Targets | Literal["all"] = Field(default="all", description="Whose class models are drawn.")
    baselines: Annotated[list[Reference], Field(max_length=4)] = Field(
        default=[PREVIOUS], description="`previous`, or releases to hold against by `name@release`; none: sanity alone."
    )
    seeds: list[Seed] = Field(default=[1, 2, 3], min_length=2, max_length=8, description="Of each class model.")
    noise_seeds: list[Seed] = Field(
        default=[101, 102, 103], min_length=2, max_length=8,
        description="Of the baseline's second series, which measures what chance alone does.",
    )  # fmt: skip
    subject_seeds: list[Seed] | None = Field(
        default=None, min_length=2, max_length=8, description="Of the subject's; without them, those of the baseline."
    )
    class_models: ClassModelParameters = Field(
        default=ClassModelParameters(extras=False),
        description="How class models are drawn; their seeds are the plan's.",
    )
    probes: list[Probe] = Field(
        default=[],
        max_length=1000,
        description="Pictures that both releases look at; of a class with a single one nothing is sure.",
    )
    saliency: SaliencyParameters = Field(
        default=SaliencyParameters(kind="smoothgrad", slope="guided", outputs=["raw"]),
        description="How maps of the probes are made.",
    )
    judges: list[Reference] = Field(
        default=[], max_length=4, description="Other models that say what they see in both releases' class models."
    )
    gates: Gates = Gates()
    waivers: list[Waiver] = Field(default=[], max_length=200)

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if set(self.seeds) & set(self.noise_seeds):
            raise ValueError("seeds and noise_seeds must have none in common")
        unknown = {waiver.gate for waiver in self.waivers} - set(Gates.model_fields)
        if unknown:
            raise ValueError(f"there is no gate {min(unknown)!r}; there are {', '.join(Gates.model_fields)}")
        return self

    @property
    def version(self) -> str:
        """Twelve digits of the digest of all that it says."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
