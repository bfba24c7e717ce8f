"""Erasure: from every file and from what was learned; receipts list the backups that remain."""

from __future__ import annotations

import threading
from dataclasses import replace
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
from gallery.store import audit, backups, encoding_cache, faces, identities
from gallery.store.change_log import clear_scrub, pending_scrub, request_scrub
from gallery.store.records import FaceRecord, IdentityRecord
from gallery.types import Encodings
from tests.conftest import AddFace, UnitRows
from tests.erasure.conftest import PICTURES


def files_of(gallery: Gallery) -> list[Path]:
    folders = (gallery.settings.home, gallery.settings.cache)
    return [f for folder in folders for f in folder.rglob("*") if f.is_file()]


def holding(gallery: Gallery, *contents: bytes) -> set[str]:
    """Names of the files that contain any of these bytes, read independently of our own search."""
    return {f.name for f in files_of(gallery) if any(c in f.read_bytes() for c in contents)}


def number_formats(row: np.ndarray) -> list[bytes]:
    return [row.tobytes(), row.astype(np.float16).tobytes(), row.astype(np.float64).tobytes()]


def test_erased_person_is_in_no_file(people: Gallery, rows: Encodings) -> None:
    cached = people.settings.cache / ENCODINGS_FOLDER / "of-a-folder.npz"
    cached.parent.mkdir(exist_ok=True)
    encoding_cache.add(
        cached,
        {
            "people/ada/1.jpg|1|2": (rows.vectors[1], "0" * 64, ""),
            "people/annabel/1.jpg|1|2": (rows.vectors[3], "1" * 64, ""),
            # Photos that were never enrolled, in folders of that name.
            "people/Ada_Lovelace/9.jpg|1|2": (rows.vectors[5], "2" * 64, ""),
            "people/ada-lovelace/9.jpg|1|2": (rows.vectors[6], "3" * 64, ""),
        },
    )
    damaged = cached.with_name("damaged.npz")
    damaged.write_bytes(b"not an archive, but contains Ada Lovelace")
    assert holding(people, *number_formats(rows.vectors[0])) >= {"faces.index"}
    receipt = people.forget("Ada Lovelace")
    assert (
        holding(people, b"Ada Lovelace", "Ada Lovelace".encode("utf-32-le"), b"photos/1.jpg")
        == set()
    )
    assert holding(people, *(f for row in rows.vectors[:3] for f in number_formats(row))) == set()
    assert holding(people, *(picture[1000:1040] for picture in PICTURES)) == set()
    assert holding(people, rows.vectors[3].tobytes()) == {"gallery.db", "of-a-folder.npz"}
    assert list(encoding_cache.load(cached)) == ["people/annabel/1.jpg|1|2"]
    assert not damaged.exists()
    assert receipt.erased == {
        "faces": 3, "thumbnails": 3, "merges": 0, "distinct": 0, "cached_photos": 3,
    }  # fmt: skip
    assert receipt.searched_bytes > 0 and receipt.learned == () and receipt.backups == ()
    with people.database.reading() as session:
        (entry,) = [e for e in audit.entries(session, 50) if e.action == "forget"]
    assert (entry.identity_id, entry.outcome) == (receipt.identity_id, receipt.id)


def test_data_set_aside_by_a_merge_is_erased(
    people: Gallery, rows: Encodings, add_face: AddFace
) -> None:
    add_face(people.database, "A. Byron", rows.row(5), 0)  # a photo that Ada is enrolled from
    add_face(people.database, "A. Byron", rows.row(6), 6)
    people.describe("A. Byron", external_id="born-1815", details={"title": "countess"})
    people.merge("Ada Lovelace", ["A. Byron"])
    assert holding(people, b"A. Byron", b"born-1815")
    people.forget("Ada Lovelace")
    assert holding(people, b"A. Byron", b"born-1815", b"countess") == set()
    assert holding(people, *(f for row in rows.vectors[5:7] for f in number_formats(row))) == set()


def test_name_within_another_name_is_no_trace(
    people: Gallery, rows: Encodings, add_face: AddFace
) -> None:
    add_face(people.database, "Annabel Lee", rows.row(4), 4)
    assert people.forget("Annabel").faces == 1
    assert holding(people, b"Annabel Lee") == {"gallery.db"}


