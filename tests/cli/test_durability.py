"""Backup, restore, import, erasure, expiry and repair at the command line."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np

from gallery.config import INDEX_FILE
from tests.cli.conftest import Run


def test_backup_is_verified_and_restored(two: Run, tmp_path: Path, hopper: Path) -> None:
    file = tmp_path / "x.backup"
    made = two("backup", file, "--json").line
    assert (made["identities"], made["faces"], made["schema"]) == (2, 2, "0013")
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


def test_exported_faces_can_be_imported(two: Run, tmp_path: Path, hopper: Path) -> None:
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


def test_erasure_prints_a_receipt_and_traces_can_be_searched(two: Run, hopper: Path) -> None:
    enrolled = two("check", "--traces", "Grace Hopper", "--json")
    assert (enrolled.status, enrolled.line["in_gallery"]) == (1, True)
    assert {t["kind"] for t in enrolled.line["traces"]} == {"encoding", "text"}
    printed = two("identities", "forget", "Grace Hopper", "--yes").out
    assert "erased Grace Hopper (id 1) and 1 face; no trace in" in printed and "receipt" in printed
    after = two("check", "--traces", "1", "--photo", hopper, "--json")
    assert (after.status, after.line["clean"], after.line["traces"]) == (0, True, [])
    assert "no traces found" in two("check", "--traces", "Grace Hopper").out
    assert "no identity ever had" in two("check", "--traces", "99").err
    assert two("check", "--photo", hopper).status == 2


def test_single_face_is_erased_and_the_person_stays(two: Run, hopper: Path, tmp_path: Path) -> None:
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


def test_expired_identity_is_erased(two: Run) -> None:
    assert two("identities", "describe", "Grace Hopper", "--expires", "yesterday").status == 2
    later = two("identities", "describe", "Grace Hopper", "--expires", "2999-01-31").out
    assert "Grace Hopper expires on 2999-01-31 and is erased from then on" in later
    past = ("identities", "describe", "Grace Hopper", "--expires", "2020-01-01")
    asked = two(*past)
    assert asked.status != 0 and "erases Grace Hopper for good" in asked.err
    assert "expires 2999-01-31" in two("identities", "show", "Grace Hopper").out
    assert "Grace Hopper has expired" in two(*past, "--yes").out
    assert "expires 2020-01-01" in two("identities", "show", "Grace Hopper").out
    assert "`gallery expire`" in two("check").out
    assert two("expire", "--dry-run", "--json").line["name"] == "Grace Hopper"
    assert two("expire", "--json").line["identity_id"] == 1
    assert "nobody has expired" in two("expire").out
    assert [e["action"] for e in two("audit", "--json").lines][-1] == "expire"


def test_check_repairs_index_permissions_and_unfinished_files(two: Run, home: Path) -> None:
    index = home / INDEX_FILE
    index.write_bytes(b"damaged")
    index.chmod(0o644)
    unfinished = home / "faces.index1234.part"
    unfinished.write_bytes(b"half written")
    os.utime(unfinished, (0, 0))
    damaged = two("check", "--json")
    assert damaged.status == 2
    assert {f["part"] for f in damaged.lines if not f["ok"]} == {"home", "index"}
    repaired = two("check", "--repair", "--json")
    assert repaired.status == 0, repaired.out
    assert len([f for f in repaired.lines if f["part"] == "repair"]) == 3
    assert not unfinished.exists() and stat.S_IMODE(index.stat().st_mode) == 0o600
    assert not [f for f in two("check", "--repair", "--json").lines if f["part"] == "repair"]
    assert len(two("identities", "list", "--json").lines) == 2
