"""`re-encode` when some faces cannot be encoded: they are listed, and stay enrolled."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gallery.config import DATABASE_FILE
from gallery.reencode import Reencoder
from gallery.vision.pipeline import FacePipeline
from tests.cli.conftest import Cli, answer, open_gallery, similarities
from tests.models import save_dlib_onnx_head, write_model


def test_faces_without_a_picture_are_listed_and_stay_enrolled(
    cli: Cli, hopper: Path, collins: Path, model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "replaced.jpg"
    file.write_bytes(hopper.read_bytes())
    with open_gallery(cli) as gallery:
        gallery.enroll("Grace Hopper", file)
    file.write_bytes(collins.read_bytes())  # another photo under the same name is not used
    with open_gallery(cli, keep="chips") as gallery:
        gallery.enroll("Eileen Collins", file)
    save_dlib_onnx_head(model, cli.home)
    change = ("re-encode", "--encoder", f"onnx:{model}")
    refused = cli(*change)
    assert refused.status == 2
    assert "no picture of Grace Hopper" in refused.out and "--photos FOLDER" in refused.err
    assert answer(cli, hopper)["outcome"] == "match"

    left = cli(*change, "--leave-missing", "--yes")
    assert left.status == 0, left.err
    assert answer(cli, collins)["outcome"] == "match"
    assert answer(cli, hopper)["outcome"] == "unknown"
    assert [r["name"] for r in cli("identities", "list", "--json").lines] == [
        "Eileen Collins",
        "Grace Hopper",
    ]
    checked = cli("check")
    assert checked.status == 2 and "no search finds" in checked.out

    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "renamed.jpg").write_bytes(hopper.read_bytes())
    assert cli(*change, "--photos", folder).status == 0
    assert answer(cli, hopper)["identity"] == {"id": 1, "name": "Grace Hopper"}
    assert cli("check").status == 0
    assert "nothing to do" in cli(*change).err

    assert cli("re-encode", "--rollback").status == 0
    assert answer(cli, hopper)["outcome"] == "match"
    assert cli(*change, "--leave-missing", "--yes").status == 0


def test_enrolling_the_photo_again_makes_a_left_face_searchable(
    cli: Cli, hopper: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALLERY_THUMBNAILS", "true")
    with open_gallery(cli) as gallery:
        face = gallery.enroll("Grace Hopper", hopper.read_bytes()).face_id
    known = answer(cli, hopper)
    save_dlib_onnx_head(model, cli.home)
    assert cli("re-encode", "--encoder", f"onnx:{model}", "--leave-missing", "--yes").status == 0
    enrolled = cli("enroll-identity", "Grace Hopper", hopper, "--json").line
    assert (enrolled["outcome"], enrolled["face_id"]) == ("enrolled", face)
    assert answer(cli, hopper)["outcome"] == "match"
    assert cli("enroll-identity", "Grace Hopper", hopper, "--json").line["outcome"] == "already"
    assert cli("re-encode", "--rollback").status == 0
    restored = answer(cli, hopper)
    assert restored["outcome"] == "match" and similarities(restored) == similarities(known)


def test_failing_model_is_reported_per_face(
    cli: Cli, hopper: Path, collins: Path, tmp_path: Path
) -> None:
    with open_gallery(cli) as gallery:
        gallery.enroll("Grace Hopper", hopper)
    file = write_model(tmp_path / "made.onnx", 128, nan_from=-0.9)  # fails except for a black crop
    save_dlib_onnx_head(file, cli.home)
    change = ("re-encode", "--encoder", f"onnx:{file}")
    failed = cli(*change)
    assert failed.status == 2
    assert f"Grace Hopper, {hopper}: an encoding is not finite" in failed.out
    assert "1 of 1 faces could not be encoded from their pictures: Grace Hopper" in failed.err
    assert "no picture" not in failed.out + failed.err and "--photos" not in failed.err
    (failure,) = cli(*change, "--json").line["failed"]
    assert failure["face_id"] == 1 and "not finite" in failure["reason"]
    with open_gallery(cli) as gallery:
        gallery.enroll("Eileen Collins", collins.read_bytes())
    both = cli(*change, "--leave-missing", "--json")
    assert [missing["face_id"] for missing in both.lines[0]["missing"]] == [2]
    assert both.lines[1]["left"] == [2, 1] and both.lines[1]["encoded"] == 0
    assert [r.count("not finite") for r in both.lines[1]["failed"]] == [1]


def test_face_without_landmarks_is_missing(
    cli: Cli, pipeline: FacePipeline, hopper: Path, collins: Path, model: Path, tmp_path: Path
) -> None:
    with open_gallery(cli, keep="chips") as gallery:
        gallery.enroll("Eileen Collins", collins)
        vectors = gallery.encodings().encodings.vectors
        file, folder = tmp_path / "x.npz", tmp_path / "photos"
        np.savez(
            file,
            encoder=np.array([pipeline.encoder.name, pipeline.encoder.weights_sha256]),
            names=np.array(["Grace Hopper"]),
            encodings=vectors,
            photo_sha256=np.array([hashlib.sha256(hopper.read_bytes()).hexdigest()]),
        )
        assert gallery.import_from(file) == (1, 0)
    with closing(sqlite3.connect(cli.home / DATABASE_FILE)) as connection:
        connection.execute(
            "UPDATE faces SET views = 0 WHERE id = 1"
        )  # as older versions imported it
        connection.commit()
    folder.mkdir()
    shutil.copy(hopper, folder)
    save_dlib_onnx_head(model, cli.home)
    change = ("re-encode", "--encoder", f"onnx:{model}", "--photos", folder)
    refused = cli(*change)
    assert refused.status == 2 and "no landmarks of Grace Hopper (face 2)" in refused.out
    assert "1 of 2 faces have no picture (or no landmarks in it)" in refused.err
    left = cli(*change, "--leave-missing", "--yes", "--json").lines[-1]
    assert (left["encoded"], left["left"]) == (1, [2])
    assert answer(cli, collins)["outcome"] == "match"


def test_faces_enrolled_and_erased_during_the_run_are_counted(
    cli: Cli,
    many: None,
    model: Path,
    hopper: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_dlib_onnx_head(model, cli.home)
    encode = Reencoder.encode

    def encode_while_others_write(self: Reencoder, *arguments: Any) -> None:
        encode(self, *arguments)
        monkeypatch.setattr(Reencoder, "encode", encode)
        with open_gallery(cli) as gallery:
            gallery.enroll("Late", hopper.read_bytes(), force=True)
            gallery.forget("Eileen Collins")

    monkeypatch.setattr(Reencoder, "encode", encode_while_others_write)
    done = cli("re-encode", "--encoder", f"onnx:{model}", "--leave-missing", "--yes")
    assert done.status == 0, done.err
    assert "no picture of Late (face 13)" in done.out
    assert "6 of 7 faces encoded with onnx:" in done.out


def test_photos_at_their_old_path_are_found(cli: Cli, hopper: Path, model: Path) -> None:
    with open_gallery(cli) as gallery:
        gallery.enroll("Grace Hopper", hopper)
    save_dlib_onnx_head(model, cli.home)
    assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0
    assert answer(cli, hopper)["outcome"] == "match"