def test_photo_shared_with_another_identity_is_no_trace(
    people: Gallery, rows: Encodings, add_face: AddFace
) -> None:
    add_face(people.database, "Countess of Lovelace", rows.row(0), 0)
    receipt = people.forget("Ada Lovelace")
    assert receipt.faces == 3
    assert holding(people, rows.vectors[0].tobytes()) == {"gallery.db"}
    assert holding(people, rows.vectors[1].tobytes()) == set()


def test_users_own_file_is_reported_and_kept(people: Gallery, rows: Encodings) -> None:
    note = people.settings.home / "notes.txt"
    note.write_text("call Ada Lovelace")
    with pytest.raises(ErasureIncomplete, match=r"notes\.txt"):
        people.forget("Ada Lovelace")
    assert note.read_text() == "call Ada Lovelace"
    assert [record.name for record in people.identities()] == ["Annabel"]
    assert holding(people, rows.vectors[0].tobytes()) == set()


def test_single_faces_are_erased_but_not_the_last(people: Gallery, rows: Encodings) -> None:
    first, second, third = (f.id for f in people.identity("Ada Lovelace")[1])
    (receipt,) = people.forget_faces([second])
    assert (receipt.whole, receipt.faces, receipt.erased["thumbnails"]) == (False, 1, 1)
    assert holding(people, *number_formats(rows.vectors[1]), b"photos/1.jpg") == set()
    assert holding(people, rows.vectors[0].tobytes()) == {"gallery.db"}
    with pytest.raises(LastFace, match=f"{first}, {third}.*forget 1"):
        people.forget_faces([first, third])
    with pytest.raises(FaceNotFound, match=str(second)):
        people.forget_faces([first, second])
    assert [f.id for f in people.identity("Ada Lovelace")[1]] == [first, third]
    with people.database.reading() as session:
        assert faces.count(session) == 3


def test_faces_of_a_photo_are_found_by_its_hash(people: Gallery) -> None:
    sha256 = people.identity("Ada Lovelace")[1][1].photo_sha256
    assert people.faces_from(sha256.upper()) == [2]
    with pytest.raises(FaceNotFound):
        people.faces_from("0" * 64)


def test_receipt_lists_backups_that_contain_the_person(people: Gallery, tmp_path: Path) -> None:
    before = people.back_up(tmp_path / "before.backup")
    assert [b.id for b in people.forget("Ada Lovelace").backups] == [before.id]
    people.back_up(tmp_path / "after.backup")
    assert {b.id for b in people.forget("Annabel").backups} >= {before.id}


def test_receipt_omits_backups_made_before_the_enrolment(
    people: Gallery, tmp_path: Path, rows: Encodings, add_face: AddFace
) -> None:
    people.back_up(tmp_path / "before.backup")
    add_face(people.database, "Grace Hopper", rows.row(9), 9)
    assert people.forget("Grace Hopper").backups == ()


# Expiry


def test_only_expired_identities_are_erased(people: Gallery, rows: Encodings) -> None:
    people.describe("Annabel", details={}, expires="30d")
    assert people.expired() == [] and people.expire() == []
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    people.describe("Ada Lovelace", details={}, expires=past)
    assert [record.name for record in people.expired()] == ["Ada Lovelace"]
    (receipt,) = people.expire()
    assert receipt.whole and [r.name for r in people.identities()] == ["Annabel"]
    assert holding(people, *number_formats(rows.vectors[0]), b"Ada Lovelace") == set()
    people.describe("Annabel", details={}, expires="")
    assert people.identity("Annabel")[0].expires_at is None


def test_merge_keeps_the_earliest_expiry_and_undo_restores_each(people: Gallery) -> None:
    people.describe("Annabel", details={}, expires="2031-01-01")
    merged = people.merge("Ada Lovelace", ["Annabel"])
    assert merged.identity.expires_at == datetime(2031, 1, 1, tzinfo=UTC)
    people.undo_merge(merged.merge_id)
    assert people.identity("Annabel")[0].expires_at == datetime(2031, 1, 1, tzinfo=UTC)


