"""Erased is gone: from every file and from what was learned; the receipt says what is elsewhere."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from gallery.admin.backup import restore
from gallery.config import ENCODINGS_FOLDER, load_settings
from gallery.errors import (
    DatabaseBusy,
    ErasureIncomplete,
    FaceNotFound,
    IdentityNotFound,
    LastFace,
)
from gallery.gallery import Gallery
from gallery.matching.recalibration import Evidence
from gallery.package_data import CARD_FILE, HEAD_FILE, PLOT_FILE, shipped_file
from gallery.store import audit, backups, encoding_cache, faces, identities, kept_images
from gallery.store.change_log import remember_to_scrub, scrubbed, to_scrub
from gallery.training.calibrate_gallery import calibrate_on
from gallery.types import Encodings
from tests.conftest import AddFace
from tests.training.test_calibrate_gallery import peopled, strangers  # noqa: F401  a fixture

PICTURES = [bytes(np.random.default_rng(i).integers(0, 256, 3000, np.uint8)) for i in range(3)]


@pytest.fixture
def rows(unit_rows) -> Encodings:
    return unit_rows(12, 8)


@pytest.fixture
def people(gallery: Gallery, rows: Encodings, add_face: AddFace) -> Gallery:
    """Ada Lovelace of three faces, Annabel of one, with a picture of each of Ada's."""
    for i in range(3):
        face = add_face(gallery.database, "Ada Lovelace", rows.row(i), i)
        with gallery.database.writing() as session:
            kept_images.add_thumbnail(session, face, PICTURES[i])
    add_face(gallery.database, "Annabel", rows.row(3), 3)
    gallery.index.save()
    return gallery


def files_of(gallery: Gallery) -> list[Path]:
    folders = (gallery.settings.home, gallery.settings.cache)
    return [f for folder in folders for f in folder.rglob("*") if f.is_file()]


def holding(gallery: Gallery, *contents: bytes) -> set[str]:
    """Which files hold any of these bytes; without our own readers."""
    return {f.name for f in files_of(gallery) if any(c in f.read_bytes() for c in contents)}


def forms(row: np.ndarray) -> list[bytes]:
    return [row.tobytes(), row.astype(np.float16).tobytes(), row.astype(np.float64).tobytes()]


def test_a_person_is_in_no_file_any_more(people: Gallery, rows: Encodings) -> None:
    cached = people.settings.cache / ENCODINGS_FOLDER / "of-a-folder.npz"
    cached.parent.mkdir(exist_ok=True)
    encoding_cache.add(
        cached,
        {
            "people/ada/1.jpg|1|2": (rows.vectors[1], "0" * 64, ""),
            "people/annabel/1.jpg|1|2": (rows.vectors[3], "1" * 64, ""),
        },
    )
    damaged = cached.with_name("damaged.npz")
    damaged.write_bytes(b"no archive, with Ada Lovelace in it")
    assert holding(people, *forms(rows.vectors[0])) >= {"faces.index"}
    receipt = people.forget("Ada Lovelace")
    assert (
        holding(people, b"Ada Lovelace", "Ada Lovelace".encode("utf-32-le"), b"photos/1.jpg")
        == set()
    )
    assert holding(people, *(f for row in rows.vectors[:3] for f in forms(row))) == set()
    assert holding(people, *(picture[1000:1040] for picture in PICTURES)) == set()
    assert holding(people, rows.vectors[3].tobytes()) == {"gallery.db", "of-a-folder.npz"}
    assert list(encoding_cache.load(cached)) == ["people/annabel/1.jpg|1|2"]
    assert not damaged.exists()
    assert receipt.erased == {
        "faces": 3, "thumbnails": 3, "merges": 0, "distinct": 0, "cached_photos": 1,
    }  # fmt: skip
    assert receipt.searched_bytes > 0 and receipt.learned == () and receipt.backups == ()
    with people.database.reading() as session:
        (noted,) = [e for e in audit.entries(session, 50) if e.action == "forget"]
    assert (noted.identity_id, noted.outcome) == (receipt.identity_id, receipt.id)


def test_what_a_merge_put_aside_goes_too(
    people: Gallery, rows: Encodings, add_face: AddFace
) -> None:
    add_face(people.database, "A. Byron", rows.row(5), 0)  # a photo that Ada is enrolled from
    add_face(people.database, "A. Byron", rows.row(6), 6)
    people.describe("A. Byron", external_id="born-1815", details={"title": "countess"})
    people.merge("Ada Lovelace", ["A. Byron"])
    assert holding(people, b"A. Byron", b"born-1815")
    people.forget("Ada Lovelace")
    assert holding(people, b"A. Byron", b"born-1815", b"countess") == set()
    assert holding(people, *(f for row in rows.vectors[5:7] for f in forms(row))) == set()


