"""Mistakes on the page: names, faces, keys; and content that is hard to lay out."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageFilter
from playwright.sync_api import Page, expect

from gallery.gallery import Gallery
from gallery.store import api_keys
from tests.api.page.actions import Shot, choose_photo, confirm, press, view
from tests.api.requests import enrol


def face_count(server: httpx.Client, name: str) -> int:
    people = server.get("/v1/identities").json()["identities"]
    return next(person["faces"] for person in people if person["name"] == name)


def test_invalid_name_is_reported_beside_the_input(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path, collins: Path
) -> None:
    enrol(server, "Grace", hopper)
    enrol(server, "Eileen", collins)
    view(page, "People")
    entry, error = page.locator("dialog input"), page.locator("dialog .wrong")
    press(page, "Rename Grace")
    expect(entry).to_have_value("Grace")
    for text, message in (
        ("  ", "Enter a name"),
        ("Grace/Hopper", "A name cannot contain a slash"),
        ("x" * 201, "201 characters, at most 200 are allowed"),
        ("Eileen", "Eileen"),
    ):
        confirm(page, text)
        expect(error).to_contain_text(message)
        expect(entry).to_have_value(text)
        expect(entry).to_be_focused()
    shot("wrong-name")
    press(page, "Cancel")
    expect(page.get_by_role("button", name="Rename Grace")).to_be_focused()
    press(page, "Merge Grace")
    confirm(page, "Nobody")
    expect(error).to_have_text("No one else is named Nobody.")
    expect(entry).to_have_value("Nobody")
    confirm(page, "Eileen")
    expect(page.locator("#note")).to_contain_text("Grace merged into Eileen, now with 2 faces")
    expect(page.locator("#note")).to_be_focused()  # its button is gone


def test_face_can_be_enrolled_after_an_invalid_name(
    page: Page, server: httpx.Client, hopper: Path
) -> None:
    choose_photo(page, hopper)
    press(page, "Enrol face 1")
    confirm(page, "a/b")
    expect(page.locator("dialog .wrong")).to_contain_text("slash")
    confirm(page, "Grace")
    expect(page.locator("#note")).to_contain_text("Enrolled as Grace")
    expect(page.locator("#answers > li")).to_contain_text("Grace, enrolled")
    assert face_count(server, "Grace") == 1


def test_face_unlike_the_others_gets_a_warning(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path, collins: Path
) -> None:
    enrol(server, "Grace", hopper)
    choose_photo(page, collins)
    press(page, "Enrol face 1")
    confirm(page, "Grace")
    expect(page.locator("#note.warn")).to_contain_text(
        "does not look like the other photo of Grace"
    )
    expect(page.locator("#answers .warn")).to_contain_text("does not look like the other photo")
    shot("unlike")
    assert face_count(server, "Grace") == 2


def test_poor_photo_gets_a_warning_and_is_marked_among_the_faces(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path, tmp_path: Path
) -> None:
    enrol(server, "Grace", hopper)
    with Image.open(hopper) as image:
        image.convert("RGB").filter(ImageFilter.GaussianBlur(9)).save(tmp_path / "blurred.png")
    choose_photo(page, tmp_path / "blurred.png")
    page.get_by_role("button", name="Enrol face 1").click()
    confirm(page, "Grace")
    expect(page.locator("#answers .warn")).to_contain_text("The face is blurred (sharpness")
    expect(page.locator("#answers .warn")).to_contain_text(f"better ones are {hopper.name}")
    shot("poor")
    view(page, "People")
    page.get_by_text("2 faces").click()
    expect(page.locator("#list .faces li").nth(1)).to_contain_text("Poor example: blurred")
    expect(page.locator("#list .faces li").nth(0)).not_to_contain_text("Poor example")
    shot("poor-faces")


def test_enrolment_is_undone(page: Page, server: httpx.Client, hopper: Path, collins: Path) -> None:
    enrol(server, "Grace", hopper)
    choose_photo(page, collins)
    press(page, "Enrol face 1")
    confirm(page, "Grace")
    page.locator("#note").get_by_role("button").click()
    expect(page.locator(".question")).to_contain_text("1 other face remains")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    confirm(page)
    expect(page.locator("#note")).to_contain_text("Face of Grace erased. No trace found")
    expect(page.locator("#answers h2")).to_have_text("No match")
    assert face_count(server, "Grace") == 1


def test_last_face_is_erased_only_with_the_person(
    page: Page, server: httpx.Client, hopper: Path, collins: Path
) -> None:
    enrol(server, "Grace", hopper, collins)
    view(page, "People")
    page.locator("summary").click()
    press(page, f"Erase the face {collins.name} of Grace")
    confirm(page)
    expect(page.locator("summary")).to_have_text("1 face")
    page.locator("summary").click()
    press(page, f"Erase the face {hopper.name} of Grace")
    expect(page.locator(".question")).to_contain_text("This is the only face of Grace")
    confirm(page)
    expect(page.locator("#count")).to_contain_text("No one is enrolled yet")
    expect(page.locator("#note")).to_contain_text("Grace erased. No trace found in")


@pytest.fixture
def twice(server: httpx.Client, tmp_path: Path, hopper: Path, collins: Path) -> None:
    """Grace is enrolled from one picture in two files; Eileen once."""
    again = tmp_path / "again.png"
    Image.open(hopper).save(again)
    enrol(server, "Grace", hopper, again)
    enrol(server, "Eileen", collins)


@pytest.mark.usefixtures("twice")
def test_picture_enrolled_twice_is_reported(page: Page, shot: Shot) -> None:
    view(page, "Duplicates")
    press(page, "Find duplicates")
    expect(page.locator("#note")).to_have_text("2 people compared: 1 duplicate face.")
    expect(page.get_by_role("button", name="Find duplicates")).to_be_focused()
    expect(page.locator("#twice").get_by_role("button")).to_have_count(2)
    shot("twice")


@pytest.mark.usefixtures("twice")
def test_duplicate_face_is_erased(page: Page, server: httpx.Client) -> None:
    view(page, "Duplicates")
    press(page, "Find duplicates")
    press(page, "Erase the face again.png of Grace")
    confirm(page)
    expect(page.locator("#twice > li")).to_have_count(0)
    assert face_count(server, "Grace") == 1


@pytest.mark.parametrize("server", [False], indirect=True)
def test_face_without_a_thumbnail_shows_the_name_of_its_photo(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path, together: Path
) -> None:
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url) if r.url.endswith("thumbnail") else None)
    enrol(server, "Grace", hopper)
    choose_photo(page, together)
    page.locator("summary").last.click()
    expect(page.locator(".picture.none")).to_have_count(2)
    for _ in range(2):
        view(page, "People")
        page.locator("#list summary").click()
        expect(page.locator("#list .picture.none")).to_have_text(hopper.name)
    shot("without-thumbnails")
    assert len(requests) <= 1


def test_box_numbers_stay_within_a_group_photo_and_highlight_with_their_cards(
    page: Page, shot: Shot, shared_faces: Path
) -> None:
    choose_photo(page, shared_faces / "groups" / "solvay1927.jpg")
    cards, boxes = page.locator("#answers > li"), page.locator(".box")
    expect(page.locator("#note")).to_contain_text("faces: no match", timeout=30_000)
    assert cards.count() == boxes.count() > 20
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        photo = page.locator("#photo").bounding_box()
        assert photo is not None
        for number in page.locator(".box b").all():
            label = number.bounding_box()
            assert label is not None
            assert photo["x"] <= label["x"] + 1
            assert label["x"] + label["width"] <= photo["x"] + photo["width"] + 1
            assert photo["y"] <= label["y"] + 1
            assert label["y"] + label["height"] <= photo["y"] + photo["height"] + 1
    page.set_viewport_size({"width": 1280, "height": 844})
    cards.nth(2).get_by_role("button").focus()
    expect(boxes.nth(2)).to_have_class(re.compile(r"\blit\b"))
    boxes.nth(5).hover()
    expect(cards.nth(5)).to_have_class(re.compile(r"\blit\b"))
    shot("group")


def test_long_name_does_not_widen_the_page(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path
) -> None:
    enrol(server, "W" * 175, hopper)
    choose_photo(page, hopper)
    expect(page.locator("#note")).to_contain_text("W" * 175)
    shot("long")
    view(page, "People")
    expect(page.locator("#list > li")).to_have_count(1)
    shot("long-people")


def test_invalid_key_is_reported_and_key_is_changed_and_removed(
    page: Page, shot: Shot, tmp_path: Path, server: httpx.Client, uncached_keys: None
) -> None:
    with Gallery.open(tmp_path / "home") as opened, opened.database.writing() as session:
        _, query_key = api_keys.create(session, "the desk", ["query"], 600)
        _, enrol_key = api_keys.create(session, "the archive", ["enrol"], 600)
    expect(page.locator("#keyring")).to_be_hidden()
    view(page, "Accuracy")
    confirm(page, "gallery_wrong")
    expect(page.locator("dialog .wrong")).to_have_text("This key is not valid.")
    confirm(page, query_key)
    expect(page.locator("#words")).to_contain_text("No one is enrolled yet")
    shot("keyring")
    press(page, "Change key")
    confirm(page, enrol_key)
    expect(page.locator("#note")).to_have_text("Key changed.")
    view(page, "People")
    expect(page.locator("#count")).to_contain_text("No one is enrolled yet")
    press(page, "Remove key")
    expect(page.locator("#note")).to_have_text("Key removed.")
    view(page, "People")
    expect(page.locator(".question")).to_contain_text("This gallery needs a key")
    press(page, "Cancel")
    expect(page.locator("#note.bad")).to_have_text("This gallery needs a key.")
