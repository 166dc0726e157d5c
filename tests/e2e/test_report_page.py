"""The report of an audit in a real browser: on a phone, in the dark, on paper, without scripts, for screen readers."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from shared.audits.pages.html import write_html
from tests.support.audit_reports import FOCUS, SANITY, SHORTCUT, SIZE, build_report
from tests.support.networks import Small, seeded
from worker.engine.model.classifier import open_classifier

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

SERIOUS = ("serious", "critical")
A4_PIXELS = 794 - 2 * 53
"""Width between the margins of an A4 page at 96 pixels per inch."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a report with a failure, a warning and a waived finding."""
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (SIZE, SIZE), "device": torch.device("cpu")}
    with open_classifier(seeded(Small), **options) as classifier:
        document = build_report(classifier, SHORTCUT, SANITY, FOCUS, errors=["probe x: unreadable"])
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(write_html(document, "0" * 64))
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_has_no_serious_accessibility_violations(browser: "Browser", report: str, scheme: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(color_scheme=scheme)
    page.goto(report)
    violations = Axe().run(page).response["violations"]
    serious = [(rule["id"], rule["nodes"][0]["html"]) for rule in violations if rule["impact"] in SERIOUS]
    page.close()
    assert serious == []


@pytest.mark.parametrize(("width", "media"), [(360, "screen"), (390, "screen"), (A4_PIXELS, "print")])
def test_the_report_fits_a_phone_and_a4_paper_without_scripts(
    browser: "Browser", report: str, width: int, media: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, java_script_enabled=False)
    page = context.new_page()
    page.emulate_media(media=media)
    page.goto(report)
    box = page.locator("html").bounding_box()
    assert box is not None
    assert box["width"] <= width
    wide = [
        text
        for element in page.locator("td, p, figure, code, li").all()
        if (place := element.bounding_box()) is not None and place["x"] + place["width"] > width + 1
        for text in [element.inner_text()[:60]]
    ]
    context.close()
    assert wide == []


def test_a_failure_and_a_warning_have_different_colors(browser: "Browser", report: str) -> None:
    page = browser.new_page()
    page.goto(report)
    colors = {
        kind: page.locator(f".finding.{kind}").first.evaluate("element => getComputedStyle(element).borderLeftColor")
        for kind in ("fail", "warn")
    }
    page.close()
    assert colors["fail"] != colors["warn"]
