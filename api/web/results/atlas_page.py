"""The classes on the page of a model: what was drawn of each, searched by name and in pages."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import Services
from api.services.results.view_atlas import Atlas, find_atlas
from api.web.results.gallery import cut_page
from shared.catalogue.release import Release
from shared.errors import Problem


class AtlasQuery(BaseModel):
    """The query string of the page of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    search: str = Field(default="", max_length=200, description="A part of the names of the classes that are shown.")
    page: int = Field(default=1, ge=1)


def build_atlas_context(release: Release, query: AtlasQuery, tenant: str, services: Services) -> dict[str, Any]:
    """Returns the variables of the classes of a release. Without the store, the classes are shown without images."""
    try:
        atlas = find_atlas(release.reference, tenant, services)
    except Problem:
        atlas = Atlas(model=release.reference, classes=len(release.classes), items=[], complete=False)
    text = query.search.strip().lower()
    found = [(index, name) for index, name in enumerate(release.classes) if text in name.lower()]
    shown, pages = cut_page(found, query.page)
    return {
        "atlas": atlas,
        "drawn": {entry.target.index: entry for entry in atlas.items},
        "classes": shown,
        "found": len(found),
        "page": query.page,
        "pages": pages,
        "search": query.search,
    }
