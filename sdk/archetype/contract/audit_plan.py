"""Audit plans: what an audit examines, and the gates that decide its verdict."""

import hashlib
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from archetype.contract.model import Name
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.parameters.inputs import ImageInput, Target, Targets, TrueBox
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.parameters.types import ImageId, Parameters, Seed, dump_with_old_names

Severity = Literal["fail", "warn", "off"]
MAX_PROBES = 1000

Reference = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]

Attribute = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]

PREVIOUS, APPROVED = "previous", "approved"
"""Baselines that stand for the newest earlier release that nothing speaks against, and that a person has approved."""


class Probe(Parameters):
    """A test image with a known class."""

    id: ImageId
    target: Target = Field(description="True class of the image.")
    name: str | None = Field(default=None, max_length=200, description="File name, which the report shows.")
    boxes: list[TrueBox] = Field(
        default=[], max_length=100, description="True bounding boxes of the object, which the gate `focus` needs."
    )
    attributes: dict[Attribute, Text] = Field(
        default={}, max_length=20, description="Properties of the image by name, such as `lighting`: see `slices`."
    )

    @property
    def picture(self) -> ImageInput:
        """The probe as an input of a job."""
        return ImageInput(id=self.id, targets=[self.target], boxes=self.boxes)


class Gate(Parameters):
    """A threshold on a measured change.

    A change is a finding if it exceeds the tolerance and its whole confidence interval exceeds the noise.
    """

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required"))  # a plan may leave it out

    tolerance: float = Field(
        gt=0,
        le=100,
        description="Largest change that is accepted, in the unit of the gate; 0.1 is 10 percentage points.",
    )
    severity: Severity = Field(
        default="fail", description="Effect of a finding on the verdict: `fail`, `warn`, or `off` to disable the gate."
    )


