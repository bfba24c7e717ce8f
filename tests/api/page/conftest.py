"""A real browser and a real server; screenshots go to .artefacts/page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.api.conftest import Serve
from tests.api.page.actions import Shot

ARTEFACTS = Path(__file__).resolve().parents[3] / ".artefacts" / "page"
PREFIX = "/faces"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; run `make browser`")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *CAMERA]
        )
        yield launched
        launched.close()


@pytest.fixture
def server(serve: Serve, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of an empty gallery, which keeps thumbnails unless the parameter is False."""
    thumbnails = getattr(request, "param", True)
    with serve(tmp_path / "home", thumbnails=thumbnails, root_path=PREFIX) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, server: httpx.Client) -> Iterator[Page]:
    """The page, below a path; console output, and requests to anywhere else, fail the test."""
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    opened = context.new_page()
    faults: list[str] = []
    home = f"{server.base_url}{PREFIX}/"
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "console", lambda m: faults.append(m.text) if "Failed to load" not in m.text else None
    )
    opened.on(
        "request", lambda r: faults.append(r.url) if not r.url.startswith((home, "blob:")) else None
    )
    opened.goto(home)
    yield opened
    context.close()
    assert faults == []


@pytest.fixture
def shot(page: Page) -> Shot:
    """Take screenshots at desktop and phone size, and check both with axe."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)

    def take(name: str) -> None:
        for kind, width, scheme in (("desktop", 1000, "light"), ("phone", 390, "dark")):
            page.set_viewport_size({"width": width, "height": 844})
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=ARTEFACTS / f"{name}-{kind}.png", full_page=True)
            report = Axe().run(page)
            assert report.violations_count == 0, report.generate_report()
            page_width = page.evaluate("document.documentElement.scrollWidth")
            assert page_width <= width, f"{name}: {page_width} pixels wide on a screen of {width}"
        page.set_viewport_size({"width": 1000, "height": 900})
        page.emulate_media(color_scheme="light")

    return take