def test_a_name_that_is_a_part_of_another_persons_is_no_trace(
    people: Gallery, rows: Encodings, add_face: AddFace
) -> None:
    add_face(people.database, "Annabel Lee", rows.row(4), 4)
    assert people.forget("Annabel").faces == 1
    assert holding(people, b"Annabel Lee") == {"gallery.db"}


def test_a_picture_that_somebody_else_is_enrolled_from_too_is_no_trace(
    people: Gallery, rows: Encodings, add_face: AddFace
) -> None:
    add_face(people.database, "Countess of Lovelace", rows.row(0), 0)
    receipt = people.forget("Ada Lovelace")
    assert receipt.faces == 3
    assert holding(people, rows.vectors[0].tobytes()) == {"gallery.db"}
    assert holding(people, rows.vectors[1].tobytes()) == set()


def test_a_file_of_the_users_own_is_named_and_left(people: Gallery, rows: Encodings) -> None:
    note = people.settings.home / "notes.txt"
    note.write_text("call Ada Lovelace")
    with pytest.raises(ErasureIncomplete, match=r"notes\.txt"):
        people.forget("Ada Lovelace")
    assert note.read_text() == "call Ada Lovelace"
    assert [record.name for record in people.identities()] == ["Annabel"]
    assert holding(people, rows.vectors[0].tobytes()) == set()


def test_single_faces_go_and_the_last_one_stays(people: Gallery, rows: Encodings) -> None:
    first, second, third = (f.id for f in people.identity("Ada Lovelace")[1])
    (receipt,) = people.forget_faces([second])
    assert (receipt.whole, receipt.faces, receipt.erased["thumbnails"]) == (False, 1, 1)
    assert holding(people, *forms(rows.vectors[1]), b"photos/1.jpg") == set()
    assert holding(people, rows.vectors[0].tobytes()) == {"gallery.db"}
    with pytest.raises(LastFace, match=f"{first}, {third}.*forget 1"):
        people.forget_faces([first, third])
    with pytest.raises(FaceNotFound, match=str(second)):
        people.forget_faces([first, second])
    assert [f.id for f in people.identity("Ada Lovelace")[1]] == [first, third]
    with people.database.reading() as session:
        assert faces.count(session) == 3


def test_all_faces_of_a_photo_are_found_by_its_hash(people: Gallery) -> None:
    sha256 = people.identity("Ada Lovelace")[1][1].photo_sha256
    assert people.faces_from(sha256.upper()) == [2]
    with pytest.raises(FaceNotFound):
        people.faces_from("0" * 64)


def test_a_receipt_names_the_backups_that_hold_it_still(people: Gallery, tmp_path: Path) -> None:
    before = people.back_up(tmp_path / "before.backup")
    assert [b.id for b in people.forget("Ada Lovelace").backups] == [before.id]
    people.back_up(tmp_path / "after.backup")
    assert {b.id for b in people.forget("Annabel").backups} >= {before.id}


def test_who_came_after_a_backup_is_not_in_it(
    people: Gallery, tmp_path: Path, rows: Encodings, add_face: AddFace
) -> None:
    people.back_up(tmp_path / "before.backup")
    add_face(people.database, "Grace Hopper", rows.row(9), 9)
    assert people.forget("Grace Hopper").backups == ()


# Learned


def test_a_calibration_is_fitted_again_without_them(peopled: Gallery) -> None:  # noqa: F811
    judge = peopled.scorer
    fitted = calibrate_on(judge.head, judge.point(), peopled.encodings(), strangers(80), seed=0)
    number = peopled.keep_calibration(
        fitted.adjustment.as_json(), fitted.report, fitted.evidence.as_json()
    )
    receipt = peopled.forget("person 03")
    (said,) = receipt.learned
    assert said.startswith(f"calibration {number}: fitted again without them, as calibration")
    (kept,) = peopled.calibrations()
    assert kept.in_use and kept.id != number and kept.report["identities"] == 11
    evidence = Evidence.from_json(kept.evidence or {})
    assert receipt.identity_id not in evidence.identities
    # It is what a calibration on the same strangers without that person would have been.
    anew = calibrate_on(judge.head, judge.own_point(), peopled.encodings(), strangers(80), seed=0)
    assert judge.point().bias == pytest.approx(anew.report["after"]["bias"], abs=1e-3)


