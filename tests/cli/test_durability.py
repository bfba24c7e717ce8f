"""Backing up, restoring, moving, erasing, expiring and mending, as a user does it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from gallery.runtime import INDEX_FILE
from tests.cli.conftest import Run


@pytest.fixture
def two(run: Run, hopper: Path, collins: Path) -> Run:
    """A gallery of two people."""
    run("enroll-identity", "Grace Hopper", hopper)
    run("enroll-identity", "Eileen Collins", collins)
    return run


def test_a_backup_is_made_checked_and_restored(two: Run, tmp_path: Path, hopper: Path) -> None:
    file = tmp_path / "x.backup"
    made = two("backup", file, "--json").line
    assert (made["identities"], made["faces"], made["schema"]) == (2, 2, "0006")
    assert two("restore", file, "--verify", "--json").line["id"] == made["id"]
    refused = two("restore", file)
    assert (refused.status, "not empty" in refused.err) == (2, True)
    restored = tmp_path / "restored"
    assert two("restore", file, "--json", at=restored).status == 0
    assert two("query", hopper, "--json", at=restored).line["outcome"] == "match"
    forgotten = tmp_path / "forgotten"
    assert "intact" in two("restore", file, "--forget", "1", at=forgotten).out
    assert two("query", hopper, "--json", at=forgotten).line["outcome"] == "unknown"
    assert "cannot be used as a backup" in two("restore", hopper, at=tmp_path / "n").err
    assert two("backup", tmp_path / "nowhere" / "x").status == 2
    gone = two("identities", "forget", "1", "--yes", "--json").line
    assert [b["id"] for b in gone["backups"]] == [made["id"]]
    assert made["id"] in two("check").out


def test_faces_go_out_with_their_encodings_and_in_again(
    two: Run, tmp_path: Path, hopper: Path
) -> None:
    file = tmp_path / "faces.npz"
    assert two("export", file, "--json").line["rows"] == 2
    with np.load(file) as archive:
        assert archive["encodings"].shape == (2, 128)
    assert two("export", file, "--queries", tmp_path).status == 2
    other = tmp_path / "other"
    assert two("import", file, "--json", at=other).line["added"] == 2
    assert "added 0 faces; 2 already enrolled" in two("import", file, at=other).out
    assert two("query", hopper, "--json", at=other).line["outcome"] == "match"
    assert "cannot be imported" in two("import", hopper).err


def test_erasing_asks_says_what_it_did_and_can_be_looked_for(two: Run, hopper: Path) -> None:
    here = two("check", "--traces", "Grace Hopper", "--json")
    assert (here.status, here.line["in_gallery"]) == (1, True)
    assert {t["kind"] for t in here.line["traces"]} == {"encoding", "text"}
    said = two("identities", "forget", "Grace Hopper", "--yes").out
    assert "no trace in" in said and "receipt" in said and "Hopper" not in said
    after = two("check", "--traces", "1", "--photo", hopper, "--json")
    assert (after.status, after.line["clean"], after.line["traces"]) == (0, True, [])
    assert "no traces found" in two("check", "--traces", "Grace Hopper").out
    assert "no identity ever had" in two("check", "--traces", "99").err
    assert two("check", "--photo", hopper).status == 2


def test_one_photo_is_erased_and_the_person_stays(two: Run, hopper: Path, tmp_path: Path) -> None:
    from PIL import Image

    second = tmp_path / "second.png"
    Image.open(hopper).resize((480, 563)).save(second)
    added = two("enroll-identity", "Grace Hopper", second, "--json").line["face_id"]
    receipt = two("faces", "forget", "--photo", second, "--yes", "--json").line
    assert (receipt["faces"], receipt["whole"], receipt["identity_id"]) == (1, False, 1)
    assert f"no face {added}" in two("faces", "forget", str(added), "--yes").err
    assert "no other face" in two("faces", "forget", "1", "--yes").err
    assert two("faces", "forget", "1", "--photo", second).status == 2
    assert two("query", hopper, "--json").line["identity"]["name"] == "Grace Hopper"


def test_who_has_expired_is_erased(two: Run) -> None:
    assert two("identities", "describe", "Grace Hopper", "--expires", "yesterday").status == 2
    two("identities", "describe", "Grace Hopper", "--expires", "2020-01-01")
    assert "expires 2020-01-01" in two("identities", "show", "Grace Hopper").out
    assert "`gallery expire`" in two("check").out
    assert two("expire", "--dry-run", "--json").line["name"] == "Grace Hopper"
    assert two("expire", "--json").line["identity_id"] == 1
    assert "nobody has expired" in two("expire").out
    assert [e["action"] for e in two("audit", "--json").lines][-1] == "expire"


def test_what_can_be_mended_is_mended(two: Run, home: Path) -> None:
    index = home / INDEX_FILE
    index.write_bytes(b"damaged")
    index.chmod(0o644)
    left = home / "faces.index1234.part"
    left.write_bytes(b"half written")
    os.utime(left, (0, 0))
    ill = two("check", "--json")
    assert ill.status == 2
    assert {f["part"] for f in ill.lines if not f["ok"]} == {"home", "index"}
    mended = two("check", "--repair", "--json")
    assert mended.status == 0, mended.out
    assert len([f for f in mended.lines if f["part"] == "repair"]) == 3
    assert not left.exists() and stat.S_IMODE(index.stat().st_mode) == 0o600
    assert not [f for f in two("check", "--repair", "--json").lines if f["part"] == "repair"]
    assert len(two("identities", "list", "--json").lines) == 2
