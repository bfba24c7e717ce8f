"""The page in everyday use."""

from __future__ import annotations

import io
import re
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Page, expect

from gallery.gallery import Gallery
from gallery.store import api_keys
from tests.api.page.actions import Shot, choose_photo, confirm
from tests.api.requests import enrol, enrol_mislabelled, force_enrol


def test_stranger_is_enrolled_and_then_matched(page: Page, shot: Shot, hopper: Path) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Who is this?")
    expect(page.locator("#begin")).to_contain_text("No one is enrolled yet")
    shot("empty")
    choose_photo(page, hopper)
    expect(page.locator("#note")).to_have_text("1 face: no match.")
    shot("unknown")
    page.get_by_role("button", name="Enrol face 1").click()
    confirm(page, "Grace Hopper")
    expect(page.locator("#note")).to_have_text("Enrolled as Grace Hopper (new identity).")
    expect(page.locator("#begin")).to_be_hidden()
    choose_photo(page, hopper)
    expect(page.locator("#note")).to_contain_text("1 face: Grace Hopper (99.9%)")
    expect(page.locator("#answers > li.match h2")).to_have_text("Grace Hopper (99.9%)")
    expect(page.locator(".box.match")).to_be_visible()
    expect(page.get_by_role("img", name="Enrolled face of Grace Hopper")).to_be_visible()
    expect(page.locator("details")).to_contain_text("About 1.0% of strangers")
    shot("match")


def test_each_face_of_a_photo_is_decided_and_enrolled(
    page: Page, shot: Shot, server: httpx.Client, together: Path, hopper: Path
) -> None:
    enrol(server, "Grace Hopper", hopper)
    choose_photo(page, together)
    expect(page.locator("#answers > li")).to_have_count(2)
    expect(page.locator("#note")).to_contain_text("2 faces: Grace Hopper")
    expect(page.locator("#whole")).to_have_text(re.compile("somebody would be named in about 2.0%"))
    shot("several")
    stranger = page.locator("#answers > li.unknown")
    stranger.get_by_role("button", name="Enrol").click()
    confirm(page, "Eileen Collins")
    expect(page.locator("#note")).to_contain_text("Enrolled as Eileen Collins")
    expect(page.locator("#answers > li").nth(1)).to_contain_text("Eileen Collins, enrolled")
    expect(page.locator("#answers > li.unknown")).to_have_count(0)
    expect(page.locator(".box.match")).to_have_count(2)
    expect(page.locator("#begin")).to_be_hidden()
    choose_photo(page, together)
    expect(page.locator("#answers > li.match")).to_have_count(2)


def test_face_that_matches_another_identity_is_enrolled_only_after_confirmation(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path
) -> None:
    enrol(server, "Grace Hopper", hopper)
    choose_photo(page, hopper)
    page.get_by_role("button", name="Enrol face 1").click()
    confirm(page, "G. Hopper")
    expect(page.locator(".question")).to_contain_text("This face matches Grace Hopper")
    shot("refused")
    confirm(page)
    expect(page.locator("#note")).to_contain_text("Enrolled as G. Hopper")
    choose_photo(page, hopper)
    expect(page.locator("#note")).to_contain_text("2 people match")
    shot("ambiguous")


def test_near_name_is_asked_about(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path, collins: Path
) -> None:
    enrol(server, "Grace Hopper", hopper)
    choose_photo(page, collins)
    page.get_by_role("button", name="Enrol face 1").click()
    confirm(page, "grace hopper")
    question = page.locator(".question")
    expect(question).to_have_text("Grace Hopper is there already: the same person?")
    shot("near")
    page.get_by_role("button", name="Another person").click()
    expect(page.locator("#note")).to_have_text("Enrolled as grace hopper (new identity).")
    choose_photo(page, hopper)
    page.get_by_role("button", name="Enrol face 1").click()
    confirm(page, "GRACE-HOPPER")
    expect(question).to_contain_text("are there already: which of them?")
    page.get_by_role("button", name="Enrol as Grace Hopper", exact=True).click()
    expect(page.locator("#note")).to_contain_text("already enrolled for Grace Hopper;")


