"""Another encoder for a gallery that is there: nobody is lost, and there is a way back."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image, ImageEnhance

from gallery.cli.main import main
from gallery.encoders.protocol import Network
from gallery.encoders.registry import Spec, open_network
from gallery.errors import CannotReencode, EncoderChanged, HeadUnusable
from gallery.gallery import Gallery
from gallery.reencode import Reencoder
from gallery.runtime import DATABASE_FILE
from gallery.store import kept_images, reencoding
from gallery.vision.pipeline import FacePipeline
from tests.cli.conftest import Ran
from tests.models import exported_dlib, head_for_dlib_in_onnx, made_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    return exported_dlib(tmp_path_factory.mktemp("onnx") / "dlib.onnx", cache)


class Cli:
    """`gallery` in this process, as a user calls it, and in one of its own to be killed."""

    def __init__(
        self,
        home: Path,
        cache: Path,
        patch: pytest.MonkeyPatch,
        capture: pytest.CaptureFixture[str],
    ) -> None:
        self.home, self.cache = home, cache
        self._patch, self._capture = patch, capture
        patch.setenv("GALLERY_CACHE", str(cache))
        patch.setenv("GALLERY_THREADS", "1")

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from gallery.cli.main import main; main()", "--home"]
        return subprocess.Popen(
            [*command, str(self.home), *map(str, arguments)], text=True, stdout=subprocess.DEVNULL
        )

    def __call__(self, *arguments: object) -> Ran:
        given = ["gallery", "--home", str(self.home), *map(str, arguments)]
        self._patch.setattr(sys, "argv", given)
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self._capture.readouterr()
        assert "Traceback" not in printed.out + printed.err
        assert isinstance(ended.value.code, int | None)
        return Ran(ended.value.code or 0, printed.out, printed.err)


_networks: dict[tuple[str, str], Network] = {}


def _kept_network(spec: Spec, cache: Path, device: torch.device, threads: int) -> Network:
    """Each network is loaded once; a model with another TOML is another network."""
    toml = "" if spec.file is None else spec.file.with_suffix(".toml").read_text()
    key = (str(spec), toml)
    if key not in _networks:
        _networks[key] = open_network(spec, cache, device, threads)
    return _networks[key]


@pytest.fixture
def cli(
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    monkeypatch.setattr("gallery.encoders.registry.open_network", _kept_network)
    return Cli(tmp_path / "home", cache, monkeypatch, capsys)


def opened(cli: Cli, eye: FacePipeline | None = None, **settings: object) -> Gallery:
    return Gallery.open(cli.home, cache=cli.cache, threads=1, **settings)


@pytest.fixture(scope="module")
def many_made(
    tmp_path_factory: pytest.TempPathFactory,
    cache: Path,
    eye: FacePipeline,
    hopper: Path,
    collins: Path,
) -> Path:
    """Two people from six photos each, chips kept; the photos are gone."""
    folder = tmp_path_factory.mktemp("many")
    with Gallery.open(folder / "home", cache=cache, threads=1, keep="chips") as gallery:
        for name, path in (("Grace Hopper", hopper), ("Eileen Collins", collins)):
            for number in range(6):
                file = folder / f"{name} {number}.png"
                picture = Image.open(path).convert("RGB")
                ImageEnhance.Brightness(picture).enhance(0.8 + 0.06 * number).save(file)
                assert gallery.enroll(name, file).outcome == "enrolled"
                file.unlink()
        gallery.describe("Grace Hopper", external_id="1906", details={"rank": "admiral"})
        gallery.keep_distinct("Grace Hopper", "Eileen Collins")
    return folder / "home"


@pytest.fixture
def many(cli: Cli, many_made: Path) -> None:
    """A copy of that gallery."""
    shutil.copytree(many_made, cli.home)


def facts(cli: Cli) -> list[dict[str, object]]:
    """Everything about everyone, but when."""
    listed = [record | {"updated_at": None} for record in cli("identities", "list", "--json").lines]
    with closing(sqlite3.connect(cli.home / DATABASE_FILE)) as connection:
        rows = connection.execute("SELECT id, identity_id, photo_id, source FROM faces").fetchall()
        apart = connection.execute("SELECT first_id, second_id FROM distinct_people").fetchall()
    return [*listed, {"faces": rows, "apart": apart}]


def answer(cli: Cli, photo: Path) -> dict[str, object]:
    return dict(cli("query", photo, "--json").line)


def how_close(answered: dict[str, object]) -> dict[int, float]:
    """Of each candidate's face."""
    return {c["face_id"]: c["similarity"] for c in answered["candidates"]}  # type: ignore[attr-defined]


