"""How a model's releases have done in their audits, one after another."""

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import caller
from api.body import read_query
from api.openapi import describes
from api.services import Services, services
from shared.access import Scope
from shared.audits import Trend, TrendPoint
from shared.errors import NotFound, nearest
from shared.jobs import Job, State

blueprint = Blueprint("trends", __name__, url_prefix="/v1/models")

MOST_AUDITS = 200
"""That are looked at, the newest ones."""


class TrendQuery(BaseModel):
    """Which audits are meant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: str | None = Field(default=None, max_length=64, description="Only under the plan of this name.")


@blueprint.get("/<model>/trend")
@describes("Follow a model", scope=Scope.READ, query=TrendQuery, answers={200: Trend}, problems=(404, 422, 503))
def get_trend(model: str) -> Response:
    """The newest verdict on every release of a model, the oldest release first."""
    trend = find_trend(model, services(), caller().tenant, plan=read_query(TrendQuery).plan)
    return Response(trend.model_dump_json(), mimetype="application/json")


def find_trend(name: str, here: Services, tenant: str, *, plan: str | None = None) -> Trend:
    """The trend of a model. Raises `NotFound`."""
    catalogue = here.catalogue.of(tenant)
    releases = [release.reference for release in catalogue.releases(name)]
    if not releases:
        close = ", ".join(nearest(name, catalogue.names)) or "none is like it"
        raise NotFound(f"there is no model {name[:80]!r} (nearest: {close}); GET /v1/models lists those there are")
    filters = {"method": "audit", "model": name, "state": State.SUCCEEDED.value}
    jobs, _ = here.records.page(tenant, filters=filters, limit=MOST_AUDITS, after=None)
    newest: dict[str, TrendPoint] = {}
    for job in jobs:
        point = _describe(job, here)
        if point is not None and plan in (None, point.plan):
            newest.setdefault(job.model, point)
    return Trend(model=name, points=[newest[release] for release in releases if release in newest])


def _describe(listed: Job, here: Services) -> TrendPoint | None:
    manifest = here.manifests.get(listed.id, here.records.find_manifest(listed.id))
    if manifest is None or "verdict" not in manifest.job.metrics:
        return None
    said = manifest.job.metrics
    severities = [finding["severity"] for finding in said["findings"]]
    return TrendPoint(
        release=listed.model.partition("@")[2], audit=listed.id, plan=said["plan"], plan_version=said["plan_version"],
        baselines=said["baselines"], verdict=said["verdict"], summary=said["summary"], figures=said["figures"],
        findings={severity: severities.count(severity) for severity in dict.fromkeys(severities)},
        finished_at=listed.finished_at,
    )  # fmt: skip