def test_a_calibration_that_cannot_be_fitted_again_is_dropped(peopled: Gallery) -> None:  # noqa: F811
    before = peopled.scorer.point()
    peopled.keep_calibration({**before.adjustment.as_json(), "offset": 3.0}, {}, None)  # type: ignore[arg-type]
    (said,) = peopled.forget("person 03").learned
    assert "dropped" in said and "gallery calibrate" in said
    assert peopled.calibrations() == []
    assert peopled.scorer.point() == peopled.scorer.own_point()


@pytest.mark.parametrize(
    ("source", "goes"),
    [
        ({"folder": "", "newest_face_id": 4}, True),
        ({"folder": ""}, True),
        ({"folder": "", "newest_face_id": 0}, False),
        ({"folder": "lfw", "part": "train"}, False),
    ],
)
def test_a_head_that_was_learned_from_them_goes(
    people: Gallery, source: dict[str, object], goes: bool
) -> None:
    home = people.settings.home
    (home / HEAD_FILE).write_bytes(shipped_file(HEAD_FILE).read_bytes())
    (home / PLOT_FILE).write_bytes(b"a plot")
    (home / CARD_FILE).write_text(json.dumps({"source": source}))
    judge = people.scorer
    receipt = people.forget("Ada Lovelace")
    assert (people.scorer is judge) is not goes  # an open gallery does not go on with it
    for name in (HEAD_FILE, CARD_FILE, PLOT_FILE):
        assert (home / name).exists() is not goes
    assert bool(receipt.learned) is goes


# Expiry


def test_who_has_expired_is_erased_and_nobody_else(people: Gallery, rows: Encodings) -> None:
    people.describe("Annabel", details={}, expires="30d")
    assert people.expired() == [] and people.expire() == []
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    people.describe("Ada Lovelace", details={}, expires=past)
    assert [record.name for record in people.expired()] == ["Ada Lovelace"]
    (receipt,) = people.expire()
    assert receipt.whole and [r.name for r in people.identities()] == ["Annabel"]
    assert holding(people, *forms(rows.vectors[0]), b"Ada Lovelace") == set()
    people.describe("Annabel", details={}, expires="")
    assert people.identity("Annabel")[0].expires_at is None


def test_a_merge_cannot_bring_an_erasure_closer_and_gives_an_expiry_back(people: Gallery) -> None:
    people.describe("Annabel", details={}, expires="2031-01-01")
    merged = people.merge("Ada Lovelace", ["Annabel"])
    assert merged.identity.expires_at is None
    people.undo_merge(merged.merge_id)
    assert people.identity("Annabel")[0].expires_at == datetime(2031, 1, 1, tzinfo=UTC)


def test_several_are_erased_with_one_search(people: Gallery, rows: Encodings) -> None:
    for name in ("Ada Lovelace", "Annabel"):
        people.describe(name, details={}, expires="2020-01-01")
    due = [record.id for record in people.expired()]
    receipts = people.expire()
    assert sorted(receipt.identity_id for receipt in receipts) == sorted(due)
    assert people.identities() == []
    assert holding(people, *(f for row in rows.vectors[:4] for f in forms(row))) == set()


# The search as a command of its own


def test_someone_who_is_there_is_found_and_someone_gone_is_not(people: Gallery) -> None:
    here = people.traces("1")
    assert here.here and not here.clean
    assert {hit.file.name for hit in here.hits} >= {"gallery.db-wal", "faces.index"}
    receipt = people.forget("Ada Lovelace")
    gone = people.traces("1")
    assert gone.clean and any(receipt.id in line for line in gone.said)
    assert people.traces("Ada Lovelace").clean
    (people.settings.home / "left.txt").write_text("Ada Lovelace")
    assert not people.traces("Ada Lovelace").clean


def test_an_erasure_that_a_reader_hindered_is_finished_when_it_is_asked_for_again(
    people: Gallery, rows: Encodings
) -> None:
    with Gallery.open(
        people.settings.home, cache=people.settings.cache, busy_timeout=0.05
    ) as hasty:
        with people.database.reading() as session:
            faces.count(session)
            with pytest.raises(DatabaseBusy):
                hasty.forget("Ada Lovelace")
            with pytest.raises(DatabaseBusy):
                hasty.forget("Ada Lovelace")
        assert holding(people, b"Ada Lovelace")
        with pytest.raises(IdentityNotFound):
            hasty.forget("Ada Lovelace")
    assert holding(people, b"Ada Lovelace", *forms(rows.vectors[0])) == set()


def test_upkeep_finishes_it_too(people: Gallery, rows: Encodings) -> None:
    with people.database.writing() as session:
        identities.remove(session, 1)
    assert holding(people, rows.vectors[0].tobytes())
    assert people.upkeep() == []
    assert holding(people, b"Ada Lovelace", *forms(rows.vectors[0])) == set()


