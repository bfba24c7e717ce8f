"""User actions on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

Shot = Callable[[str], None]


def choose_photo(page: Page, photo: Path) -> None:
    page.locator("#file").set_input_files(photo)


def confirm(page: Page, text: str | None = None) -> None:
    """Fill in the dialog, if there is a text, and press its main button."""
    expect(page.locator("dialog[open]")).to_be_visible()
    if text is not None:
        page.locator("dialog input").fill(text)
    page.locator("dialog .yes").click()


def view(page: Page, name: str) -> None:
    page.get_by_label("Views").get_by_role("button", name=name).click()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
