"""The Python client answers as a Gallery does, and raises what it raises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gallery import Client, Gallery
from gallery.errors import (
    IdentityExists,
    IdentityNotFound,
    InvalidName,
    MergeNotFound,
    PhotoUndecodable,
    PhotoUnreadable,
    ServerRefused,
    ServerUnreachable,
    SettingInvalid,
    ThumbnailNotFound,
)
from gallery.seeing import Eye
from gallery.store import keys
from gallery.types import EnrolOutcome, Outcome, Several
from gallery.wire import comparison_json, decision_json, face_record_json, identity_json
from tests.api.conftest import Serve


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Iterator[httpx.Client]:
    with serve(tmp_path / "home", thumbnails=True) as opened:
        yield opened


@pytest.fixture
def client(server: httpx.Client) -> Iterator[Client]:
    with Client(str(server.base_url)) as opened:
        yield opened


def test_it_answers_as_a_gallery_does(
    client: Client, tmp_path: Path, eye: Eye, cache: Path, hopper: Path, collins: Path
) -> None:
    (enrolment,) = client.enroll("Grace Hopper", hopper)
    assert enrolment.outcome is EnrolOutcome.ENROLLED and enrolment.identity is not None
    assert [e.outcome for e in client.enroll("Grace Hopper", hopper)] == [EnrolOutcome.ALREADY]
    assert client.enroll("Someone", hopper)[0].outcome is EnrolOutcome.REFUSED
    with Gallery.open(tmp_path / "home", cache=cache, threads=1) as gallery:
        gallery.__dict__["eye"] = eye
        for photo in (hopper, collins):
            mine, theirs = client.query(photo), gallery.query(photo)
            assert decision_json("", mine) == decision_json("", theirs)
            (mine,) = client.query_all(photo.read_bytes())
            assert decision_json("", mine) == decision_json("", theirs)
        mine, theirs = client.compare(hopper, collins), gallery.compare(hopper, collins)
        assert comparison_json(("", ""), mine) == comparison_json(("", ""), theirs)
        (record,) = client.identities("grace")
        assert record == gallery.identities()[0]
        mine, faces = client.identity(record.id)
        assert identity_json(mine) == identity_json(gallery.identity(record.id)[0])
        assert [face_record_json(f) for f in faces] == [
            face_record_json(f) for f in gallery.identity(record.id)[1]
        ]
    assert client.thumbnail(faces[0].id)[:2] == b"\xff\xd8"
    assert client.calibration()["identities"] == 1


def test_it_keeps_people(client: Client, hopper: Path, collins: Path) -> None:
    client.enroll("Grace", hopper)
    client.enroll("Eileen", collins)
    described = client.describe(1, new_name="Grace Hopper", details={"rank": "admiral"})
    assert (described.name, described.details) == ("Grace Hopper", {"rank": "admiral"})
    merged = client.merge(1, [2])
    assert merged.identity.faces == 2 and client.merges()[0].id == merged.merge_id
    assert [r.name for r in client.undo_merge(merged.merge_id)] == ["Grace Hopper", "Eileen"]
    client.enroll("G. Hopper", hopper, force=True)
    seen = []
    report = client.dedupe(lambda done, total: seen.append((done, total)))
    assert {ref.id for ref in report.same_people[0].identities} == {1, 3}
    client.keep_distinct(1, 3)
    assert client.dedupe().same_people == ()
    client.keep_distinct(1, 3, distinct=False)
    assert client.forget(1).faces == 1
    assert [r.name for r in client.identities()] == ["Eileen", "G. Hopper"]
    assert client.query(hopper).outcome is Outcome.MATCH


def test_it_raises_what_a_gallery_raises(client: Client, hopper: Path, tmp_path: Path) -> None:
    client.enroll("Grace", hopper)
    client.enroll("G. Hopper", hopper, force=True)
    with pytest.raises(IdentityNotFound):
        client.identity(9)
    with pytest.raises(IdentityExists):
        client.describe(2, new_name="Grace")
    with pytest.raises(InvalidName):
        client.enroll(" ", hopper)
    with pytest.raises(MergeNotFound):
        client.undo_merge(9)
    with pytest.raises(ThumbnailNotFound):
        client.thumbnail(99)
    with pytest.raises(PhotoUndecodable):
        client.query(b"text")
    with pytest.raises(PhotoUnreadable, match="No such file"):
        client.query(tmp_path / "nothing.jpg")
    with pytest.raises(SettingInvalid):
        client.query(hopper, several=Several.CENTRAL)
    with pytest.raises(ServerRefused, match="Not found"):
        client._ask("GET", "/page/page.js/nothing")
    with Client("http://127.0.0.1:1") as nowhere, pytest.raises(ServerUnreachable, match="running"):
        nowhere.query(hopper)


def test_it_brings_its_key(serve: Serve, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "home") as opened, opened.database.writing() as session:
        _, key = keys.create(session, "a program", ["query"], 600)
    with serve(tmp_path / "home") as server:
        url = str(server.base_url)
        with Client(url) as without, pytest.raises(ServerRefused, match="key"):
            without.calibration()
        with Client(url, key=key) as client:
            assert client.calibration()["identities"] == 0
            with pytest.raises(ServerRefused, match="scope enrol"):
                client.identity(1)


def test_it_does_without_the_networks() -> None:
    code = "import sys, gallery; gallery.Client; print({'torch', 'faiss'} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