# Found by readers


@pytest.mark.parametrize("value", ["Z\u00fcrich 8001", "source", "identity", "2026-11-24", "12345"])
def test_a_fact_that_others_share_is_no_trace(people: Gallery, value: str) -> None:
    people.describe("Annabel", details={"city": value}, external_id="10001")
    people.describe("Ada Lovelace", details={"city": value}, external_id="10002")
    assert people.forget("Ada Lovelace").whole


def test_a_photo_that_is_erased_does_not_come_back_with_a_merge(
    people: Gallery, rows: Encodings, add_face: AddFace
) -> None:
    add_face(people.database, "A. Byron", rows.row(5), 0)
    add_face(people.database, "A. Byron", rows.row(6), 6)
    merged = people.merge("Ada Lovelace", ["A. Byron"])  # the face of photo 0 is put aside
    (receipt,) = people.forget_faces(people.faces_from(people.identity(1)[1][0].photo_sha256))
    assert receipt.faces == 1
    assert (
        holding(people, b"photos/0.jpg", *forms(rows.vectors[0]), *forms(rows.vectors[5])) == set()
    )
    people.undo_merge(merged.merge_id)
    assert [face.photo for face in people.identity("A. Byron")[1]] == ["photos/6.jpg"]


def test_a_backup_made_before_a_merge_is_named_and_restored_without_them(
    people: Gallery, tmp_path: Path, rows: Encodings, add_face: AddFace
) -> None:
    made = people.back_up(tmp_path / "x.backup")
    add_face(people.database, "Newcomer", rows.row(7), 7)
    people.merge("Newcomer", ["Ada Lovelace"])
    receipt = people.forget("Newcomer")
    assert [backup.id for backup in receipt.backups] == [made.id]
    assert receipt.also == (1,)
    settings = load_settings(home=tmp_path / "again", cache=people.settings.cache)
    restore(tmp_path / "x.backup", settings, receipt.also)
    with Gallery(settings) as again:
        assert [record.name for record in again.identities()] == ["Annabel"]


def test_a_backup_that_was_begun_may_hold_whoever_comes(people: Gallery) -> None:
    with people.database.writing() as session:
        begun = backups.begin(session)
    (named,) = people.forget("Annabel").backups
    assert (named.id, named.made) == (begun.id, False)
    assert "no backup yet" in next(f.message for f in people.check() if f.part == "backups")


def test_a_hindered_erasure_keeps_the_calibration(peopled: Gallery) -> None:  # noqa: F811
    judge = peopled.scorer
    fitted = calibrate_on(judge.head, judge.point(), peopled.encodings(), strangers(80), seed=0)
    peopled.keep_calibration(fitted.adjustment.as_json(), fitted.report, fitted.evidence.as_json())
    home, cache = peopled.settings.home, peopled.settings.cache
    with (
        Gallery.open(home, cache=cache, busy_timeout=0.05) as hasty,
        peopled.database.reading() as session,
    ):
        faces.count(session)
        with pytest.raises(DatabaseBusy):
            hasty.forget("person 03")
    (kept,) = peopled.calibrations()
    assert kept.in_use and kept.report["fitted_again_without"] == 1


def test_two_who_erase_the_last_faces_at_once_leave_one(people: Gallery) -> None:
    first, *others = (face.id for face in people.identity("Ada Lovelace")[1])
    people.forget_faces(others[:1])
    ended: list[object] = []

    def erase(face: int) -> None:
        try:
            ended.append(people.forget_faces([face]))
        except (LastFace, FaceNotFound) as error:
            ended.append(error)

    threads = [threading.Thread(target=erase, args=[face]) for face in (first, others[1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(one, LastFace) for one in ended) == [False, True]
    assert people.identity("Ada Lovelace")[0].faces == 1


def test_a_note_that_came_meanwhile_is_not_taken_away(people: Gallery) -> None:
    with people.database.writing() as session:
        identities.add(session, "Faceless Fred")
        remember_to_scrub(session)
        first = to_scrub(session) or ""
    with people.database.writing() as session:
        identities.remove(session, identities.get(session, "Faceless Fred").id)
        scrubbed(session, first)
        assert to_scrub(session) not in (None, first)


def test_who_asks_again_is_told_when_it_was(people: Gallery) -> None:
    receipt = people.forget("Ada Lovelace")
    with pytest.raises(IdentityNotFound, match=f"erased at .* erasure {receipt.id}"):
        people.forget(1)