def test_no_face_invalid_photo_and_no_server_are_reported(
    page: Page, shot: Shot, no_one: list[Path], tmp_path: Path
) -> None:
    choose_photo(page, no_one[0])
    expect(page.locator("#note")).to_contain_text("No face of at least 40 pixels")
    (tmp_path / "text.jpg").write_bytes(b"this is text")
    choose_photo(page, tmp_path / "text.jpg")
    expect(page.locator("#note.bad")).to_contain_text("is not a photo in a supported format")
    shot("error")
    page.route("**/v1/**", lambda route: route.abort())
    choose_photo(page, no_one[0])
    expect(page.locator("#note.bad")).to_contain_text("The server does not answer")


def test_people_are_searched_renamed_merged_restored_and_erased(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path, collins: Path
) -> None:
    page.get_by_role("button", name="People").click()
    expect(page.locator("#count")).to_contain_text("No one is enrolled yet")
    enrol(server, "Grace", hopper)
    enrol(server, "Eileen", collins)
    page.get_by_label("Search by name").fill("grac")
    expect(page.locator("#list > li")).to_have_count(1)
    page.get_by_role("button", name="Rename Grace").click()
    confirm(page, "Grace Hopper")
    expect(page.locator("#list h2")).to_have_text("Grace Hopper")
    page.get_by_label("Search by name").fill("")
    page.locator("#list summary").first.click()
    expect(page.get_by_role("img", name="Enrolled face of Eileen")).to_be_visible()
    shot("people")
    page.get_by_role("button", name="Merge Eileen").click()
    confirm(page, "Grace Hopper")
    expect(page.locator("#note")).to_contain_text(
        "Eileen merged into Grace Hopper, now with 2 faces"
    )
    expect(page.locator("#list > li")).to_have_count(1)
    shot("merged")
    page.get_by_role("button", name="Query", exact=True).click()
    page.get_by_role("button", name="People").click()
    page.get_by_role("button", name="Undo: 1 person merged into Grace Hopper").click()
    expect(page.locator("#note")).to_have_text(
        "Merge undone: Eileen and Grace Hopper are separate again."
    )
    expect(page.locator("#list > li")).to_have_count(2)
    expect(page.locator("#merges")).to_be_hidden()
    page.get_by_role("button", name="Erase Eileen").click()
    expect(page.locator(".question")).to_contain_text("This cannot be undone")
    confirm(page)
    expect(page.locator("#list > li")).to_have_count(1)
    assert server.get("/v1/identities").json()["total"] == 1


def test_duplicates_are_reviewed_side_by_side(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path
) -> None:
    enrol(server, "Grace Hopper", hopper)
    page.get_by_role("button", name="Duplicates").click()
    page.get_by_role("button", name="Find duplicates").click()
    expect(page.locator("#note")).to_contain_text("no duplicates or mislabelled faces found")
    force_enrol(server, "G. Hopper", hopper, "again.jpg")
    page.get_by_role("button", name="Find duplicates").click()
    pairs = page.locator("#pairs > li")
    expect(pairs).to_have_count(1)
    expect(pairs.get_by_role("img")).to_have_count(2)
    shot("duplicates")
    page.get_by_role("button", name="are different people").click()
    expect(pairs).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(pairs).to_have_count(1)
    page.get_by_role("button", name="the same person, named Grace Hopper").click()
    expect(page.locator("#note")).to_contain_text("G. Hopper merged into Grace Hopper")
    expect(pairs).to_have_count(0)
    assert server.get("/v1/identities").json()["total"] == 1
    page.get_by_role("button", name="Undo").click()
    expect(pairs).to_have_count(1)


