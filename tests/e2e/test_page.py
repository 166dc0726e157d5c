"""The web page in a real browser: common tasks, accessibility, and no requests to other sites."""

import json
import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from archetype.client import Client
from archetype.contract.audit import NewAudit
from archetype.contract.job import Job, State
from archetype.contract.request import REQUEST
from deploy.local import Stack
from tests.support.audit_plans import write_plan
from tests.support.finished_jobs import make_class_model, make_feature_inversion, make_saliency, save_finished
from tests.support.paths import PICTURES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

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
    """A page that fails the test on a console message, a script error or a request to another site."""
    context = browser.new_context(base_url=stack.url, viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    faults: list[str] = []
    opened.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: faults.append(request.url) if _is_external(request.url, stack.url) else None)
    yield opened
    context.close()
    assert faults == []


def _is_fault(message: Any) -> bool:
    """Browsers also report a request with a 422 response as an error; the tests cause those on purpose."""
    return message.type in ("error", "warning") and "status of 422" not in message.text


def _is_external(url: str, home: str) -> bool:
    return not url.startswith((home, "data:", "blob:"))


def run(client: Client, body: dict[str, Any]) -> Job:
    job = client.wait(client.submit(REQUEST.validate_python(body)).id, timeout=400)
    assert job.error is None
    return job


def wait_for_state(page: "Page", state: str, seconds: float = 60) -> None:
    page.locator("#state", has_text=state).wait_for(timeout=seconds * 1000)


def find_picker(page: "Page") -> "Locator":
    return page.get_by_role("combobox", name="Classes", exact=True)


def test_a_class_visualization_can_be_submitted_watched_and_viewed_frame_by_frame(page: "Page") -> None:
    page.goto("/new/class_model")
    find_picker(page).fill("lem")
    find_picker(page).press("Enter")
    find_picker(page).fill("bee")
    page.get_by_label("steps", exact=True).fill("60")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-z]{26}"))
    wait_for_state(page, "succeeded")
    assert page.locator(".gallery-item").count() == 2
    lemon = page.locator(".gallery-item", has_text="lemon")
    last = lemon.locator(".result").get_attribute("src")
    slider = lemon.get_by_label("Frame of the optimization of lemon")
    slider.wait_for()
    slider.fill("0")
    expect(lemon.locator(".result")).to_have_attribute("src", re.compile("/0$"))
    assert lemon.locator(".result").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    slider.fill(slider.get_attribute("max"))
    assert lemon.locator(".result").get_attribute("src") == last
    curl = page.locator("pre").first.inner_text()
    assert curl.startswith("curl http://")
    assert '"targets": ["lemon", "bee"]' in curl


