"""`re-encode` changes the encoder of a gallery; nobody is lost, and there is a way back."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from gallery.config import DATABASE_FILE
from gallery.errors import CannotReencode, EncoderChanged, HeadUnusable
from gallery.store import kept_images, reencoding
from tests.cli.conftest import Cli, answer, open_gallery, similarities
from tests.models import save_dlib_onnx_head


def facts(cli: Cli) -> list[dict[str, object]]:
    """Everything stored about identities and faces, except times."""
    listed = [record | {"updated_at": None} for record in cli("identities", "list", "--json").lines]
    with closing(sqlite3.connect(cli.home / DATABASE_FILE)) as connection:
        rows = connection.execute("SELECT id, identity_id, photo_id, source FROM faces").fetchall()
        distinct = connection.execute("SELECT first_id, second_id FROM distinct_people").fetchall()
    return [*listed, {"faces": rows, "distinct": distinct}]


@pytest.fixture
def own_model(tmp_path: Path, model: Path, cli: Cli) -> Path:
    """A copy of the model, which a test may change."""
    file = tmp_path / "own" / "own.onnx"
    file.parent.mkdir()
    shutil.copy(model, file)
    shutil.copy(model.with_suffix(".toml"), file.with_suffix(".toml"))
    cli.home.mkdir(exist_ok=True)
    save_dlib_onnx_head(file, cli.home)
    return file


def test_killed_run_continues_and_can_be_rolled_back(
    cli: Cli, many: None, model: Path, collins: Path
) -> None:
    before, known = facts(cli), answer(cli, collins)
    spec = f"onnx:{model}"
    refused = cli("re-encode", "--encoder", spec)
    assert (refused.status, "train-head --encoder" in refused.err) == (2, True)
    save_dlib_onnx_head(model, cli.home)

    killed = cli.start("re-encode", "--encoder", spec)
    with closing(sqlite3.connect(cli.home / DATABASE_FILE)) as connection:
        count = "SELECT count(*) FROM other_encodings"
        while not (encoded := connection.execute(count).fetchone()[0]):
            assert killed.poll() is None
            time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert 0 < encoded < 12
    assert answer(cli, collins) == known  # from the old encoder
    assert "faces are re-encoded with onnx:" in cli("check").out
    with open_gallery(cli, keep="chips") as gallery:
        assert gallery.enroll("Late", collins, force=True).outcome == "enrolled"

    done = cli("re-encode", "--encoder", spec, "--json")
    assert done.status == 0, done.err
    assert (done.line["faces"], done.line["encoded"], done.line["left"]) == (13, 13, [])
    after = cli("query", collins, "--json", "--explain").line
    assert after["outcome"] == "ambiguous"  # Late is Collins
    assert cli("identities", "forget", "Late", "--yes").status == 0
    assert [f | {"faces": None} for f in facts(cli)[:-1]] == [
        f | {"faces": None} for f in before[:-1]
    ]
    assert facts(cli) == before
    changed = answer(cli, collins)
    assert changed["identity"] == known["identity"]
    assert similarities(changed) == pytest.approx(similarities(known), abs=1e-4)
    assert cli("check").status == 0

    rolled_back = cli("re-encode", "--rollback")
    assert rolled_back.status == 0 and f"--rollback` goes back to {spec}" in rolled_back.out
    assert answer(cli, collins) == known and facts(cli) == before
    assert cli("re-encode", "--encoder", spec).status == 0
    assert cli("re-encode", "--encoder", "dlib-resnet").status == 0  # there and back
    assert answer(cli, collins) == known and facts(cli) == before


def test_kept_crops_and_photos_give_the_same_encodings(cli: Cli, hopper: Path, model: Path) -> None:
    """After --finish no old encoding is kept, so that every face is encoded again."""
    for keep in ("chips", "photos"):
        with open_gallery(cli, keep=keep) as gallery:
            assert gallery.enroll(f"Grace {keep}", hopper, force=True).outcome == "enrolled"
    with open_gallery(cli) as gallery:
        first = gallery.encodings().encodings.vectors
        with gallery.database.reading() as session:
            crop, photo = (kept_images.get(session, face) for face in (1, 2))
    assert crop is not None and photo is not None
    assert (crop.kind, photo.kind) == ("chip", "photo")
    assert photo.content == hopper.read_bytes()
    save_dlib_onnx_head(model, cli.home)
    assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0
    assert cli("re-encode", "--finish", "--yes").status == 0
    assert "no encodings of an earlier" in cli("re-encode", "--rollback").err
    assert cli("re-encode", "--encoder", "dlib-resnet").status == 0
    with open_gallery(cli) as gallery:
        again = gallery.encodings().encodings.vectors
    assert (1.0 - np.sum(first * again, axis=1)).max() < 1e-6


def test_open_gallery_follows_the_switch(cli: Cli, many: None, model: Path, hopper: Path) -> None:
    save_dlib_onnx_head(model, cli.home)
    with (
        open_gallery(cli) as gallery,
        open_gallery(cli, encoder="dlib-resnet") as fixed,
    ):
        old = gallery.query(hopper)
        assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0
        new = gallery.query(hopper)
        assert (gallery.pipeline.encoder.name, new.identity) == ("onnx", old.identity)
        assert gallery.enroll("Grace Hopper", hopper.read_bytes()).outcome == "enrolled"
        with pytest.raises(EncoderChanged, match="re-encode --encoder dlib-resnet"):
            fixed.query(hopper)
        assert cli("re-encode", "--rollback").status == 2  # the photo just enrolled is not kept
        assert gallery.query(hopper).outcome == "match"
    with pytest.raises(EncoderChanged, match="GALLERY_ENCODER"):
        open_gallery(cli, encoder="dlib-resnet")


def test_rollback_needs_no_network_for_encoded_faces(
    cli: Cli, many: None, own_model: Path, collins: Path
) -> None:
    change = ("re-encode", "--encoder", f"onnx:{own_model}")
    assert cli(*change).status == 0
    changed = answer(cli, collins)
    assert cli("re-encode", "--encoder", "dlib-resnet").status == 0
    own_model.parent.rename(own_model.parent.with_name("away"))
    assert cli("re-encode", "--rollback").status == 0
    own_model.parent.with_name("away").rename(own_model.parent)
    assert answer(cli, collins) == changed


def test_rollback_refuses_a_changed_encoder(
    cli: Cli, many: None, own_model: Path, collins: Path, tmp_path: Path
) -> None:
    change = ("re-encode", "--encoder", f"onnx:{own_model}")
    assert cli(*change).status == 0
    changed = answer(cli, collins)
    assert cli("re-encode", "--encoder", "dlib-resnet").status == 0
    with open_gallery(cli, keep="chips") as gallery:
        assert gallery.enroll("Late", collins, force=True).outcome == "enrolled"
    known = answer(cli, collins)
    toml = own_model.with_suffix(".toml")
    original = toml.read_text()
    toml.write_text(original.replace("rgb", "bgr"))
    save_dlib_onnx_head(own_model, cli.home)
    refused = cli("re-encode", "--rollback")
    assert (refused.status, "opens now in place of" in refused.err) == (2, True)
    assert answer(cli, collins) == known

    toml.write_text(original)
    with open_gallery(cli) as gallery:  # begun, and interrupted
        gallery.reencoder(gallery.previous_encoder()).start()
    assert cli("re-encode", "--rollback").status == 0
    assert cli("identities", "forget", "Late", "--yes").status == 0
    assert answer(cli, collins) == changed


def test_second_process_is_refused(cli: Cli, many: None, model: Path) -> None:
    save_dlib_onnx_head(model, cli.home)
    assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0
    with FileLock(cli.home / "reencode.lock"):
        for option in ("--finish", "--drop-pictures", "--rollback"):
            refused = cli("re-encode", option, "--yes")
            assert (refused.status, "by another process" in refused.err) == (2, True)
    assert cli("re-encode", "--drop-pictures", "--json").line == {"erased": 12}
    assert cli("re-encode", "--finish", "--json").line == {"erased": 12}


def test_erasure_removes_pictures_and_both_encodings(cli: Cli, many: None, model: Path) -> None:
    save_dlib_onnx_head(model, cli.home)
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
    traces = [trace[-200:] for trace in traces]  # a picture spans several pages
    content = (cli.home / DATABASE_FILE).read_bytes()
    assert sum(trace in content for trace in traces) >= 12
    assert cli("identities", "forget", "Eileen Collins", "--yes").status == 0
    content = b"".join(file.read_bytes() for file in cli.home.iterdir())
    assert not any(trace in content for trace in traces)
    for table in ("other_encodings", "kept_pictures"):
        with closing(sqlite3.connect(cli.home / DATABASE_FILE)) as connection:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (6,)
    assert cli("re-encode", "--drop-pictures", "--json").line == {"erased": 6}
    assert cli("re-encode", "--rollback").status == 0


def test_merge_can_be_undone_after_a_switch(
    cli: Cli, hopper: Path, collins: Path, model: Path
) -> None:
    with open_gallery(cli, keep="chips") as gallery:
        gallery.enroll("Grace Hopper", hopper)
        gallery.enroll("G. Hopper", hopper, force=True)  # set aside by the merge
        gallery.enroll("G. Hopper", collins, force=True)
        merge = gallery.merge("Grace Hopper", ["G. Hopper"])
    save_dlib_onnx_head(model, cli.home)
    assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0
    records = cli("identities", "unmerge", str(merge.merge_id), "--json").lines
    assert [(r["name"], r["faces"]) for r in records] == [("Grace Hopper", 1), ("G. Hopper", 2)]
    with open_gallery(cli) as gallery:
        with gallery.database.reading() as session:
            assert [face for face, _, _ in reencoding.unencoded(session)] == [2]
        assert len(gallery.encodings().face_ids) == 2  # never those of two encoders
    assert cli("re-encode", "--encoder", f"onnx:{model}").status == 0  # from its kept crop
    with open_gallery(cli) as gallery:
        assert len(gallery.encodings().face_ids) == 3


def test_impossible_requests_are_refused(cli: Cli, hopper: Path, model: Path) -> None:
    with open_gallery(cli) as gallery:
        gallery.enroll("Grace Hopper", hopper)
        with pytest.raises(CannotReencode):
            gallery.previous_encoder()
    assert "nothing to do" in cli("re-encode", "--encoder", "dlib-resnet").err
    assert "give one of" in cli("re-encode").err
    assert "give one of" in cli("re-encode", "--rollback", "--finish").err
    changed = cli("--encoder", f"onnx:{model}", "query", hopper)
    assert (changed.status, "gallery re-encode --encoder onnx:" in changed.err) == (2, True)
    with pytest.raises(EncoderChanged):
        open_gallery(cli, encoder=f"onnx:{model}")


def test_encoders_are_listed(cli: Cli, hopper: Path, model: Path) -> None:
    none = cli("encoders")
    assert "in use" not in none.out and none.out.count("(of new galleries)") == 1
    assert "128 numbers from the network; face crops" in none.out
    assert not cli.home.exists()
    open_gallery(cli).close()
    assert "in use" not in cli("encoders").out
    with open_gallery(cli) as gallery:
        gallery.enroll("Grace Hopper", hopper)
    listed = cli("encoders", "--encoder", f"onnx:{model}", "--json").lines
    encoders = {line["encoder"]: line for line in listed}
    assert encoders["dlib-resnet"]["in_use"] and encoders["dlib-resnet"]["dimension"] == 128
    assert encoders[f"onnx:{model}"]["milliseconds_a_query"] > 0
    assert not encoders["facenet-vggface2"]["usable"] and not encoders[f"onnx:{model}"]["head"]
    assert "20180402-114759-vggface2.pt" in json.dumps(encoders["facenet-vggface2"])
    assert "'nonsense' cannot be fetched" in cli("encoders", "--fetch", "nonsense").err


def test_new_gallery_with_a_model_needs_a_head(cli: Cli, hopper: Path, model: Path) -> None:
    for command in (("enroll-identity", "Grace", hopper), ("query", hopper)):
        refused = cli(*command, "--encoder", f"onnx:{model}")
        assert refused.status == 2
        assert f"gallery train-head --encoder onnx:{model} PEOPLE_FOLDER" in refused.err
    with open_gallery(cli, encoder=f"onnx:{model}") as gallery, pytest.raises(HeadUnusable):
        gallery.query(hopper)
    save_dlib_onnx_head(model, cli.home)
    assert cli("enroll-identity", "Grace", hopper, "--encoder", f"onnx:{model}").status == 0
    assert answer(cli, hopper)["outcome"] == "match"  # the gallery now knows its encoder

    moved = model.parent / "elsewhere"
    moved.mkdir()
    for file in (model, model.with_suffix(".toml")):
        (moved / file.name).write_bytes(file.read_bytes())
    assert cli("query", hopper, "--encoder", f"onnx:{moved / model.name}").status == 0
    toml = moved / "dlib.toml"
    toml.write_text(toml.read_text().replace("rgb", "bgr"))
    changed = cli("query", hopper)
    assert (changed.status, "not of onnx:" in changed.err) == (2, True)
