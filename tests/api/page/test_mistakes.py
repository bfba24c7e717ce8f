"""The page when something is mistaken: a name, a face, a key; and what is awkward to show."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from gallery.gallery import Gallery
from gallery.store import api_keys
from tests.api.page.actions import Shot, answer, ask, press, view
from tests.api.requests import enrol


def faces(server: httpx.Client, name: str) -> int:
    found = server.get("/v1/identities").json()["identities"]
    return next(person["faces"] for person in found if person["name"] == name)


def test_what_is_wrong_with_a_name_is_said_where_it_was_typed(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path, collins: Path
) -> None:
    enrol(server, "Grace", hopper)
    enrol(server, "Eileen", collins)
    view(page, "People")
    typed, wrong = page.locator("dialog input"), page.locator("dialog .wrong")
    press(page, "Rename Grace")
    expect(typed).to_have_value("Grace")
    for text, said in (
        ("  ", "The name is empty"),
        ("Grace/Hopper", "The name has a slash"),
        ("x" * 201, "The name has 201 characters, more than the limit of 200"),
        ("Eileen", "Eileen"),
    ):
        answer(page, text)
        expect(wrong).to_contain_text(said)
        expect(typed).to_have_value(text)
        expect(typed).to_be_focused()
    shot("wrong-name")
    press(page, "Cancel")
    expect(page.get_by_role("button", name="Rename Grace")).to_be_focused()
    press(page, "Merge Grace")
    answer(page, "Nobody")
    expect(wrong).to_have_text("Nobody else is called Nobody.")
    expect(typed).to_have_value("Nobody")
    answer(page, "Eileen")
    expect(page.locator("#note")).to_contain_text("Grace is Eileen now, with 2 faces")
    expect(page.locator("#note")).to_be_focused()  # the button that was pressed is gone


def test_a_slash_in_the_name_does_not_lose_the_face_to_be_enrolled(
    page: Page, server: httpx.Client, hopper: Path
) -> None:
    ask(page, hopper)
    press(page, "Enrol face 1")
    answer(page, "a/b")
    expect(page.locator("dialog .wrong")).to_contain_text("slash")
    answer(page, "Grace")
    expect(page.locator("#note")).to_contain_text("Enrolled as Grace")
    expect(page.locator("#answers > li")).to_contain_text("Grace, enrolled now")
    assert faces(server, "Grace") == 1


def test_a_face_unlike_the_others_is_warned_of(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path, collins: Path
) -> None:
    enrol(server, "Grace", hopper)
    ask(page, collins)
    press(page, "Enrol face 1")
    answer(page, "Grace")
    expect(page.locator("#note.warn")).to_contain_text(
        "does not look like the other photo of Grace"
    )
    expect(page.locator("#answers .warn")).to_contain_text("does not look like the other photo")
    shot("unlike")
    assert faces(server, "Grace") == 2


def test_it_is_erased_again(page: Page, server: httpx.Client, hopper: Path, collins: Path) -> None:
    enrol(server, "Grace", hopper)
    ask(page, collins)
    press(page, "Enrol face 1")
    answer(page, "Grace")
    page.locator("#note").get_by_role("button").click()
    expect(page.locator(".question")).to_contain_text("1 other stays")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    answer(page)
    expect(page.locator("#note")).to_contain_text("This face of Grace is erased. No trace is left")
    expect(page.locator("#answers h2")).to_have_text("No one we know")
    assert faces(server, "Grace") == 1


def test_one_face_of_a_person_is_erased_and_the_last_only_with_them(
    page: Page, server: httpx.Client, hopper: Path, collins: Path
) -> None:
    enrol(server, "Grace", hopper, collins)
    view(page, "People")
    page.locator("summary").click()
    press(page, f"Erase the face {collins.name} of Grace")
    answer(page)
    expect(page.locator("summary")).to_have_text("1 face")
    page.locator("summary").click()
    press(page, f"Erase the face {hopper.name} of Grace")
    expect(page.locator(".question")).to_contain_text("can only be erased as a whole")
    answer(page)
    expect(page.locator("#count")).to_contain_text("Nobody is enrolled yet")
    expect(page.locator("#note")).to_contain_text("Grace is erased. No trace is left in")


@pytest.fixture
def twice(server: httpx.Client, tmp_path: Path, hopper: Path, collins: Path) -> None:
    """Grace is enrolled from one picture in two files; Eileen once."""
    again = tmp_path / "again.png"
    Image.open(hopper).save(again)
    enrol(server, "Grace", hopper, again)
    enrol(server, "Eileen", collins)


@pytest.mark.usefixtures("twice")
def test_one_picture_enrolled_twice_is_not_said_to_be_nobody(page: Page, shot: Shot) -> None:
    view(page, "Duplicates")
    press(page, "Look for duplicates")
    expect(page.locator("#note")).to_have_text(
        "2 people were compared: no two seem to be one person,"
        " and 1 picture of a face is enrolled twice."
    )
    expect(page.get_by_role("button", name="Look for duplicates")).to_be_focused()
    expect(page.locator("#twice").get_by_role("button")).to_have_count(2)
    shot("twice")


@pytest.mark.usefixtures("twice")
def test_one_of_the_two_is_erased(page: Page, server: httpx.Client) -> None:
    view(page, "Duplicates")
    press(page, "Look for duplicates")
    press(page, "Erase the face again.png of Grace")
    answer(page)
    expect(page.locator("#twice > li")).to_have_count(0)
    assert faces(server, "Grace") == 1


@pytest.mark.parametrize("server", [False], indirect=True)
def test_a_face_without_a_picture_shows_its_photos_name(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path, together: Path
) -> None:
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if r.url.endswith("thumbnail") else None)
    enrol(server, "Grace", hopper)
    ask(page, together)
    page.locator("summary").last.click()
    expect(page.locator(".picture.none")).to_have_count(2)
    for _ in range(2):
        view(page, "People")
        page.locator("#list summary").click()
        expect(page.locator("#list .picture.none")).to_have_text(hopper.name)
    shot("without-pictures")
    assert len(asked) <= 1


def test_numbers_stay_within_the_photo_of_a_group_and_light_with_their_answers(
    page: Page, shot: Shot, shared_faces: Path
) -> None:
    ask(page, shared_faces / "groups" / "solvay1927.jpg")
    cards, boxes = page.locator("#answers > li"), page.locator(".box")
    expect(page.locator("#note")).to_contain_text("faces: none of someone we know", timeout=30_000)
    assert cards.count() == boxes.count() > 20
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        photo = page.locator("#photo").bounding_box()
        assert photo is not None
        for number in page.locator(".box b").all():
            tag = number.bounding_box()
            assert tag is not None
            assert photo["x"] <= tag["x"] + 1
            assert tag["x"] + tag["width"] <= photo["x"] + photo["width"] + 1
            assert photo["y"] <= tag["y"] + 1
            assert tag["y"] + tag["height"] <= photo["y"] + photo["height"] + 1
    page.set_viewport_size({"width": 1280, "height": 844})
    cards.nth(2).get_by_role("button").focus()
    expect(boxes.nth(2)).to_have_class(re.compile(r"\blit\b"))
    boxes.nth(5).hover()
    expect(cards.nth(5)).to_have_class(re.compile(r"\blit\b"))
    shot("group")


def test_a_long_name_does_not_widen_the_page(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path
) -> None:
    enrol(server, "W" * 175, hopper)
    ask(page, hopper)
    expect(page.locator("#note")).to_contain_text("W" * 175)
    shot("long")
    view(page, "People")
    expect(page.locator("#list > li")).to_have_count(1)
    shot("long-people")


def test_a_wrong_key_is_said_and_a_key_is_changed_and_forgotten(
    page: Page, shot: Shot, tmp_path: Path, server: httpx.Client
) -> None:
    with Gallery.open(tmp_path / "home") as opened, opened.database.writing() as session:
        _, asking = api_keys.create(session, "the desk", ["query"], 600)
        _, keeping = api_keys.create(session, "the archive", ["enrol"], 600)
    page.wait_for_timeout(1100)  # the server reads its keys once a second
    expect(page.locator("#keyring")).to_be_hidden()
    view(page, "Promise")
    answer(page, "gallery_wrong")
    expect(page.locator("dialog .wrong")).to_have_text("This key was not accepted.")
    answer(page, asking)
    expect(page.locator("#words")).to_contain_text("Nobody is enrolled yet")
    shot("keyring")
    press(page, "Use another key")
    answer(page, keeping)
    expect(page.locator("#note")).to_have_text("This key is used from now on.")
    view(page, "People")
    expect(page.locator("#count")).to_contain_text("Nobody is enrolled yet")
    press(page, "Forget the key")
    expect(page.locator("#note")).to_have_text("The key is forgotten.")
    view(page, "People")
    expect(page.locator(".question")).to_contain_text("A key is needed")
    press(page, "Cancel")
    expect(page.locator("#note.bad")).to_have_text("Without a key the server does not answer.")