def test_a_running_job_shows_its_progress_and_can_be_cancelled(page: "Page", client: Client) -> None:
    body = {"method": "class_model", "model": "slow", "targets": [0], "params": {"steps": 3000, "frames": 60}}
    job = client.submit(REQUEST.validate_python(body))
    page.goto(f"/jobs/{job.id}")
    expect(page.locator("#count")).to_have_text(re.compile("^[1-9]"), timeout=60_000)
    expect(page.locator("#thumbnail")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Cancel").click()
    wait_for_state(page, "cancelled", 20)


@pytest.fixture(autouse=True)
def nothing_left_running(client: Client) -> Iterator[None]:
    """Cancels the jobs that a failed test left behind, so that the worker is free for the next test."""
    yield
    for state in (State.QUEUED, State.RUNNING):
        for job in client.jobs(state=state):
            client.cancel(job.id)


def test_images_can_be_uploaded_and_maps_are_drawn_over_them(page: "Page") -> None:
    page.goto("/new/saliency")
    page.get_by_label("Images").set_input_files([PICTURES / "bee.png", PICTURES / "lemon.png"])
    page.locator(".uploads button").nth(1).wait_for()
    page.get_by_role("button", name="Submit").click()
    wait_for_state(page, "succeeded")
    over = page.locator(".over").first
    page.get_by_label("Opacity of the map").first.fill("0")
    assert over.evaluate("image => getComputedStyle(image).opacity") == "0"
    assert "score per unit of input" in page.locator(".color-bar").first.inner_text()


def test_jobs_can_be_compared(page: "Page", client: Client) -> None:
    requests = [SHORT | {"params": {"steps": steps, "seeds": [1]}, "tags": ["pair"]} for steps in (24, 36)]
    left, right = (run(client, request) for request in requests)
    page.goto(f"/jobs/{left.id}")
    page.get_by_role("link", name="Compare with another job").click()
    page.get_by_label("Tag").fill("pair")
    page.get_by_role("button", name="Search and compare").click()
    page.locator("label", has_text=right.id[-8:]).get_by_role("checkbox").check()
    page.get_by_role("button", name="Compare", exact=True).click()
    assert page.locator(".differences tbody tr").all_inner_texts() == ["params.steps\t24\t36"]
    pair = page.locator(".pair .gallery-item")
    assert pair.count() == 2
    for number, job in enumerate((left, right)):
        assert job.id in pair.nth(number).locator("img").first.get_attribute("src")
    sliders = page.get_by_label("Frame of the optimization")
    sliders.nth(1).wait_for()
    sliders.nth(0).fill("0")
    assert sliders.nth(1).input_value() == "0"
    page.get_by_text("Difference of both images").click()
    assert page.locator(".difference img").count() == 2


def test_jobs_of_two_methods_are_not_compared(page: "Page", client: Client) -> None:
    image = client.upload((PICTURES / "bee.png").read_bytes()).id
    maps = run(client, {"method": "saliency", "model": "shapes", "images": [image], "params": {"kind": "gradient"}})
    job = run(client, SHORT)
    page.goto(f"/compare?left={job.id}&right={maps.id}")
    assert "show different things" in page.get_by_role("alert").inner_text()


def test_chosen_jobs_are_compared_cancelled_and_deleted(page: "Page", client: Client) -> None:
    jobs = [run(client, SHORT | {"tags": ["chosen"]}) for _ in range(2)]
    page.goto("/jobs?tag=chosen")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Compare").click()
    assert page.locator(".pair .gallery-item").count() == 2
    assert "The requests of these jobs are the same." in page.locator("main").inner_text()
    page.goto("/jobs?tag=chosen")
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Cancel").click()  # it has ended, so nothing happens
    page.goto("/jobs?tag=chosen")
    page.get_by_role("checkbox").first.check()
    page.get_by_text("Delete chosen jobs").click()
    page.get_by_role("button", name="Delete").click()
    page.goto("/jobs?tag=chosen")
    assert page.get_by_role("checkbox").count() == 1
    assert {job.id for job in client.jobs(tag="chosen")} < {job.id for job in jobs}


def test_an_audit_is_listed_and_links_to_its_jobs_and_report(page: "Page", client: Client) -> None:
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
    page.get_by_role("link", name="Open the report").click()
    page.get_by_role("heading", name="What was not tested").wait_for()
    assert page.locator("img").first.evaluate("image => image.naturalWidth") > 0
    page.goto("/compare?left=" + audit.id)
    page.goto(f"/audits/{audit.id}")
    page.get_by_label("Waive the findings").check()
    page.get_by_label("Your name").fill("Ann <b>Example</b>")
    page.get_by_label("Reason").fill("the findings are known")
    page.get_by_role("button", name="Store the decision").click()
    assert "needs an expiry date" in page.get_by_role("alert").inner_text()
    page.get_by_label("Approve the release").check()
    page.get_by_label("Your name").fill("Ann <b>Example</b>")
    page.get_by_label("Reason").fill("the findings are known")
    page.get_by_role("button", name="Store the decision").click()
    page.get_by_text("Approved by Ann <b>Example</b>").wait_for()
    assert "report.json is signed" in page.locator("main").inner_text()


def test_an_audit_is_started_from_a_form_and_shows_its_phases(page: "Page", client: Client) -> None:
    page.goto("/audits")
    page.get_by_role("link", name="New audit").click()
    page.get_by_label("Release to audit").select_option("shapes@1")
    page.get_by_label("Or a new plan in JSON").fill('{"name": "typed", "seeds": [1]}')
    page.get_by_role("button", name="Start the audit").click()
    assert "at least 2 items" in page.get_by_role("alert").inner_text()
    plan = {"name": "typed", "classes": ["lemon"], "class_models": {"steps": 3000, "extras": False}}
    page.get_by_label("Or a new plan in JSON").fill(json.dumps(plan))
    page.get_by_role("button", name="Start the audit").click()
    page.wait_for_url(re.compile(r"/audits/[0-9a-z]{26}"))
    assert page.get_by_label("Class visualizations").is_visible()
    assert page.get_by_label("Comparison and report").is_visible()
    page.get_by_role("button", name="Cancel").click()


def test_the_form_shows_why_a_request_is_invalid(page: "Page") -> None:
    page.goto("/new/class_model")
    find_picker(page).fill("lemmon")
    page.get_by_role("button", name="Submit").click()
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "did you mean 'lemon'" in alert.inner_text()
    page.wait_for_timeout(100)


def test_the_first_page_is_a_gallery_whose_classes_have_pages(page: "Page") -> None:
    page.goto("/")
    assert page.locator(".atlas img").count() == 100
    page.get_by_role("searchbox", name="Class").fill("LEMON")
    page.get_by_role("button", name="Search").click()
    assert page.get_by_text("No class of the gallery contains").is_visible()
    page.get_by_role("link", name="Show all classes").click()
    page.get_by_role("searchbox", name="Class").fill("golden")
    page.get_by_role("button", name="Search").click()
    assert page.locator(".atlas li").count() == 1
    page.locator(".atlas a").click()
    page.get_by_role("heading", level=1).wait_for()
    images = page.locator("main img")
    assert images.count() == 3
    for number in range(3):
        assert images.nth(number).evaluate("image => image.decode().then(() => image.naturalWidth)") >= 128
    assert "MobileNetV2: " in page.locator("main").inner_text()
    page.locator("a[rel=next]").click()
    page.get_by_role("link", name=re.compile("^Draw ")).first.click()
    find_picker(page).wait_for()


def test_the_classes_that_no_job_has_drawn_are_drawn_together(page: "Page", client: Client) -> None:
    run(client, SHORT | {"targets": ["lemon"]})
    page.goto("/models/shapes")
    page.get_by_role("link", name=re.compile("Draw the .* others")).click()
    page.get_by_text("class visualizations of").wait_for()
    body = submit(page)
    assert body["priority"] == "bulk"
    assert 0 < len(body["targets"]) < 12
    assert f"#{client.model('shapes')['class_names'].index('lemon')}" not in body["targets"]


def test_a_class_name_with_html_is_shown_as_text(page: "Page") -> None:
    page.goto("/new/class_model")
    find_picker(page).fill("<img src=x onerror=alert(1)>")
    find_picker(page).press("Enter")
    assert page.locator(".chips img").count() == 0
    assert "<img" in page.locator("#target-fault").inner_text()


def submit(page: "Page") -> dict[str, Any]:
    """Clicks "Submit" and returns the request, which is not sent to the service."""
    bodies: list[dict[str, Any]] = []

    def refuse(route: "Route") -> None:
        bodies.append(route.request.post_data_json)
        problem = {"detail": "invalid", "errors": [{"field": "/params/steps", "detail": "too few steps", "allowed": 9}]}
        route.fulfill(status=422, json=problem)

    page.route("**/v1/jobs", refuse)
    page.get_by_role("button", name="Submit", exact=True).click()
    page.get_by_role("alert").wait_for()
    page.unroute("**/v1/jobs")
    return bodies[0]


def test_a_class_is_found_by_a_part_of_its_name(page: "Page") -> None:
    page.goto("/new/class_model")
    find_picker(page).fill("SAIL")
    find_picker(page).press("Enter")
    assert page.locator("#targets").inner_text().startswith("sailing boat")
    find_picker(page).fill("zebra")
    find_picker(page).press("Enter")
    assert "No class of this model contains" in page.locator("#target-fault").inner_text()
    find_picker(page).fill("lemon, bee")
    find_picker(page).press("Enter")
    assert submit(page)["targets"] == ["sailing boat", "lemon", "bee"]
    page.get_by_label("All classes").check()
    assert submit(page)["targets"] == "all"


def test_a_preset_fills_in_its_values_and_only_changes_are_sent(page: "Page") -> None:
    page.goto("/new/class_model")
    find_picker(page).fill("lemon")
    page.get_by_text("timm vis").click()
    assert page.get_by_label("steps", exact=True).input_value() == "500"
    page.get_by_text("lucid", exact=True).click()
    page.get_by_text("More parameters").click()
    assert page.get_by_label("canvas").input_value() == "[128, 128]"
    assert page.get_by_label("momentum").is_hidden()
    page.get_by_label("optimizer").select_option("sgd")
    page.get_by_label("momentum").fill("0.5")
    body = submit(page)
    assert body["targets"] == ["lemon"]
    assert body["params"] == {"preset": "lucid", "optimizer": "sgd", "momentum": 0.5}
    error = page.locator(".field", has=page.get_by_label("steps", exact=True)).locator(".error")
    assert error.inner_text() == "too few steps (allowed: 9)"
    assert page.get_by_label("steps", exact=True).evaluate("field => field === document.activeElement")


def test_nested_parameters_are_entered_in_rows_or_as_json(page: "Page") -> None:
    page.goto("/new/class_model")
    find_picker(page).fill("lemon")
    page.get_by_text("More parameters").click()
    page.get_by_role("button", name="Add to regularizers").click()
    rows = page.get_by_role("group", name="regularizers")
    rows.get_by_label("Kind of regularizers").last.select_option("blur")
    rows.get_by_label("radius").fill("2.5")
    rows.get_by_label("radius").press("Tab")
    page.get_by_role("button", name="Add to seeds").click()
    params = submit(page)["params"]
    assert params["regularizers"][2:] == [{"kind": "blur", "every": 4, "radius": 2.5}]
    assert params["seeds"] == [0, 1]
    page.get_by_role("button", name="seeds as JSON").click()
    page.locator("#param-seeds").fill("[7, 8")
    page.locator("#param-seeds").fill("[7, 8]")
    page.get_by_role("button", name="seeds as JSON").click()
    page.get_by_role("button", name="Remove seeds 2").click()
    page.get_by_role("button", name="Remove regularizers 3").click()
    assert submit(page)["params"] == {"seeds": [7]}
    page.goto("/new/saliency")
    page.get_by_text("More parameters").click()
    outputs = page.get_by_role("group", name="outputs")
    outputs.get_by_label("overlay").uncheck()
    assert "overlay" not in submit(page)["params"]["outputs"]


def test_a_job_can_be_changed_and_run_again(page: "Page", stack: Stack, client: Client) -> None:
    image = client.upload((PICTURES / "bee.png").read_bytes(), "my bee.png").id
    job = make_saliency(stack.settings, image)
    page.goto(f"/jobs/{job.id}")
    assert "my bee.png" in page.locator("figcaption").inner_text()
    page.get_by_role("link", name="Change and run").click()
    page.locator(".uploads", has_text="my bee.png").wait_for()
    page.get_by_label("kind").select_option("occlusion")
    page.get_by_text("More parameters").click()
    page.get_by_label("square").fill("16")
    body = submit(page)
    expected = {"method": "saliency", "images": [image], "targets": {"top": 2}}
    assert body.items() >= expected.items()
    assert body["params"] == {"kind": "occlusion", "square": 16}


def measure_width(image: "Locator") -> float:
    return float(image.evaluate("image => image.decode().then(() => image.getBoundingClientRect().width)"))


def test_images_are_enlarged_and_changed_with_the_keyboard(page: "Page", stack: Stack, client: Client) -> None:
    image = client.upload((PICTURES / "bee.png").read_bytes(), "bee.png").id
    job = make_feature_inversion(stack.settings, image)
    page.goto(f"/jobs/{job.id}")
    page.locator(".slide").first.press("Enter")
    title = page.locator("#lightbox-title")
    expect(title).to_have_text("features.0, bee.png (1 of 4)")
    enlarged = page.locator("#lightbox-stage img")
    width = measure_width(enlarged)
    assert width > measure_width(page.locator(".gallery-item img").first)
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text("features.4, bee.png (4 of 4)")
    page.keyboard.press("+")
    assert measure_width(enlarged) > width
    page.keyboard.press("Escape")
    expect(page.locator("#lightbox")).to_be_hidden()


def test_an_earlier_step_is_shown_with_its_number_and_objective(page: "Page", stack: Stack) -> None:
    job = make_class_model(stack.settings)
    page.goto(f"/jobs/{job.id}")
    lemon = page.locator(".gallery-item").first
    slider = lemon.get_by_label("Frame of the optimization of lemon")
    slider.fill("0")
    expect(lemon.locator(".now")).to_have_text("Step 10 of 60, objective 10.00")
    expect(lemon.get_by_text("98.0%")).to_be_hidden()
    slider.fill("5")
    expect(lemon.get_by_text("98.0%")).to_be_visible()


def test_jobs_are_found_by_id_and_deleted(page: "Page", stack: Stack) -> None:
    job = make_class_model(stack.settings)
    page.goto("/jobs")
    row = page.locator("tr", has_text=job.id[-8:])
    assert row.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.get_by_label("Id or tag").fill(job.id)
    page.get_by_label("Id or tag").press("Enter")
    page.get_by_role("heading", name="Class model of lemon").wait_for()
    page.locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete this job").click()
    page.wait_for_url("**/jobs")
    assert page.locator("tr", has_text=job.id[-8:]).count() == 0


def test_a_job_whose_result_contains_no_image_has_a_blank_thumbnail(page: "Page", stack: Stack) -> None:
    job = save_finished(stack.settings, SHORT)
    page.goto("/jobs")
    thumbnail = page.locator("tr", has_text=job.id[-8:]).locator("img")
    assert thumbnail.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_all_pages_work_without_scripts(browser: "Browser", stack: Stack, client: Client) -> None:
    job = run(client, SHORT)
    context = browser.new_context(base_url=stack.url, java_script_enabled=False)
    page = context.new_page()
    for path in (
        "/",
        "/showcase/7",
        "/jobs",
        f"/jobs/{job.id}",
        f"/compare?left={job.id}&right={job.id}",
        "/models",
        "/models/shapes",
    ):
        response = page.goto(path)
        assert response is not None
        assert response.status == 200, path
    page.goto(f"/jobs/{job.id}")
    assert page.locator(".gallery-item .result").is_visible()
    page.get_by_role("button", name="Submit again").click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-z]{26}"))
    assert job.id not in page.url
    context.close()


SERIOUS = ("serious", "critical")
PAGES = (
    "/",
    "/showcase/7",
    "/new/class_model",
    "/new/saliency",
    "/jobs",
    "/jobs/{}",
    "/audits",
    "/audits/new",
    "/compare?left={}&right={}",
    "/models",
    "/models/shapes",
    "/service",
    "/enter",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_serious_accessibility_violations(
    browser: "Browser", stack: Stack, client: Client, scheme: Any
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    job = run(client, SHORT)
    context = browser.new_context(base_url=stack.url, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    for path in PAGES:
        page.goto(path.format(job.id, job.id))
        violations = Axe().run(page).response["violations"]
        serious = [(rule["id"], rule["nodes"][0]["html"]) for rule in violations if rule["impact"] in SERIOUS]
        assert serious == [], path
    context.close()


def test_no_page_is_wider_than_the_screen_of_a_phone(browser: "Browser", stack: Stack, client: Client) -> None:
    job = run(client, SHORT)
    context = browser.new_context(base_url=stack.url, viewport={"width": 360, "height": 740})
    page = context.new_page()
    for path in PAGES:
        page.goto(path.format(job.id, job.id))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    context.close()
