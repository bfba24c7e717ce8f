"""Identities, keys, audit trail, export and check at the command line; unusable homes."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from gallery.config import DATABASE_FILE, INDEX_FILE, load_settings
from gallery.errors import SettingInvalid
from gallery.gallery import Gallery
from gallery.store import faces
from gallery.store.change_log import pending_scrub
from gallery.store.database import Database
from tests.cli.conftest import Run


def test_list_and_show(two: Run, hopper: Path) -> None:
    listed = two("identities", "list", "--json").lines
    assert [(i["name"], i["faces"]) for i in listed] == [("Eileen Collins", 1), ("Grace Hopper", 1)]
    shown = two("identities", "show", "Grace Hopper", "--json").line
    assert shown["enrolled"][0]["photo"] == str(hopper)
    assert two("identities", "show", str(shown["id"]), "--json").line["name"] == "Grace Hopper"
    assert "Grace Hopper" in two("identities", "list").out


def test_rename_and_describe(two: Run) -> None:
    renamed = two("identities", "rename", "Grace Hopper", "Admiral Hopper", "--json").line
    assert renamed["name"] == "Admiral Hopper"
    taken = two("identities", "rename", "Admiral Hopper", "Eileen Collins")
    assert (taken.status, "already" in taken.err) == (2, True)
    described = two(
        "identities", "describe", "Admiral Hopper", "--external-id", "1906", "--detail",
        "rank=admiral", "--json",
    ).line  # fmt: skip
    assert (described["external_id"], described["details"]) == ("1906", {"rank": "admiral"})
    assert two("identities", "describe", "Eileen Collins", "--external-id", "1906").status == 2
    assert two("identities", "describe", "Admiral Hopper", "--detail", "rank").status == 2


def test_merge_moves_faces_to_one_identity(two: Run, collins: Path) -> None:
    merged = two("identities", "merge", "Grace Hopper", "Eileen Collins", "--yes", "--json").line
    assert merged["faces"] == 2
    assert two("query", collins, "--json").line["identity"]["name"] == "Grace Hopper"


def test_merge_keeps_details_of_the_merged_identity(two: Run) -> None:
    two("identities", "describe", "Eileen Collins", "--external-id", "7", "--detail", "a=b")
    merge = ["identities", "merge", "Grace Hopper", "Eileen Collins", "2", "--yes", "--json"]
    merged = two(*merge).line
    assert (merged["external_id"], merged["details"]) == ("7", {"a": "b"})


def test_merge_can_be_undone(two: Run, collins: Path) -> None:
    before = two("identities", "list", "--json").lines
    merge = two("identities", "merge", "Grace Hopper", "Eileen Collins", "--yes", "--json").line
    assert merge["merge_id"] == 1
    (listed,) = two("identities", "unmerge", "--json").lines
    assert (listed["merge_id"], listed["kept"], listed["others"]) == (1, 1, [2])
    assert (listed["names"], listed["kept_name"]) == (["Eileen Collins"], "Grace Hopper")
    assert "1: Eileen Collins (id 2) into Grace Hopper, " in two("identities", "unmerge").out
    back = two("identities", "unmerge", "1", "--json").lines
    assert [record["name"] for record in back] == ["Grace Hopper", "Eileen Collins"]
    after = two("identities", "list", "--json").lines
    for record in before + after:
        del record["updated_at"]
    assert after == before
    assert two("query", collins, "--json").line["identity"]["name"] == "Eileen Collins"
    assert "no merge 1" in two("identities", "unmerge", "1").err
    assert "no merges to undo" in two("identities", "unmerge").out


def test_merge_says_how_many_duplicates_it_sets_aside(two: Run, hopper: Path) -> None:
    two("enroll-identity", "G. Hopper", hopper, "--force")
    merged = two("identities", "merge", "Grace Hopper", "G. Hopper", "--yes").out
    assert "Grace Hopper now has 1 face (1 duplicate set aside);" in merged


def test_distinct_people_are_not_reported_as_duplicates(two: Run, hopper: Path) -> None:
    two("enroll-identity", "G. Hopper", hopper, "--force")
    listed = two("dedupe").out
    assert "3 faces: 1 pair of identities that seem to be one person" in listed
    assert f"(face 3), both from {hopper}" in listed
    (pair,) = two("dedupe", "--json").line["identities"]
    assert sorted(pair["names"]) == ["G. Hopper", "Grace Hopper"]
    assert two("identities", "distinct", "G. Hopper", "Grace Hopper").status == 0
    assert two("dedupe", "--json").line["identities"] == []
    two("identities", "distinct", "Grace Hopper", "G. Hopper", "--undo")
    refused = two("identities", "distinct", "Grace Hopper", "1")
    assert (refused.status, "is one person; name two" in refused.err) == (2, True)
    assert len(two("dedupe", "--json").line["identities"]) == 1


def test_keys_are_created_listed_and_revoked(two: Run, home: Path) -> None:
    created = two("keys", "create", "front desk", "--scope", "enrol", "--scope", "query", "--json")
    key = created.line
    assert key["scopes"] == ["enrol", "query"] and key["key"].startswith(f"gallery_{key['id']}_")
    assert key["key"] not in two("keys", "list").out + two("keys", "list", "--json").out
    assert two("keys", "list", "--json").line["revoked_at"] is None
    assert two("keys", "revoke", key["id"], "--json").line["revoked_at"]
    assert "no key is active" in two("keys", "list").out
    assert "nobody" in two("keys", "revoke", "nobody").err
    assert two("keys", "create", "x", "--scope", "everything").status == 2
    secret = key["key"].removeprefix(f"gallery_{key['id']}_").encode()  # may have a "_" itself
    assert all(secret not in f.read_bytes() for f in home.iterdir())


def test_audit_trail_lists_actions_and_detects_tampering(two: Run, home: Path) -> None:
    two("identities", "rename", "Grace Hopper", "Admiral")
    two("identities", "forget", "Admiral", "--yes")
    shown = two("audit", "--json")
    assert [entry["action"] for entry in shown.lines] == ["enrol", "enrol", "rename", "forget"]
    assert {entry["actor"] for entry in shown.lines} == {"command line"}
    assert "Admiral" not in shown.out and "Hopper" not in shown.out
    assert "4 entries, intact" in two("audit", "--limit", "1").out
    with closing(sqlite3.connect(home / "gallery.db")) as connection:
        connection.execute("DELETE FROM audit WHERE id = 3")
        connection.commit()
    tampered = two("audit")
    assert (tampered.status, "between 2 and 4" in tampered.err) == (2, True)


@pytest.mark.parametrize(
    "command",
    [["show", "Nobody"], ["rename", "Nobody", "X"], ["forget", "Nobody", "--yes"],
     ["merge", "Nobody", "Grace Hopper", "--yes"], ["describe", "Nobody"]],
)  # fmt: skip
def test_unknown_identity_is_named_in_the_error(two: Run, command: list[str]) -> None:
    refused = two("identities", *command)
    assert refused.status == 2
    assert "'Nobody'" in refused.err


def test_erasure_leaves_no_trace_on_the_disk(two: Run, home: Path, collins: Path) -> None:
    with Gallery.open(home) as gallery, gallery.database.reading() as session:
        (face,) = faces.records(session, identity_id=2)
        vector = faces.encodings_by_id(session, [face.id]).encodings.vectors[0]
    traces = {
        "name": b"Eileen Collins",
        "photo": str(collins).encode(),
        "float32": vector.tobytes(),
        "float16": vector.astype(np.float16).tobytes(),
    }
    before = b"".join(f.read_bytes() for f in home.iterdir())
    assert all(trace in before for trace in traces.values())

    erased = two("identities", "forget", "Eileen Collins", "--yes", "--json")
    receipt = erased.line
    assert (receipt["identity_id"], receipt["faces"], receipt["whole"]) == (2, 1, True)
    assert receipt["searched"]["files"] >= 3
    assert "Eileen" not in erased.out + two("audit", "--json").out
    after = b"".join(f.read_bytes() for f in home.iterdir())
    assert [name for name, trace in traces.items() if trace in after] == []
    assert two("query", collins, "--json").line["outcome"] == "unknown"
    assert two("enroll-identity", "New", collins, "--json").line["identity"]["id"] == 3


def test_interrupted_erasure_is_finished_by_the_next_command(
    two: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Database) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Database, "empty_log", killed)
        assert two("identities", "forget", "Eileen Collins", "--yes").status == 130
    database = Database(home / DATABASE_FILE, busy_timeout=5)
    with database.reading() as session:
        assert pending_scrub(session) is not None
    scrubs: list[Database] = []
    scrub = Database.scrub
    monkeypatch.setattr(Database, "scrub", lambda self: (scrubs.append(self), scrub(self)))
    assert two("check").status == 0
    assert len(scrubs) == 1
    with database.reading() as session:
        assert pending_scrub(session) is None
    database.close()


def test_markup_in_names_is_printed_literally(two: Run) -> None:
    two("identities", "rename", "Eileen Collins", "[red]Bob")
    two("identities", "describe", "[red]Bob", "--external-id", "[x")
    assert "[red]Bob" in two("identities", "list").out


def test_export_faces_and_answers(
    two: Run, tmp_path: Path, hopper: Path, no_one: list[Path]
) -> None:
    assert two("export", tmp_path / "faces.json").status == 0
    exported = json.loads((tmp_path / "faces.json").read_text())
    assert [row["identity"]["name"] for row in exported] == ["Grace Hopper", "Eileen Collins"]
    two("identities", "rename", "Eileen Collins", "=HYPERLINK(1)")
    assert two("export", tmp_path / "faces.csv").status == 0
    rows = list(csv.DictReader((tmp_path / "faces.csv").read_text().splitlines()))
    assert [row["identity"] for row in rows] == ["Grace Hopper", "'=HYPERLINK(1)"]

    folder = tmp_path / "photos"
    folder.mkdir()
    for photo in (hopper, no_one[0]):
        (folder / photo.name).write_bytes(photo.read_bytes())
    (folder / "zz.jpg").write_text("not a photo")
    assert two("export", tmp_path / "answers.csv", "--queries", folder).status == 0
    answers = list(csv.DictReader((tmp_path / "answers.csv").read_text().splitlines()))
    assert [a["outcome"] for a in answers] == ["no_face", "match", "error"]
    assert answers[1]["identity"] == "Grace Hopper"
    assert two("export", tmp_path / "faces.xml").status == 2


def test_export_with_answers_missing_is_an_error(
    two: Run, tmp_path: Path, hopper: Path, make_unlistable: Callable[[Path], Path]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(hopper.read_bytes())
    unlistable = make_unlistable(folder)
    ran = two("export", tmp_path / "answers.json", "--queries", folder, "--json")
    assert ran.status == 2 and f"{unlistable} cannot be listed" in ran.err.replace("\n", "")
    (answer,) = json.loads((tmp_path / "answers.json").read_text())
    assert answer["outcome"] == "match"


def test_check_reports_problems(two: Run, home: Path, hopper: Path) -> None:
    healthy = two("check", "--json")
    assert healthy.status == 0, healthy.out
    assert {f["part"] for f in healthy.lines} >= {"home", "database", "index", "head", "versions"}
    index = home / INDEX_FILE
    index.write_bytes(index.read_bytes()[:-10])
    damaged = two("check", "--json")
    assert damaged.status == 2
    assert [f["part"] for f in damaged.lines if not f["ok"]] == ["index"]
    assert two("query", hopper, "--json").line["outcome"] == "match"
    assert two("check").status == 0
    os.chmod(home, 0o755)
    assert "chmod 700" in two("check", "--json").lines[0]["said"]


def test_newer_database_is_refused(two: Run, home: Path) -> None:
    with sqlite3.connect(home / DATABASE_FILE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    refused = two("identities", "list")
    assert refused.status == 2
    assert "9999" in refused.err


def test_home_that_is_a_file_is_refused(run: Run, home: Path) -> None:
    home.write_text("a file where the folder should be")
    refused = run("identities", "list")
    assert refused.status == 2
    assert str(home) in refused.err


def test_invalid_head_is_refused(
    two: Run, tmp_path: Path, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "head.safetensors").write_bytes(b"no head")
    monkeypatch.setenv("GALLERY_HEAD", str(tmp_path / "head.safetensors"))
    refused = two("query", hopper)
    assert refused.status == 2
    assert "train-head" in refused.err


@pytest.mark.parametrize(
    ("setting", "value"),
    [("GALLERY_DEVICE", "abacus"), ("GALLERY_MIN_FACE", "1"), ("GALLERY_VIEWS_QUERY", "11")],
)
def test_invalid_setting_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setenv(setting, value)
    refused = run("identities", "list")
    assert refused.status == 2
    assert f"{setting} is {value}, expected" in refused.err


def test_misspelt_setting_suggests_the_right_one(home: Path) -> None:
    with pytest.raises(SettingInvalid, match="no setting audit_day; did you mean audit_days"):
        load_settings(home=home, audit_day=3)


def test_forget_names_the_person_and_the_plans_it_deletes(
    two: Run, hopper: Path, tmp_path: Path
) -> None:
    two("enroll-identity", "G. Hopper", hopper, "--force")
    plan = tmp_path / "plan"
    assert two("dedupe", "--plan", plan).status == 0
    asked = two("identities", "forget", "Eileen Collins")
    assert "Erase Eileen Collins and 1 face? This deletes 1 saved dedupe plan too." in asked.err
    erased = two("identities", "forget", "Eileen Collins", "--yes").out
    assert "erased Eileen Collins (id 2) and 1 face; no trace in" in erased
    assert "deleted 1 saved dedupe plan" in erased
    gone = two("dedupe", "--apply", plan).err
    assert "plan.json does not exist; plans are deleted when a person is erased" in gone


def test_faces_forget_and_expire_name_the_plans_they_delete(
    two: Run, hopper: Path, tmp_path: Path
) -> None:
    two("enroll-identity", "G. Hopper", hopper, "--force")
    assert two("dedupe", "--plan", tmp_path / "plan").status == 0
    merged = two("identities", "merge", "Grace Hopper", "Eileen Collins", "--yes")
    assert merged.status == 0
    asked = two("faces", "forget", "2")
    assert "Erase 1 face (2)? This deletes 1 saved dedupe plan too." in asked.err
    assert "deleted 1 saved dedupe plan" in two("faces", "forget", "2", "--yes").out
    assert two("dedupe", "--plan", tmp_path / "plan").status == 0
    two("identities", "describe", "G. Hopper", "--expires", "2020-01-01", "--yes")
    assert "deleted 1 saved dedupe plan" in two("expire").out
    assert "deleted" not in two("expire").out


def test_expiry_that_comes_with_faces_is_said(two: Run, collins: Path, hopper: Path) -> None:
    two("identities", "describe", "Eileen Collins", "--expires", "2031-01-02")
    two("enroll-identity", "Eileen Collins", hopper, "--force")
    (face,) = [
        face["face_id"]
        for face in two("identities", "show", "Eileen Collins", "--json").line["enrolled"]
        if face["photo"] == str(collins)
    ]
    said = "Grace Hopper expires on 2031-01-02"
    assert said in two("faces", "move", str(face), "grace hopper").out
    two("faces", "move", str(face), "Eileen Collins")
    assert two("identities", "show", "Grace Hopper", "--json").line["expires_at"] is None
    assert said in two("identities", "merge", "Grace Hopper", "Eileen Collins", "--yes").out


def test_near_name_is_taken_and_said(two: Run, hopper: Path, collins: Path) -> None:
    shown = two("identities", "show", "grace-hopper", "--json")
    assert shown.line["name"] == "Grace Hopper"
    assert shown.err == "'grace-hopper' is taken to be 'Grace Hopper'\n"
    assert two("identities", "show", "Grace Hopper").err == ""
    enrolled = two("enroll-identity", "GRACE_HOPPER", hopper, "--json")
    note = "'GRACE_HOPPER' is taken to be 'Grace Hopper'; use new if it is another person"
    assert (enrolled.line["outcome"], enrolled.line["notes"]) == ("already", [note])
    assert note.replace("use new", "use --new") in enrolled.err.replace("\n", " ")
    assert "did you mean 'Grace Hopper'?" in two("identities", "show", "Grace Hoper").err
    refused = two("identities", "rename", "Eileen Collins", "grace hopper")
    assert refused.status == 2 and "already an identity 'Grace Hopper'" in refused.err
    assert len(two("identities", "list", "--json").lines) == 2


@pytest.mark.parametrize(
    "command", [["forget", "eileen collins"], ["merge", "Grace Hopper", "eileen collins"]]
)
def test_near_name_is_not_erased_or_merged_unasked(two: Run, command: list[str]) -> None:
    refused = two("identities", *command, "--yes")
    assert refused.status == 2 and refused.out == ""
    assert "if you mean 'Eileen Collins', use that exact spelling" in refused.err
    assert len(two("identities", "list", "--json").lines) == 2


def test_new_enrols_another_person_of_a_near_name(two: Run, hopper: Path, tmp_path: Path) -> None:
    new = two("enroll-identity", "grace hopper", hopper, "--new", "--force", "--json").line
    assert (new["identity"], new["notes"]) == ({"id": 3, "name": "grace hopper"}, [])
    folder = tmp_path / "GRACE HOPPER"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(hopper.read_bytes())
    enrolled = two("enroll-identity", "--from-folder", tmp_path, "--json")
    assert (enrolled.status, enrolled.line["refusal"]) == (1, "name_ambiguous")
    assert "may be 'Grace Hopper' (id 1) or 'grace hopper' (id 3)" in enrolled.line["reason"]
    assert len(two("identities", "list", "--json").lines) == 3


def test_check_of_an_empty_and_of_a_small_gallery(run: Run, hopper: Path) -> None:
    empty = {f["part"]: f["said"] for f in run("check", "--json").lines}
    assert empty["head"].startswith("no identities enrolled yet; from the first one on, about")
    run("enroll-identity", "Grace Hopper", hopper)
    small = {f["part"]: f["said"] for f in run("check", "--json").lines}
    assert "at 1 identity, about 1.0% of strangers get a match" in small["head"]
    assert "only a rough guide" in small["head"] and "logits" not in small["head"]
    assert small["database"].endswith("1 identity, 1 face, intact")


@pytest.mark.parametrize("precision", ["2", "nan", "0.5"])
def test_precision_out_of_range_is_refused_without_a_folder_too(run: Run, precision: str) -> None:
    refused = run("dedupe", "--precision", precision)
    assert refused.status == 2
    assert f"--precision is {precision}, expected 0.9 to 0.998" in refused.err


def test_folder_summary_says_whether_wrong_names_were_checked(
    run: Run, tmp_path: Path, hopper: Path
) -> None:
    for person in ("Grace", "Tim"):
        (tmp_path / "photos" / person).mkdir(parents=True)
        (tmp_path / "photos" / person / "photo.jpg").write_bytes(hopper.read_bytes())
    unchecked = run("dedupe", tmp_path / "photos").out
    first = unchecked.splitlines()[0]
    assert "wrong names not checked: add --people" in first
    assert "under the wrong name" not in unchecked
    assert "under the wrong name" in run("dedupe", tmp_path / "photos", "--people").out


def test_face_that_does_not_exist_is_not_moved(two: Run) -> None:
    assert "identities show NAME` lists them" in two("faces", "move", "999", "Grace Hopper").err


def test_list_may_be_cut_short(two: Run) -> None:
    (first,) = two("identities", "list", "--limit", "1", "--json").lines
    assert first["name"] == "Eileen Collins"
    assert two("identities", "list", "--limit", "1").out.endswith("1 of 2 identities\n")
    assert two("identities", "list", "--limit", "2").out.endswith("\n2 identities\n")
    assert two("identities", "list", "--limit", "0").status == 2