def test_killed_in_the_middle_it_answers_goes_on_and_goes_back(
    cli: Cli, eye: FacePipeline, many: None, model: Path, collins: Path
) -> None:
    before, known = facts(cli), answer(cli, collins)
    spec = f"onnx:{model}"
    refused = cli("re-encode", "--encoder", spec)
    assert (refused.status, "train-head --encoder" in refused.err) == (2, True)
    head_for_dlib_in_onnx(model, cli.home)

    killed = cli.start("re-encode", "--encoder", spec)
    with closing(sqlite3.connect(cli.home / DATABASE_FILE)) as connection:
        while not (
            done := connection.execute("SELECT count(*) FROM other_encodings").fetchone()[0]
        ):
            assert killed.poll() is None
            time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert 0 < done < 12
    assert answer(cli, collins) == known  # the old one answers
    assert "faces are re-encoded with onnx:" in cli("check").out
    with opened(cli, eye, keep="chips") as gallery:  # with the old one
        assert gallery.enroll("Late", collins, force=True).outcome == "enrolled"

    said = cli("re-encode", "--encoder", spec, "--json")
    assert said.status == 0, said.err
    assert (said.line["faces"], said.line["encoded"], said.line["left"]) == (13, 13, [])
    after = cli("query", collins, "--json", "--explain").line
    assert after["outcome"] == "ambiguous"  # Late is Collins
    assert cli("identities", "forget", "Late", "--yes").status == 0
    assert [f | {"faces": None} for f in facts(cli)[:-1]] == [
        f | {"faces": None} for f in before[:-1]
    ]
    assert facts(cli) == before
    there = answer(cli, collins)
    assert there["identity"] == known["identity"]
    assert how_close(there) == pytest.approx(how_close(known), abs=1e-4)
    assert cli("check").status == 0

    assert cli("re-encode", "--rollback").status == 0
    assert answer(cli, collins) == known and facts(cli) == before
    assert cli("re-encode", "--encoder", spec).status == 0
    assert cli("re-encode", "--encoder", "dlib-resnet").status == 0  # there and back
    assert answer(cli, collins) == known and facts(cli) == before


def test_from_kept_chips_and_photos_as_from_the_photo(
    cli: Cli, eye: FacePipeline, hopper: Path, model: Path
) -> None:
    """Back with nothing of the old encodings kept, everything is encoded anew."""
    for keep in ("chips", "photos"):
        with opened(cli, eye, keep=keep) as gallery:
            assert gallery.enroll(f"Grace {keep}", hopper, force=True).outcome == "enrolled"
    with opened(cli) as gallery:
        first = gallery.encodings().encodings.vectors
        with gallery.database.reading() as session:
            kept = [kept_images.get(session, i) for i in (1, 2)]
    assert kept[0] is not None and kept[1] is not None
    assert (kept[0].kind, kept[1].kind) == ("chip", "photo")
    assert kept[1].content == hopper.read_bytes()
    head_for_dlib_in_onnx(model, cli.home)
    assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0
    assert cli("re-encode", "--finish", "--yes").status == 0
    assert "no encodings of an earlier" in cli("re-encode", "--rollback").err
    assert cli("re-encode", "--encoder", "dlib-resnet").status == 0
    with opened(cli) as gallery:
        again = gallery.encodings().encodings.vectors
    assert (1.0 - np.sum(first * again, axis=1)).max() < 1e-6


