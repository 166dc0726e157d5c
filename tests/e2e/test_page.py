"""The page in a real browser: what a stranger does, what a screen reader needs, and nothing of anybody else's."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from deploy.local import Stack
from shared.audits import NewAudit
from shared.client import Client
from shared.jobs import Job, State
from shared.methods import REQUEST
from tests.audits import write_plan

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")

PICTURES = Path(__file__).parents[2] / "deploy" / "pictures"
SHORT: dict[str, Any] = {"method": "class_model", "model": "shapes", "targets": ["lemon"], "params": {"steps": 24}}


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: "Browser", stack: Stack) -> "Iterator[Page]":
    """A page whose every word on the console, and every request elsewhere, is a failure."""
    context = browser.new_context(base_url=stack.url, viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text) if _is_wrong(message) else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: wrong.append(request.url) if _is_elsewhere(request.url, stack.url) else None)
    yield opened
    context.close()
    assert wrong == []


def _is_wrong(message: Any) -> bool:
    """Browsers report a refused request as an error of the page."""
    return message.type in ("error", "warning") and "status of 422" not in message.text


def _is_elsewhere(url: str, home: str) -> bool:
    return not url.startswith((home, "data:", "blob:"))


def run(client: Client, body: dict[str, Any]) -> Job:
    job = client.wait(client.submit(REQUEST.validate_python(body)).id, timeout=120)
    assert job.error is None
    return job


def wait_for_state(page: "Page", state: str, seconds: float = 60) -> None:
    page.locator("#state", has_text=state).wait_for(timeout=seconds * 1000)


def test_a_stranger_asks_for_a_lemon_watches_it_and_scrubs_it(page: "Page") -> None:
    page.goto("/")
    page.get_by_label("Classes").fill("lemon")
    page.get_by_label("Classes").press("Enter")
    page.get_by_label("Classes").fill("bee")
    page.get_by_label("steps", exact=True).fill("60")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-z]{26}"))
    wait_for_state(page, "succeeded")
    assert page.locator(".exhibit").count() == 2
    lemon = page.locator(".exhibit", has_text="lemon")
    last = lemon.locator(".picture").get_attribute("src")
    slider = lemon.get_by_label("Frame of the ascent of lemon")
    slider.wait_for()
    slider.fill("0")
    expect(lemon.locator(".picture")).to_have_attribute("src", re.compile("/0$"))
    assert lemon.locator(".picture").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    slider.fill(slider.get_attribute("max"))
    assert lemon.locator(".picture").get_attribute("src") == last
    curl = page.locator("pre").first.inner_text()
    assert curl.startswith("curl http://")
    assert '"targets": ["lemon", "bee"]' in curl


def test_progress_is_seen_while_it_runs_and_a_job_is_cancelled(page: "Page", client: Client) -> None:
    body = {"method": "class_model", "model": "slow", "targets": [0], "params": {"steps": 3000, "frames": 60}}
    job = client.submit(REQUEST.validate_python(body))
    page.goto(f"/jobs/{job.id}")
    expect(page.locator("#count")).to_have_text(re.compile("^[1-9]"), timeout=60_000)
    expect(page.locator("#thumbnail")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Cancel").click()
    wait_for_state(page, "cancelled", 20)


@pytest.fixture(autouse=True)
def nothing_left_running(client: Client) -> Iterator[None]:
    """A test that fails on its way does not keep the worker busy for the next ones."""
    yield
    for state in (State.QUEUED, State.RUNNING):
        for job in client.jobs(state=state):
            client.cancel(job.id)


def test_pictures_are_dropped_and_maps_are_laid_over_them(page: "Page") -> None:
    page.goto("/new/saliency")
    page.get_by_label("Pictures").set_input_files([PICTURES / "bee.png", PICTURES / "lemon.png"])
    page.locator(".uploads button").nth(1).wait_for()
    page.get_by_role("button", name="Submit").click()
    wait_for_state(page, "succeeded")
    over = page.locator(".over").first
    page.get_by_label("Opacity of the map").first.fill("0")
    assert over.evaluate("image => getComputedStyle(image).opacity") == "0"


def test_two_jobs_are_compared(page: "Page", client: Client) -> None:
    left, right = (run(client, SHORT | {"params": {"steps": 24, "seeds": [seed]}}) for seed in (1, 2))
    page.goto(f"/jobs/{left.id}")
    page.get_by_role("link", name="Compare with another job").click()
    page.get_by_label("Right").select_option(right.id)
    page.get_by_role("button", name="Compare").click()
    pair = page.locator(".pair .exhibit")
    assert pair.count() == 2
    assert left.id in pair.nth(0).locator("img").first.get_attribute("src")
    assert right.id in pair.nth(1).locator("img").first.get_attribute("src")


def test_an_audit_is_found_read_and_led_to_from_its_jobs(page: "Page", client: Client) -> None:
    plan = write_plan(client, class_models={"steps": 4, "extras": False}, name="page")
    *_, audit = client.watch_audit(
        client.audit(NewAudit.model_validate({"model": "shapes", "plan": plan})).id, timeout=120
    )
    page.goto("/")
    page.get_by_role("link", name="Audits").click()
    page.locator("tr", has_text=audit.id[-8:]).get_by_role("link").first.click()
    page.get_by_role("heading", name="Audit of shapes@1").wait_for()
    assert page.locator("main .files a", has_text="subject/class_models").count() == 1
    page.goto(f"/jobs/{audit.id}")
    page.wait_for_url(f"**/audits/{audit.id}")
    page.get_by_role("link", name="Read the report").click()
    page.get_by_role("heading", name="What was found").wait_for()
    assert page.locator("img").first.evaluate("image => image.naturalWidth") > 0
    page.goto("/compare?left=" + audit.id)


def test_a_refusal_is_shown_where_it_can_be_mended(page: "Page") -> None:
    page.goto("/")
    page.get_by_label("Classes").fill("lemmon")
    page.get_by_role("button", name="Submit").click()
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "did you mean 'lemon'" in alert.inner_text()
    page.wait_for_timeout(100)


def test_class_names_and_file_names_are_only_text(page: "Page") -> None:
    page.goto("/")
    page.get_by_label("Classes").fill("<img src=x onerror=alert(1)>")
    page.get_by_label("Classes").press("Enter")
    assert page.locator("#targets img").count() == 0
    assert "<img" in page.locator("#targets").inner_text()


def test_everything_is_there_without_scripts(browser: "Browser", stack: Stack, client: Client) -> None:
    job = run(client, SHORT)
    context = browser.new_context(base_url=stack.url, java_script_enabled=False)
    page = context.new_page()
    for path in (
        "/",
        "/jobs",
        f"/jobs/{job.id}",
        f"/compare?left={job.id}&right={job.id}",
        "/models",
        "/models/shapes",
    ):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
    page.goto(f"/jobs/{job.id}")
    assert page.locator(".exhibit .picture").is_visible()
    page.get_by_role("button", name="Submit again").click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-z]{26}"))
    assert job.id not in page.url
    context.close()


PAGES = (
    "/",
    "/new/saliency",
    "/jobs",
    "/jobs/{}",
    "/audits",
    "/compare?left={}&right={}",
    "/models",
    "/models/shapes",
    "/enter",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_in_the_way_of_a_screen_reader(
    browser: "Browser", stack: Stack, client: Client, scheme: Any
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    job = run(client, SHORT)
    context = browser.new_context(base_url=stack.url, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    for path in PAGES:
        page.goto(path.format(job.id, job.id))
        found = Axe().run(page).response["violations"]
        serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], path
    context.close()


def test_a_phone_shows_all_of_it(browser: "Browser", stack: Stack, client: Client) -> None:
    job = run(client, SHORT)
    context = browser.new_context(base_url=stack.url, viewport={"width": 360, "height": 740})
    page = context.new_page()
    for path in PAGES:
        page.goto(path.format(job.id, job.id))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    context.close()
