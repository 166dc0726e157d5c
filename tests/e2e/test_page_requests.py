"""The script of the page repeats failed requests, in a real browser, against an application without servers."""

import shutil
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.serving import make_server

from api.app import create_app
from shared.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = create_app(Settings(redis_url="redis://127.0.0.1:1/0", s3_endpoint="http://127.0.0.1:1", log_level="error"))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(60)


@pytest.fixture(scope="module")
def page(url: str) -> "Iterator[Page]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto(f"{url}/enter")
        yield opened
        browser.close()


CALL = """async ([path, options]) => {
  const { call } = await import("/static/request.js");
  const began = Date.now();
  try {
    return { body: await call(path, options), ms: Date.now() - began };
  } catch (error) {
    return { error: error.message, ms: Date.now() - began };
  }
}"""


def call(page: "Page", answers: list[Any], options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Calls the service, which answers with these statuses, or breaks the connection; returns result and attempts."""
    requests: list[str] = []

    def answer(route: "Route") -> None:
        status, headers = answers[min(len(requests), len(answers) - 1)]
        requests.append(route.request.url)
        if status is None:
            route.abort("connectionreset")
        else:
            route.fulfill(status=status, headers=headers, json={"detail": f"status {status}"})

    page.route("**/v1/test", answer)
    result = page.evaluate(CALL, ["/v1/test", options])
    page.unroute("**/v1/test")
    return result, len(requests)


DOWN, BROKEN, BUSY, DONE = (503, {}), (None, {}), (429, {"Retry-After": "1"}), (200, {})
KEYED = {"method": "POST", "headers": {"Idempotency-Key": "a"}, "body": "{}"}


@pytest.mark.parametrize("options", [{}, KEYED, {"method": "POST", "repeatable": True}])
@pytest.mark.parametrize("failure", [DOWN, BROKEN])
def test_the_page_repeats_requests_that_can_be_repeated(page: "Page", options: dict[str, Any], failure: Any) -> None:
    result, attempts = call(page, [failure, failure, DONE], options)
    assert (result.get("body"), attempts) == ({"detail": "status 200"}, 3)


def test_the_page_waits_as_long_as_the_service_asks_for(page: "Page") -> None:
    result, attempts = call(page, [BUSY, BUSY, DONE], {"method": "POST"})
    assert attempts == 3
    assert result["ms"] >= 2000


@pytest.mark.parametrize("answer", [DOWN, BROKEN])
def test_the_page_does_not_repeat_what_may_have_had_an_effect(page: "Page", answer: Any) -> None:
    result, attempts = call(page, [answer], {"method": "POST"})
    assert attempts == 1
    assert result["error"]


def test_the_page_gives_up_at_once_if_it_had_to_wait_too_long(page: "Page") -> None:
    result, attempts = call(page, [(429, {"Retry-After": "3600"})], {})
    assert (result["error"], attempts) == ("status 429", 1)


def test_the_page_tells_the_user_that_the_session_has_ended(page: "Page") -> None:
    result, attempts = call(page, [(401, {})], {})
    assert "session has ended" in result["error"]
    assert attempts == 1