def test_several_identities_are_erased_together(people: Gallery, rows: Encodings) -> None:
    for name in ("Ada Lovelace", "Annabel"):
        people.describe(name, details={}, expires="2020-01-01")
    expired = [record.id for record in people.expired()]
    receipts = people.expire()
    assert sorted(receipt.identity_id for receipt in receipts) == sorted(expired)
    assert people.identities() == []
    assert holding(people, *(f for row in rows.vectors[:4] for f in number_formats(row))) == set()


# Searching for traces


def test_a_condition_is_checked_with_the_erasure(
    people: Gallery, rows: Encodings, add_face: AddFace
) -> None:
    """Somebody is enrolled from one more photo between the check and the erasure."""
    seen: list[tuple[IdentityRecord, list[FaceRecord]]] = []
    add_face(people.database, "Grace", replace(rows.row(4), agreement=np.float32([0.9])), 4)
    before = people.identity("Grace")
    assert before[1][0].faults  # they are part of what a client has seen

    def unchanged(record: IdentityRecord, enrolled: list[FaceRecord]) -> None:
        if not seen:
            add_face(people.database, record.name, rows.row(5), 5)
        seen.append((record, enrolled))
        if (record, enrolled) != before:
            raise LookupError("changed")

    with pytest.raises(LookupError):
        people.forget("Grace", first=unchanged)
    assert seen == [before, people.identity("Grace")] and seen[1][0].faces == 2


def test_a_row_that_reads_as_a_longer_name_is_no_trace(
    gallery: Gallery, rows: Encodings, add_face: AddFace
) -> None:
    """In the index of names, the id 51 follows the name, as the byte of the digit 3."""
    names = [f"person {i}" for i in range(51)]
    for i, name in enumerate(reversed(names)):  # person 0 has the id 51
        add_face(gallery.database, name, rows.row(0), i)
    add_face(gallery.database, "person 03", rows.row(1), 51)
    gallery.index.save()
    with gallery.database.writing() as session:
        request_scrub(session)  # so that the file is rebuilt, and searched after that
    assert gallery.forget("person 03").whole


def test_somebody_whose_date_was_moved_is_not_erased(people: Gallery) -> None:
    people.expire_at("Annabel", "2020-01-01")
    with people.database.reading() as session:
        due = identities.expired_ids(session)
        ada = identities.get(session, "Ada Lovelace").id
    eraser = people._eraser()
    receipts = eraser.erase_identities([ada, *due], "expire", first=identities.require_expired)
    assert [receipt.identity_id for receipt in receipts] == due
    assert people.identity("Ada Lovelace")[0].faces == 3


def test_many_identities_are_erased_in_one_go(
    gallery: Gallery, unit_rows: UnitRows, add_face: AddFace
) -> None:
    rows = unit_rows(300, 3)
    for i in range(300):
        add_face(gallery.database, f"Somebody {i:03}", rows.row(i), i)
    gallery.index.save()
    with gallery.database.reading() as session:
        due = identities.ids(session)[::2]
    eraser = gallery._eraser()
    steps: list[tuple[int, int]] = []
    receipts = eraser.erase_identities([*due, 999], "expire", lambda *step: steps.append(step))
    assert [receipt.identity_id for receipt in receipts] == due
    assert len({receipt.id for receipt in receipts}) == 150 and steps == [(151, 151)]
    assert gallery.index.problems() == []
    files = [f.read_bytes() for f in gallery.settings.home.rglob("*") if f.is_file()]
    for i in range(300):
        is_found = any(f"Somebody {i:03}".encode() in content for content in files)
        assert is_found is bool(i % 2), i


def test_traces_of_enrolled_and_erased_people(people: Gallery) -> None:
    enrolled = people.traces("1")
    assert enrolled.is_enrolled and not enrolled.clean
    assert {hit.file.name for hit in enrolled.hits} >= {"gallery.db-wal", "faces.index"}
    receipt = people.forget("Ada Lovelace")
    erased = people.traces("1")
    assert erased.clean and any(receipt.id in line for line in erased.lines)
    assert people.traces("Ada Lovelace").clean
    (people.settings.home / "left.txt").write_text("Ada Lovelace")
    assert not people.traces("Ada Lovelace").clean