class Gates(Parameters):
    """The gates of an audit, each with its tolerance and severity. Without a tolerance, a gate has its defaults."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, gates: Any) -> Any:
        if not isinstance(gates, dict):
            return gates
        return {
            name: {**cls.model_fields[name].default.model_dump(), **gate}
            if isinstance(gate, dict) and name in cls.model_fields and "tolerance" not in gate
            else gate
            for name, gate in gates.items()
        }

    accuracy: Gate = Field(
        default=Gate(tolerance=0.02),
        description="Fraction of all probes that the baseline classifies correctly and the subject does not, minus the "
        "fraction of the opposite case.",
    )
    confidence: Gate = Field(
        default=Gate(tolerance=0.05),
        description="Per class: fall of the probability of the true class of its probes, minus the typical fall of the "
        "other classes.",
    )
    slices: Gate = Field(
        default=Gate(tolerance=0.05),
        description="Per slice of the plan: fall of the accuracy on its probes, at least five, with an interval from "
        "Wilson intervals.",
    )
    robustness: Gate = Field(
        default=Gate(tolerance=0.2, severity="warn"),
        description="Per corruption (blur, JPEG, noise, brightness): fall of the accuracy on the corrupted probes, "
        "minus the fall of the accuracy on the probes as they are.",
    )
    natural_shortcuts: Gate = Field(
        default=Gate(tolerance=1, severity="warn"),
        description="Per class: the part of the score that one principal component of the features gives pictures of "
        "other classes, relative to the score that separates the class from the others, minus the same of the "
        "baseline. Needs at least four probes of the class.",
    )
    recognition: Gate = Field(
        default=Gate(tolerance=0.5),
        description="Per class: difference between the probability that the baseline gives its own class "
        "visualizations (class models) and the probability that it gives those of the subject. Only visualizations on "
        "which the subject reaches its usual probability count.",
    )
    shortcut: Gate = Field(
        default=Gate(tolerance=0.25),
        description="Per class: fraction of probes of other classes that the subject assigns to the class after a "
        "small mark (a plain square or a part of its class visualization) is pasted into a corner, or after a common "
        "mark (a word, lines, a tint, other light, noise, JPEG) changes the whole image, minus the same fraction of "
        "the baseline. A large value indicates a shortcut (spurious feature).",
    )
    trigger: Gate = Field(
        default=Gate(tolerance=1.35),
        description="Per class: size of the smallest change that turns probes of other classes into the class, for the "
        "baseline divided by the subject, divided by what all classes share. Changes are masks, patterns, color maps, "
        "frames, stripes, patches and crops of other probes. A large ratio indicates a shortcut.",
    )
    focus: Gate = Field(
        default=Gate(tolerance=0.15, severity="warn"),
        description="Per class: fall of the fraction of the saliency map that lies inside the true boxes. Abstains if "
        "the maps are not more faithful to the subject than random maps and edge maps.",
    )
    appearance: Gate = Field(
        default=Gate(tolerance=2, severity="warn"),
        description="Per class: distance between the class visualizations of subject and baseline, relative to the "
        "distance that random seeds cause, minus the typical value of the other classes.",
    )
    sanity: Gate = Field(
        default=Gate(tolerance=0.5, severity="warn"),
        description="Checks of the audit itself: fraction of its own class visualizations that the subject does not "
        "recognize, and rank correlation of its saliency maps with those of the network with shuffled weights. Also "
        "reports classes that `recognition` cannot evaluate, because the subject reaches its usual probability on "
        "fewer than two visualizations and the baseline on at least two.",
    )


class Waiver(Parameters):
    """A time-limited acceptance of a finding by an owner."""

    gate: Text = Field(description="Name of the gate.")
    target: Target | None = Field(
        default=None, description="Class that the waiver covers, by index or by name; if null, all classes."
    )
    owner: Text = Field(description="Person or team that is responsible for the waiver.")
    reason: Text = Field(description="Reason for which the finding is accepted.")
    expires: date = Field(description="Last day on which the waiver is valid (UTC).")


class AuditPlan(Parameters):
    """Classes, probes, seeds and gates of an audit."""

    name: Name = Field(description="Name of the plan.", examples=["nightly"])
    classes: Targets | Literal["all"] = Field(
        default="all", description="Classes whose visualizations (class models) are compared, or `all`."
    )
    baselines: Annotated[list[Reference], Field(max_length=4)] = Field(
        default=[PREVIOUS],
        description="Releases to compare the subject with, as `name@release`. `previous` is the newest release before "
        "the subject that was not rejected and did not fail its audit, `approved` the newest that a person has "
        "approved. If empty, only the sanity checks run.",
    )
    seeds: list[Seed] = Field(
        default=[1, 2, 3], min_length=2, max_length=8, description="Random seeds of the class visualizations."
    )
    noise_seeds: list[Seed] = Field(
        default=[101, 102, 103],
        min_length=2,
        max_length=8,
        description="Random seeds of a second series of the baseline's class visualizations, which measures the change "
        "that random seeds alone cause.",
    )
    subject_seeds: list[Seed] | None = Field(
        default=None,
        min_length=2,
        max_length=8,
        description="Random seeds of the subject's class visualizations; if null, `seeds`.",
    )
    class_models: ClassModelParameters = Field(
        default=ClassModelParameters(extras=False),
        description="Parameters of the class visualizations; their seeds and judges are those of the plan.",
    )
    probes: list[Probe] = Field(
        default=[],
        max_length=MAX_PROBES,
        description="Test images with known classes, which both releases classify. A class needs at least two probes "
        "for a confidence interval.",
    )
    slices: list[Attribute] = Field(
        default=[],
        max_length=10,
        description="Attributes of the probes. The probes with each of their values are a slice, which the gate "
        "`slices` examines by itself.",
    )
    saliency: SaliencyParameters | None = Field(
        default=None,
        description="Parameters of the saliency maps of the probes; if null, the kind whose maps are most faithful to "
        "the subject.",
    )
    judges: list[Reference] = Field(
        default=[],
        max_length=4,
        description="Other models that classify the class visualizations of both releases.",
    )
    gates: Gates = Field(default=Gates(), description="Gates with their tolerances and severities.")
    waivers: list[Waiver] = Field(
        default=[], max_length=200, description="Waivers of findings, each with an owner and an expiry date."
    )

    @model_validator(mode="after")
    def _check_seeds_and_waivers(self) -> Self:
        if set(self.seeds) & set(self.noise_seeds):
            raise ValueError("seeds and noise_seeds must not have a seed in common")
        missing = set(self.slices) - {name for probe in self.probes for name in probe.attributes}
        if missing:
            raise ValueError(f"no probe has the attribute {min(missing)!r}, which `slices` names")
        unknown = {waiver.gate for waiver in self.waivers} - set(Gates.model_fields)
        if unknown:
            raise ValueError(f"there is no gate {min(unknown)!r}; the gates are {', '.join(Gates.model_fields)}")
        return self

    @property
    def version(self) -> str:
        """The first twelve digits of the SHA-256 digest of the whole plan."""
        return hashlib.sha256(dump_with_old_names(self)).hexdigest()[:12]
