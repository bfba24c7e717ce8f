"""The page as a person at a desk uses it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Page, expect

from gallery.gallery import Gallery
from gallery.store import api_keys
from tests.api.page.actions import Shot, answer, ask
from tests.api.requests import enrol, misfile


def test_a_stranger_is_asked_about_enrolled_and_known(page: Page, shot: Shot, hopper: Path) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Who is this?")
    expect(page.locator("#begin")).to_contain_text("Nobody is enrolled yet")
    shot("empty")
    ask(page, hopper)
    expect(page.locator("#note")).to_have_text("1 face: no one we know.")
    shot("unknown")
    page.get_by_role("button", name="Enrol face 1").click()
    answer(page, "Grace Hopper")
    expect(page.locator("#note")).to_have_text("Enrolled as Grace Hopper (new identity).")
    expect(page.locator("#begin")).to_be_hidden()
    ask(page, hopper)
    expect(page.locator("#note")).to_contain_text("1 face: Grace Hopper (99.9 %)")
    expect(page.locator("#answers > li.match h2")).to_have_text("Grace Hopper (99.9 %)")
    expect(page.locator(".box.match")).to_be_visible()
    expect(page.get_by_role("img", name="Enrolled face of Grace Hopper")).to_be_visible()
    expect(page.locator("details")).to_contain_text("At most 1.0 % of strangers")
    shot("match")


def test_several_faces_are_answered_and_enrolled_each(
    page: Page, shot: Shot, server: httpx.Client, together: Path, hopper: Path
) -> None:
    enrol(server, "Grace Hopper", hopper)
    ask(page, together)
    expect(page.locator("#answers > li")).to_have_count(2)
    expect(page.locator("#note")).to_contain_text("2 faces: Grace Hopper")
    shot("several")
    stranger = page.locator("#answers > li.unknown")
    stranger.get_by_role("button", name="Enrol").click()
    answer(page, "Eileen Collins")
    expect(page.locator("#note")).to_contain_text("Enrolled as Eileen Collins")
    expect(page.locator("#answers > li").nth(1)).to_contain_text("Eileen Collins, enrolled now")
    expect(page.locator("#answers > li.unknown")).to_have_count(0)
    expect(page.locator(".box.match")).to_have_count(2)
    expect(page.locator("#begin")).to_be_hidden()
    ask(page, together)
    expect(page.locator("#answers > li.match")).to_have_count(2)


def test_a_match_of_two_is_said_and_refused_unless_told_twice(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path
) -> None:
    enrol(server, "Grace Hopper", hopper)
    ask(page, hopper)
    page.get_by_role("button", name="Enrol face 1").click()
    answer(page, "G. Hopper")
    expect(page.locator(".question")).to_contain_text("it matches Grace Hopper")
    shot("refused")
    answer(page)
    expect(page.locator("#note")).to_contain_text("Enrolled as G. Hopper")
    ask(page, hopper)
    expect(page.locator("#note")).to_contain_text("2 people match")
    shot("ambiguous")


def test_no_face_no_photo_and_no_server_are_said(
    page: Page, shot: Shot, no_one: list[Path], tmp_path: Path
) -> None:
    ask(page, no_one[0])
    expect(page.locator("#note")).to_contain_text("No face of at least 40 pixels")
    (tmp_path / "text.jpg").write_bytes(b"this is text")
    ask(page, tmp_path / "text.jpg")
    expect(page.locator("#note.bad")).to_contain_text("is not a photo in a supported format")
    shot("error")
    page.route("**/v1/**", lambda route: route.abort())
    ask(page, no_one[0])
    expect(page.locator("#note.bad")).to_contain_text("The server does not answer")


def test_people_are_searched_renamed_merged_unmerged_and_erased(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path, collins: Path
) -> None:
    page.get_by_role("button", name="People").click()
    expect(page.locator("#count")).to_contain_text("Nobody is enrolled yet")
    enrol(server, "Grace", hopper)
    enrol(server, "Eileen", collins)
    page.get_by_label("Search by name").fill("grac")
    expect(page.locator("#list > li")).to_have_count(1)
    page.get_by_role("button", name="Rename Grace").click()
    answer(page, "Grace Hopper")
    expect(page.locator("#list h2")).to_have_text("Grace Hopper")
    page.get_by_label("Search by name").fill("")
    page.locator("#list summary").first.click()
    expect(page.get_by_role("img", name="Enrolled face of Eileen")).to_be_visible()
    shot("people")
    page.get_by_role("button", name="Merge Eileen").click()
    answer(page, "Grace Hopper")
    expect(page.locator("#note")).to_contain_text("Eileen is Grace Hopper now, with 2 faces")
    expect(page.locator("#list > li")).to_have_count(1)
    shot("merged")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_role("button", name="People").click()
    page.get_by_role("button", name="Undo: 1 person became Grace Hopper").click()
    expect(page.locator("#note")).to_have_text("Eileen and Grace Hopper are two people again.")
    expect(page.locator("#list > li")).to_have_count(2)
    expect(page.locator("#merges")).to_be_hidden()
    page.get_by_role("button", name="Erase Eileen").click()
    expect(page.locator(".question")).to_contain_text("There is no undo")
    answer(page)
    expect(page.locator("#list > li")).to_have_count(1)
    assert server.get("/v1/identities").json()["total"] == 1


def test_duplicates_are_reviewed_side_by_side(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path
) -> None:
    enrol(server, "Grace Hopper", hopper)
    page.get_by_role("button", name="Duplicates").click()
    page.get_by_role("button", name="Look for duplicates").click()
    expect(page.locator("#note")).to_contain_text("nobody seems to be enrolled twice")
    server.post(
        "/v1/identities?force=true",
        data={"name": "G. Hopper"},
        files={"photo": ("again.jpg", hopper.read_bytes())},
    )
    page.get_by_role("button", name="Look for duplicates").click()
    pairs = page.locator("#pairs > li")
    expect(pairs).to_have_count(1)
    expect(pairs.get_by_role("img")).to_have_count(2)
    shot("duplicates")
    page.get_by_role("button", name="are two people").click()
    expect(pairs).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(pairs).to_have_count(1)
    page.get_by_role("button", name="called Grace Hopper").click()
    expect(page.locator("#note")).to_contain_text("G. Hopper is Grace Hopper now")
    expect(pairs).to_have_count(0)
    assert server.get("/v1/identities").json()["total"] == 1
    page.get_by_role("button", name="Undo").click()
    expect(pairs).to_have_count(1)


def test_a_wrong_name_is_reviewed(
    page: Page, shot: Shot, server: httpx.Client, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    misfile(server, tmp_path, hopper, collins)
    page.get_by_role("button", name="Duplicates").click()
    page.get_by_role("button", name="Look for duplicates").click()
    doubted = page.locator("#doubted > li")
    expect(doubted).to_have_count(1)
    expect(page.locator("#note")).to_contain_text("1 face seems to be under a wrong name")
    expect(doubted.get_by_role("img")).to_have_count(2)
    shot("misfiled")
    page.get_by_role("button", name="wrong.jpg is Eileen").click()
    expect(doubted).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(doubted).to_have_count(1)
    page.get_by_role("button", name="Put wrong.jpg under Grace").click()
    expect(page.locator("#note")).to_contain_text("wrong.jpg is Grace now")
    expect(doubted).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(doubted).to_have_count(1)


def test_the_promise_is_said_and_drawn(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path
) -> None:
    page.get_by_role("button", name="Promise").click()
    expect(page.locator("#words")).to_contain_text("Nobody is enrolled yet")
    expect(page.locator("#curve polyline")).to_be_visible()
    expect(page.locator("#curve circle")).to_have_count(0)
    enrol(server, "Grace Hopper", hopper)
    page.get_by_role("button", name="Promise").click()
    expect(page.locator("#words")).to_contain_text("with so few people it says little")
    expect(page.locator("#words")).to_contain_text("at most 1.0 % of strangers are given a name")
    expect(page.locator("#curve polyline")).to_be_visible()
    told = server.get("/v1/calibration").json()
    shown = f"{min(99.9, 100 * told['known_found']):.1f} %"
    expect(page.locator("#words")).to_contain_text(shown)
    shot("promise")


def test_a_photo_is_taken_dropped_and_pasted(page: Page, shot: Shot, hopper: Path) -> None:
    page.get_by_role("button", name="Take one").click()
    expect(page.locator("#booth")).to_be_visible()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Take the photo").click()
    expect(page.locator("#note")).to_contain_text("No face of at least")
    file = io.BytesIO()
    Image.open(hopper).save(file, "PNG")
    give = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
        const how = kind === "drop" ? { dataTransfer: data } : { clipboardData: data };
        const event = kind === "drop" ? new DragEvent(kind, how) : new ClipboardEvent(kind, how);
        document.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(give, [kind, list(file.getvalue())])
        expect(page.locator("#note")).to_contain_text("1 face: no one we know")
        ask(page, Path(__file__))
        expect(page.locator("#note.bad")).to_be_visible()


def test_it_is_used_with_the_keyboard_alone(page: Page, server: httpx.Client, hopper: Path) -> None:
    enrol(server, "Grace", hopper)
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
    assert reached == ["help", "Ask", "People", "Duplicates", "Promise", "file", "camera"]
    for _ in range(4):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#list > li")).to_have_count(1)
    page.get_by_role("button", name="Rename Grace").focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog input")).to_be_focused()
    page.locator("dialog input").fill("Grace Hopper")
    page.keyboard.press("Enter")
    expect(page.locator("#list h2")).to_have_text("Grace Hopper")
    page.get_by_role("button", name="Erase Grace Hopper").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Erase Grace Hopper")).to_be_focused()
    assert server.get("/v1/identities").json()["total"] == 1


def test_a_key_is_asked_for_and_kept_for_the_tab(
    page: Page, shot: Shot, tmp_path: Path, server: httpx.Client, hopper: Path
) -> None:
    with Gallery.open(tmp_path / "home") as opened, opened.database.writing() as session:
        _, key = api_keys.create(session, "the desk", ["query"], 600)
    page.wait_for_timeout(1100)
    ask(page, hopper)
    expect(page.locator(".question")).to_contain_text("A key is needed")
    expect(page.locator("dialog input")).to_have_attribute("type", "password")
    shot("key")
    answer(page, key)
    expect(page.locator("#note")).to_contain_text("1 face: no one we know")
    page.get_by_role("button", name="People").click()
    expect(page.locator("#note.bad")).to_contain_text("scope enrol")
    assert not re.search(key, page.content())
