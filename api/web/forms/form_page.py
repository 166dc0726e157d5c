"""What the page of a form shows: the form, the values of an earlier job, and which methods the network can run."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import Services
from api.services.find_job import find_job
from api.services.results.name_files import find_image_names
from api.services.results.view_atlas import find_atlas
from api.web.forms.form import Form, make_form, write_values
from api.web.job_page import read_spec
from archetype.contract.job import Job
from archetype.contract.model import Capability, Description
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.request import METHODS
from shared.catalogue.release import Release
from shared.errors import NotFound, Problem


class FormQuery(BaseModel):
    """The query string of a form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(default="", max_length=200, description="Name of the model that is selected.")
    job: str = Field(default="", max_length=26, description="Id of the job whose request fills in the form.")
    target: str = Field(default="", max_length=500, description="A class that is entered.")
    undrawn: bool = Field(default=False, description="Whether the classes are entered that no job has drawn.")


def build_form_context(method: str, query: FormQuery, tenant: str, services: Services) -> dict[str, Any]:
    """Returns the variables of the template of a form.

    Raises:
        NotFound: The tenant has no such job, or it is of another method.
    """
    given = read_given(query, method, tenant, services) if query.job else {}
    releases = [releases[-1] for releases in services.catalogue.of(tenant).models]
    name = given.get("model", query.model).partition("@")[0]
    selected = next((release for release in releases if release.name == name), releases[0])
    description = find_description(selected, services)
    rest = find_undrawn(selected, tenant, services) if query.undrawn and method == "class_model" else []
    if rest:
        given = {"targets": "all" if len(rest) == len(selected.classes) else rest, "priority": "bulk"}
    reasons = explain_missing((description.capabilities if description else None) or [])
    form = make_form(method)
    return {
        "form": form,
        "methods": {name: reasons.get((name, None)) for name in METHODS},
        "kinds": {kind: reason for (of, kind), reason in reasons.items() if of == "saliency" and kind},
        "releases": releases,
        "selected": selected,
        "values": write_values(given.get("params", {})),
        "given": given,
        "given_job": query.job,
        "cost": write_cost(len(rest), description) if rest else "",
        "targets": [query.target] if query.target else list_targets(given, form),
    }


def read_given(query: FormQuery, method: str, tenant: str, services: Services) -> dict[str, Any]:
    """Returns the request of a job, with its images as a list of ids and names."""
    job = find_job(query.job, tenant, services)
    if job.method != method:
        raise NotFound(f"job {job.id} is of the method {job.method}, not {method}")
    spec = read_spec(job.id)
    return spec | {"images": name_images(job, spec.get("images"), services)}


def name_images(job: Job, images: Any, services: Services) -> list[dict[str, Any]]:
    """Returns the images of a request, each with its value in the request, its id and its name."""
    if isinstance(images, dict):
        return [{"value": images, "id": None, "name": images.get("prefix") or f"archive {images['archive'][:8]}"}]
    ids = [image if isinstance(image, str) else image["id"] for image in images or []]
    names = find_image_names(job, ids, services)
    pairs = zip(images or [], ids, strict=True)
    return [{"value": value, "id": image, "name": names.get(image, image[:8])} for value, image in pairs]


def list_targets(given: dict[str, Any], form: Form) -> list[str]:
    """Returns the classes of a request as the form shows them, where `#4` is the index 4."""
    targets = given.get("targets")
    if form.targets == "none" or not isinstance(targets, list):
        return []
    return [target if isinstance(target, str) else f"#{target}" for target in targets]


def find_undrawn(release: Release, tenant: str, services: Services) -> list[int]:
    """Returns the indices of the classes that no job of the tenant has drawn."""
    drawn = {entry.target.index for entry in find_atlas(release.reference, tenant, services).items}
    return [index for index in range(len(release.classes)) if index not in drawn]


def write_cost(count: int, description: Description | None) -> str:
    """Says how long it takes to draw so many classes, if a worker has measured the network."""
    params = ClassModelParameters()
    text = f"{count} class visualizations of {params.steps} steps"
    times = [plan["milliseconds"] for plan in (description.plans if description else {}).values()]
    if not any(times):
        return f"{text}. How long they take is not known: no worker has measured this network yet."
    seconds = count * params.steps * max(times) / 1000
    duration = f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
    return f"{text} take about {duration} on a worker; several workers share the job."


def find_description(release: Release, services: Services) -> Description | None:
    """Returns what a worker found when it loaded a network; None if it is not known."""
    try:
        return services.storage.load_description(release)
    except Problem:  # the form works without
        return None


def explain_missing(capabilities: list[Capability]) -> dict[tuple[str, str | None], str]:
    """Returns the reasons why methods, or kinds of a method, do not work."""
    return {
        (capability.method, capability.kind): capability.reason or "it does not work with this network"
        for capability in capabilities
        if not capability.available
    }
