"""Help on the page opens the topic of the current view, in a real browser."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from gallery.guide.topics import TOPICS

VIEWS = {"Query": "page", "People": "page", "Duplicates": "dedupe", "Accuracy": "accuracy"}


@pytest.mark.parametrize("view", VIEWS)
def test_help_opens_the_topic_of_the_view(page: Page, view: str) -> None:
    page.get_by_role("button", name=view, exact=True).click()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Help").click()
    opened.value.wait_for_load_state()
    assert opened.value.url.endswith(f"/guide/{VIEWS[view]}")


def test_guide_is_accessible_and_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    home = page.url.rstrip("/")
    for topic in ("", *TOPICS):
        page.goto(f"{home}/guide/{topic}".rstrip("/"))
        violations = Axe().run(page).response["violations"]
        assert [violation["id"] for violation in violations] == [], topic
        assert page.evaluate("document.documentElement.scrollWidth") == 360, topic