def test_erasure_blocked_by_a_reader_is_finished_on_retry(people: Gallery, rows: Encodings) -> None:
    with Gallery.open(
        people.settings.home, cache=people.settings.cache, busy_timeout=0.05
    ) as impatient:
        with people.database.reading() as session:
            faces.count(session)
            with pytest.raises(DatabaseBusy):
                impatient.forget("Ada Lovelace")
            with pytest.raises(DatabaseBusy):
                impatient.forget("Ada Lovelace")
        assert holding(people, b"Ada Lovelace")
        with pytest.raises(IdentityNotFound):
            impatient.forget("Ada Lovelace")
    assert holding(people, b"Ada Lovelace", *number_formats(rows.vectors[0])) == set()


def test_upkeep_finishes_an_erasure(people: Gallery, rows: Encodings) -> None:
    with people.database.writing() as session:
        identities.remove(session, 1)
    assert holding(people, rows.vectors[0].tobytes())
    assert people.upkeep() == []
    assert holding(people, b"Ada Lovelace", *number_formats(rows.vectors[0])) == set()


# Special cases


@pytest.mark.parametrize("value", ["Z\u00fcrich 8001", "source", "identity", "2026-11-24", "12345"])
def test_detail_shared_with_others_is_no_trace(people: Gallery, value: str) -> None:
    people.describe("Annabel", details={"city": value}, external_id="10001")
    people.describe("Ada Lovelace", details={"city": value}, external_id="10002")
    assert people.forget("Ada Lovelace").whole


def test_undoing_a_merge_does_not_restore_an_erased_photo(
    people: Gallery, rows: Encodings, add_face: AddFace
) -> None:
    add_face(people.database, "A. Byron", rows.row(5), 0)
    add_face(people.database, "A. Byron", rows.row(6), 6)
    merged = people.merge("Ada Lovelace", ["A. Byron"])  # sets the face of photo 0 aside
    (receipt,) = people.forget_faces(people.faces_from(people.identity(1)[1][0].photo_sha256))
    assert receipt.faces == 1
    assert (
        holding(
            people,
            b"photos/0.jpg",
            *number_formats(rows.vectors[0]),
            *number_formats(rows.vectors[5]),
        )
        == set()
    )
    people.undo_merge(merged.merge_id)
    assert [face.photo for face in people.identity("A. Byron")[1]] == ["photos/6.jpg"]


def test_backup_made_before_a_merge_is_restored_without_the_person(
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


def test_receipt_lists_unfinished_backups(people: Gallery) -> None:
    with people.database.writing() as session:
        begun = backups.begin(session)
    (listed,) = people.forget("Annabel").backups
    assert (listed.id, listed.made) == (begun.id, False)
    assert "no backup yet" in next(f.message for f in people.check() if f.part == "backups")


def test_concurrent_erasures_never_erase_the_last_face(people: Gallery) -> None:
    first, *others = (face.id for face in people.identity("Ada Lovelace")[1])
    people.forget_faces(others[:1])
    results: list[object] = []

    def erase(face: int) -> None:
        try:
            results.append(people.forget_faces([face]))
        except (LastFace, FaceNotFound) as error:
            results.append(error)

    threads = [threading.Thread(target=erase, args=[face]) for face in (first, others[1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(result, LastFace) for result in results) == [False, True]
    assert people.identity("Ada Lovelace")[0].faces == 1


def test_scrub_note_of_a_later_erasure_is_kept(people: Gallery) -> None:
    with people.database.writing() as session:
        identities.add(session, "Faceless Fred")
        request_scrub(session)
        first = pending_scrub(session) or ""
    with people.database.writing() as session:
        identities.remove(session, identities.get(session, "Faceless Fred").id)
        clear_scrub(session, first)
        assert pending_scrub(session) not in (None, first)


def test_erasing_again_reports_the_earlier_erasure(people: Gallery) -> None:
    receipt = people.forget("Ada Lovelace")
    with pytest.raises(IdentityNotFound, match=f"erased at .* erasure {receipt.id}"):
        people.forget(1)


def test_erased_person_is_not_kept_with_the_operating_point(people: Gallery) -> None:
    """It caches the encodings of enrolled people."""
    before = people.scorer.operating_point().impostors
    erased, _ = people.identity("Annabel")
    assert before is not None and erased.id in before.identity_ids
    people.forget(erased.id)
    assert people.scorer._cached is None
    impostors = people.scorer.operating_point().impostors
    assert impostors is not None and erased.id not in impostors.identity_ids