def test_who_cannot_be_re_encoded_is_named_and_not_lost(
    cli: Cli, eye: FacePipeline, hopper: Path, collins: Path, model: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.jpg"
    gone.write_bytes(hopper.read_bytes())
    with opened(cli, eye) as gallery:
        gallery.enroll("Grace Hopper", gone)
    gone.write_bytes(collins.read_bytes())  # another photo of that name is not taken for it
    with opened(cli, eye, keep="chips") as gallery:
        gallery.enroll("Eileen Collins", gone)
    head_for_dlib_in_onnx(model, cli.home)
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
    assert checked.status == 2 and "not found, since" in checked.out

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


def test_enrolling_the_photo_again_finds_who_was_left(
    cli: Cli, eye: FacePipeline, hopper: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALLERY_THUMBNAILS", "true")
    with opened(cli, eye) as gallery:
        face = gallery.enroll("Grace Hopper", hopper.read_bytes()).face_id
    known = answer(cli, hopper)
    head_for_dlib_in_onnx(model, cli.home)
    assert cli("re-encode", "--encoder", f"onnx:{model}", "--leave-missing", "--yes").status == 0
    enrolled = cli("enroll-identity", "Grace Hopper", hopper, "--json").line
    assert (enrolled["outcome"], enrolled["face_id"]) == ("enrolled", face)
    assert answer(cli, hopper)["outcome"] == "match"
    assert cli("enroll-identity", "Grace Hopper", hopper, "--json").line["outcome"] == "already"
    assert cli("re-encode", "--rollback").status == 0  # to what was seen of it then
    there = answer(cli, hopper)
    assert there["outcome"] == "match" and how_close(there) == how_close(known)


def test_an_open_gallery_follows_the_switch(
    cli: Cli, eye: FacePipeline, many: None, model: Path, hopper: Path
) -> None:
    head_for_dlib_in_onnx(model, cli.home)
    with opened(cli, eye) as gallery, opened(cli, eye, encoder="dlib-resnet") as stubborn:
        old = gallery.query(hopper)
        assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0
        new = gallery.query(hopper)
        assert (gallery.pipeline.encoder.name, new.identity) == ("onnx", old.identity)
        assert gallery.enroll("Grace Hopper", hopper.read_bytes()).outcome == "enrolled"
        with pytest.raises(EncoderChanged, match="re-encode --encoder dlib-resnet"):
            stubborn.query(hopper)
        assert cli("re-encode", "--rollback").status == 2  # the photo just enrolled is not kept
        assert gallery.query(hopper).outcome == "match"
    with pytest.raises(EncoderChanged, match="GALLERY_ENCODER"):
        opened(cli, encoder="dlib-resnet")


@pytest.fixture
def own_model(tmp_path: Path, model: Path, cli: Cli) -> Path:
    """A model that may be changed."""
    file = tmp_path / "own" / "own.onnx"
    file.parent.mkdir()
    shutil.copy(model, file)
    shutil.copy(model.with_suffix(".toml"), file.with_suffix(".toml"))
    cli.home.mkdir(exist_ok=True)
    head_for_dlib_in_onnx(file, cli.home)
    return file


def test_going_back_needs_no_network_for_what_it_has_seen(
    cli: Cli, many: None, own_model: Path, collins: Path
) -> None:
    change = ("re-encode", "--encoder", f"onnx:{own_model}")
    assert cli(*change).status == 0
    there = answer(cli, collins)
    assert cli("re-encode", "--encoder", "dlib-resnet").status == 0
    own_model.parent.rename(own_model.parent.with_name("away"))
    assert cli("re-encode", "--rollback").status == 0
    own_model.parent.with_name("away").rename(own_model.parent)
    assert answer(cli, collins) == there


def test_going_back_is_to_that_encoder_or_nowhere(
    cli: Cli, eye: FacePipeline, many: None, own_model: Path, collins: Path, tmp_path: Path
) -> None:
    change = ("re-encode", "--encoder", f"onnx:{own_model}")
    assert cli(*change).status == 0
    there = answer(cli, collins)
    assert cli("re-encode", "--encoder", "dlib-resnet").status == 0
    with opened(cli, eye, keep="chips") as gallery:
        assert gallery.enroll("Late", collins, force=True).outcome == "enrolled"
    known = answer(cli, collins)
    toml = own_model.with_suffix(".toml")
    as_it_was = toml.read_text()
    toml.write_text(as_it_was.replace("rgb", "bgr"))
    head_for_dlib_in_onnx(own_model, cli.home)
    refused = cli("re-encode", "--rollback")
    assert (refused.status, "opens now in place of" in refused.err) == (2, True)
    assert answer(cli, collins) == known

    toml.write_text(as_it_was)
    with opened(cli) as gallery:  # begun, and cut short
        gallery.reencoder(gallery.previous_encoder()).start()
    assert cli("re-encode", "--rollback").status == 0
    assert cli("identities", "forget", "Late", "--yes").status == 0
    assert answer(cli, collins) == there


def test_one_process_at_a_time(cli: Cli, many: None, model: Path) -> None:
    head_for_dlib_in_onnx(model, cli.home)
    assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0
    with FileLock(cli.home / "reencode.lock"):
        for what in ("--finish", "--drop-pictures", "--rollback"):
            refused = cli("re-encode", what, "--yes")
            assert (refused.status, "by another process" in refused.err) == (2, True)
    assert cli("re-encode", "--drop-pictures", "--json").line == {"erased": 12}
    assert cli("re-encode", "--finish", "--json").line == {"erased": 12}


def test_a_model_that_fails_is_named_for_what_it_is(
    cli: Cli, eye: FacePipeline, hopper: Path, collins: Path, tmp_path: Path
) -> None:
    with opened(cli, eye) as gallery:
        gallery.enroll("Grace Hopper", hopper)
    file = made_model(tmp_path / "made.onnx", 128, darkest=-0.9)  # all but a black chip
    head_for_dlib_in_onnx(file, cli.home)
    change = ("re-encode", "--encoder", f"onnx:{file}")
    failed = cli(*change)
    assert failed.status == 2
    assert f"Grace Hopper, {hopper}: an encoding is not finite" in failed.out
    assert "1 of 1 faces could not be encoded from their pictures: Grace Hopper" in failed.err
    assert "no picture" not in failed.out + failed.err and "--photos" not in failed.err
    (said,) = cli(*change, "--json").line["failed"]
    assert said["face_id"] == 1 and "not finite" in said["reason"]
    with opened(cli, eye) as gallery:
        gallery.enroll("Eileen Collins", collins.read_bytes())
    both = cli(*change, "--leave-missing", "--json")
    assert [missing["face_id"] for missing in both.lines[0]["missing"]] == [2]
    assert both.lines[1]["left"] == [2, 1] and both.lines[1]["encoded"] == 0
    assert [r.count("not finite") for r in both.lines[1]["failed"]] == [1]


def test_a_face_that_is_nowhere_in_its_photo_is_missing(
    cli: Cli, eye: FacePipeline, hopper: Path, collins: Path, model: Path, tmp_path: Path
) -> None:
    with opened(cli, eye, keep="chips") as gallery:
        gallery.enroll("Eileen Collins", collins)
        vectors = gallery.encodings().encodings.vectors
        file, folder = tmp_path / "x.npz", tmp_path / "photos"
        np.savez(
            file,
            encoder=np.array([eye.encoder.name, eye.encoder.weights_sha256]),
            names=np.array(["Grace Hopper"]),
            encodings=vectors,
            photo_sha256=np.array([hashlib.sha256(hopper.read_bytes()).hexdigest()]),
        )
        assert gallery.import_from(file) == (1, 0)
    with closing(sqlite3.connect(cli.home / DATABASE_FILE)) as connection:
        connection.execute("UPDATE faces SET views = 0 WHERE id = 1")  # as it could be imported
        connection.commit()
    folder.mkdir()
    shutil.copy(hopper, folder)
    head_for_dlib_in_onnx(model, cli.home)
    change = ("re-encode", "--encoder", f"onnx:{model}", "--photos", folder)
    refused = cli(*change)
    assert refused.status == 2 and "no landmarks of Grace Hopper (face 2)" in refused.out
    assert "1 of 2 faces have no picture (or no landmarks in it)" in refused.err
    left = cli(*change, "--leave-missing", "--yes", "--json").lines[-1]
    assert (left["encoded"], left["left"]) == (1, [2])
    assert answer(cli, collins)["outcome"] == "match"


def test_who_comes_and_goes_meanwhile_is_counted_and_named(
    cli: Cli,
    eye: FacePipeline,
    many: None,
    model: Path,
    hopper: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head_for_dlib_in_onnx(model, cli.home)
    encode = Reencoder.encode

    def meanwhile(self: Reencoder, *arguments: Any) -> None:
        encode(self, *arguments)
        monkeypatch.setattr(Reencoder, "encode", encode)
        with opened(cli, eye) as gallery:
            gallery.enroll("Late", hopper.read_bytes(), force=True)
            gallery.forget("Eileen Collins")

    monkeypatch.setattr(Reencoder, "encode", meanwhile)
    done = cli("re-encode", "--encoder", f"onnx:{model}", "--leave-missing", "--yes")
    assert done.status == 0, done.err
    assert "no picture of Late (face 13)" in done.out
    assert "6 of 7 faces are now of onnx:" in done.out


def test_forgetting_erases_pictures_and_both_encodings(cli: Cli, many: None, model: Path) -> None:
    head_for_dlib_in_onnx(model, cli.home)
    assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0
    with closing(sqlite3.connect(cli.home / DATABASE_FILE)) as connection:
        traces = [
            row[0]
            for query in (
                "SELECT faces.encoding FROM faces WHERE identity_id = 2",
                "SELECT o.encoding FROM other_encodings AS o JOIN faces ON faces.id = face_id"
                " WHERE identity_id = 2",
                "SELECT content FROM kept_pictures JOIN faces ON faces.id = face_id"
                " WHERE identity_id = 2",
            )
            for row in connection.execute(query)
        ]
    assert len(traces) == 3 * 6
    traces = [trace[-200:] for trace in traces]  # a picture lies on several pages
    held = [trace for trace in traces if trace in (cli.home / DATABASE_FILE).read_bytes()]
    assert len(held) >= 12
    assert cli("identities", "forget", "Eileen Collins", "--yes").status == 0
    everything = b"".join(f.read_bytes() for f in cli.home.iterdir())
    assert not [trace for trace in traces if trace in everything]
    for table in ("other_encodings", "kept_pictures"):
        with closing(sqlite3.connect(cli.home / DATABASE_FILE)) as connection:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (6,)
    assert cli("re-encode", "--drop-pictures", "--json").line == {"erased": 6}
    assert cli("re-encode", "--rollback").status == 0


def test_a_merge_is_undone_over_a_switch(
    cli: Cli, eye: FacePipeline, hopper: Path, collins: Path, model: Path
) -> None:
    with opened(cli, eye, keep="chips") as gallery:
        gallery.enroll("Grace Hopper", hopper)
        gallery.enroll("G. Hopper", hopper, force=True)  # put aside by the merge
        gallery.enroll("G. Hopper", collins, force=True)
        merge = gallery.merge("Grace Hopper", ["G. Hopper"])
    head_for_dlib_in_onnx(model, cli.home)
    assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0
    back = cli("identities", "unmerge", str(merge.merge_id), "--json").lines
    assert [(r["name"], r["faces"]) for r in back] == [("Grace Hopper", 1), ("G. Hopper", 2)]
    with opened(cli) as gallery:
        with gallery.database.reading() as session:
            assert [face for face, _, _ in reencoding.unseen(session)] == [2]
        assert len(gallery.encodings().face_ids) == 2  # encodings of two encoders never meet
    assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0  # from its kept chip
    with opened(cli) as gallery:
        assert len(gallery.encodings().face_ids) == 3


def test_photos_that_are_still_there_need_not_be_kept(
    cli: Cli, eye: FacePipeline, hopper: Path, model: Path
) -> None:
    with opened(cli, eye) as gallery:
        gallery.enroll("Grace Hopper", hopper)
    head_for_dlib_in_onnx(model, cli.home)
    assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0
    assert answer(cli, hopper)["outcome"] == "match"


def test_what_cannot_be_asked(cli: Cli, eye: FacePipeline, hopper: Path, model: Path) -> None:
    with opened(cli, eye) as gallery:
        gallery.enroll("Grace Hopper", hopper)
        with pytest.raises(CannotReencode):
            gallery.previous_encoder()
    assert "nothing to do" in cli("re-encode", "--encoder", "dlib-resnet").err
    assert "give one of" in cli("re-encode").err
    assert "give one of" in cli("re-encode", "--rollback", "--finish").err
    changed = cli("--encoder", f"onnx:{model}", "query", hopper)
    assert (changed.status, "gallery re-encode --encoder onnx:" in changed.err) == (2, True)
    listed = cli("encoders", "--encoder", f"onnx:{model}", "--json").lines
    names = {line["encoder"]: line for line in listed}
    assert names["dlib-resnet"]["in_use"] and names["dlib-resnet"]["dimension"] == 128
    assert names[f"onnx:{model}"]["milliseconds_a_query"] > 0
    assert not names["facenet-vggface2"]["usable"] and not names[f"onnx:{model}"]["head"]
    assert "20180402-114759-vggface2.pt" in json.dumps(names["facenet-vggface2"])
    with pytest.raises(EncoderChanged):
        opened(cli, encoder=f"onnx:{model}")


def test_a_new_gallery_of_a_model_without_a_head_decides_nothing(
    cli: Cli, hopper: Path, model: Path
) -> None:
    for command in (("enroll-identity", "Grace", hopper), ("query", hopper)):
        refused = cli(*command, "--encoder", f"onnx:{model}")
        assert refused.status == 2
        assert f"gallery train-head --encoder onnx:{model} PEOPLE_FOLDER" in refused.err
    with opened(cli, encoder=f"onnx:{model}") as gallery, pytest.raises(HeadUnusable):
        gallery.query(hopper)
    head_for_dlib_in_onnx(model, cli.home)
    assert cli("enroll-identity", "Grace", hopper, "--encoder", f"onnx:{model}").status == 0
    assert answer(cli, hopper)["outcome"] == "match"  # it knows its encoder from here on

    moved = model.parent / "elsewhere"
    moved.mkdir()
    for file in (model, model.with_suffix(".toml")):
        (moved / file.name).write_bytes(file.read_bytes())
    assert cli("query", hopper, "--encoder", f"onnx:{moved / model.name}").status == 0
    toml = moved / "dlib.toml"
    toml.write_text(toml.read_text().replace("rgb", "bgr"))
    changed = cli("query", hopper)
    assert (changed.status, "not of onnx:" in changed.err) == (2, True)