def test_mislabelled_face_is_reviewed(
    page: Page, shot: Shot, server: httpx.Client, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    enrol_mislabelled(server, tmp_path, hopper, collins)
    page.get_by_role("button", name="Duplicates").click()
    page.get_by_role("button", name="Find duplicates").click()
    mislabelled = page.locator("#doubted > li")
    expect(mislabelled).to_have_count(1)
    expect(page.locator("#note")).to_contain_text("1 possibly mislabelled face")
    expect(mislabelled.get_by_role("img")).to_have_count(2)
    shot("mislabelled")
    page.get_by_role("button", name="wrong.jpg is Eileen").click()
    expect(mislabelled).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(mislabelled).to_have_count(1)
    page.get_by_role("button", name="Move wrong.jpg to Grace").click()
    expect(page.locator("#note")).to_contain_text("wrong.jpg moved to Grace")
    expect(mislabelled).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(mislabelled).to_have_count(1)


def test_accuracy_is_described_and_drawn(
    page: Page, shot: Shot, server: httpx.Client, hopper: Path
) -> None:
    page.get_by_role("button", name="Accuracy").click()
    expect(page.locator("#words")).to_contain_text("No one is enrolled yet")
    expect(page.locator("#curve polyline")).to_be_visible()
    expect(page.locator("#curve circle")).to_have_count(0)
    enrol(server, "Grace Hopper", hopper)
    page.get_by_role("button", name="Accuracy").click()
    expect(page.locator("#words")).to_contain_text("a rough guide for a gallery this small")
    expect(page.locator("#words")).to_contain_text("about 1.0% of strangers get a match")
    expect(page.locator("#curve polyline")).to_be_visible()
    calibration = server.get("/v1/calibration").json()
    shown = f"{min(99.9, 100 * calibration['known_found']):.1f}%"
    expect(page.locator("#words")).to_contain_text(shown)
    shot("accuracy")


def test_photo_is_taken_dropped_and_pasted(page: Page, shot: Shot, hopper: Path) -> None:
    page.get_by_role("button", name="Take a photo").click()
    expect(page.locator("#booth")).to_be_visible()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Capture").click()
    expect(page.locator("#note")).to_contain_text("No face of at least", timeout=30_000)
    file = io.BytesIO()
    Image.open(hopper).save(file, "PNG")
    dispatch = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "photo.png", { type: "image/png" }));
        const init = kind === "drop" ? { dataTransfer: data } : { clipboardData: data };
        const event = kind === "drop" ? new DragEvent(kind, init) : new ClipboardEvent(kind, init);
        document.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(dispatch, [kind, list(file.getvalue())])
        expect(page.locator("#note")).to_contain_text("1 face: no match")
        choose_photo(page, Path(__file__))
        expect(page.locator("#note.bad")).to_be_visible()


def test_keyboard_is_enough(page: Page, server: httpx.Client, hopper: Path) -> None:
    enrol(server, "Grace", hopper)
    focused = []
    for _ in range(7):
        page.keyboard.press("Tab")
        focused.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
    assert focused == ["help", "Query", "People", "Duplicates", "Accuracy", "file", "camera"]
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


def test_key_is_requested_and_kept_for_the_tab(
    page: Page,
    shot: Shot,
    tmp_path: Path,
    server: httpx.Client,
    hopper: Path,
    uncached_keys: None,
) -> None:
    with Gallery.open(tmp_path / "home") as opened, opened.database.writing() as session:
        _, key = api_keys.create(session, "the desk", ["query"], 600)
    choose_photo(page, hopper)
    expect(page.locator(".question")).to_contain_text("This gallery needs a key")
    expect(page.locator("dialog input")).to_have_attribute("type", "password")
    shot("key")
    confirm(page, key)
    expect(page.locator("#note")).to_contain_text("1 face: no match")
    page.get_by_role("button", name="People").click()
    expect(page.locator("#note.bad")).to_contain_text("scope enrol")
    assert not re.search(key, page.content())
