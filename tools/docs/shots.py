"""Takes screenshots of every page at three widths, in light and dark colors, to look at.

python -m tools.docs.shots    starts the service, runs a few jobs, saves the screenshots in var/shots, stops it
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from archetype import Client
from deploy.demos.demo import IMAGES
from deploy.local import run_stack
from shared.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FOLDER = Path("var/shots")
SIZES = {"phone": (360, 740), "tablet": (820, 1180), "desktop": (1280, 900)}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 120


def list_pages(client: Client) -> dict[str, str]:
    """Runs jobs that the pages show; returns the paths of the pages by name."""
    drawn = [
        client.class_model("shapes", ["lemon", "bee"], steps=steps).wait(timeout=SECONDS).id for steps in (60, 120)
    ]
    maps = client.saliency("shapes", [IMAGES / "bee.png"], kind="gradient").wait(timeout=SECONDS).id
    return {
        "home": "/",
        "class": "/showcase/207",
        "new": "/new/class_model",
        "new-saliency": "/new/saliency",
        "jobs": "/jobs",
        "job": f"/jobs/{drawn[0]}",
        "maps": f"/jobs/{maps}",
        "compare": f"/compare?job={drawn[0]}&job={drawn[1]}",
        "models": "/models",
        "model": "/models/shapes",
        "audits": "/audits",
        "new-audit": "/audits/new",
        "service": "/service",
        "sign-in": "/enter",
        "problem": "/jobs/none",
    }


def take(browser: "Browser", url: str, pages: dict[str, str]) -> None:
    """Saves a screenshot of each page, width and color scheme."""
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(
                base_url=url, viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page = context.new_page()
            for name, path in pages.items():
                page.goto(path)
                page.wait_for_timeout(300)  # images below the edge load when the page is shown
                page.screenshot(path=FOLDER / f"{name}-{size}-{scheme}.png")
            context.close()


def main() -> int:
    """Runs the command line and returns the exit code."""
    if CHROMIUM is None:
        print("there is no Chromium: apt-get install chromium", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        run_stack(Path(folder), Settings()) as stack,
        Client(stack.url) as client,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        take(browser, stack.url, list_pages(client))
        browser.close()
    print(f"{FOLDER}: {len(list(FOLDER.glob('*.png')))} screenshots")
    return 0


if __name__ == "__main__":
    sys.exit(main())
