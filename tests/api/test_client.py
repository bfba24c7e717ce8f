"""The Python client answers as a Gallery does, and raises what it raises."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
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
from gallery.json_forms.to_json import (
    comparison_json,
    decision_json,
    face_record_json,
    identity_json,
    receipt_json,
)
from gallery.store import api_keys
from gallery.store.records import Receipt
from gallery.types import EnrolOutcome, Outcome, Several
from gallery.vision.pipeline import FacePipeline
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
    client: Client, tmp_path: Path, eye: FacePipeline, cache: Path, hopper: Path, collins: Path
) -> None:
    (enrolment,) = client.enroll("Grace Hopper", hopper)
    assert enrolment.outcome is EnrolOutcome.ENROLLED and enrolment.identity is not None
    assert [e.outcome for e in client.enroll("Grace Hopper", hopper)] == [EnrolOutcome.ALREADY]
    assert client.enroll("Someone", hopper)[0].outcome is EnrolOutcome.REFUSED
    with Gallery.open(tmp_path / "home", cache=cache, threads=1) as gallery:
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
        client._ask("GET", "/page/page.js/nothing", dict)
    with Client("http://127.0.0.1:1") as nowhere, pytest.raises(ServerUnreachable, match="running"):
        nowhere.query(hopper)


def test_it_brings_its_key(serve: Serve, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "home") as opened, opened.database.writing() as session:
        _, key = api_keys.create(session, "a program", ["query"], 600)
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


Said = tuple[int, dict[str, str], bytes]
JSON = {"content-type": "application/json"}
LATER: Said = (503, {"retry-after": "0"}, b"{}")


@contextmanager
def saying(*answers: Said | None) -> Iterator[tuple[Client, list[tuple[str, str | None]]]]:
    """A client of a server that says these in turn, and what it was asked with which key.

    None: it hangs up without a word.
    """
    left, asked = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append((f"{self.command} {self.path}", self.headers["idempotency-key"]))
            self.rfile.read(int(self.headers.get("content-length", 0)))
            said = left.pop(0)
            if said is None:
                self.close_connection = True
                return
            self.send_response(said[0])
            for name, value in {**said[1], "content-length": str(len(said[2]))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said[2])

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with Client(f"http://127.0.0.1:{server.server_port}") as client:
                yield client, asked
        finally:
            server.shutdown()


def test_a_write_whose_answer_is_lost_is_sent_again_with_its_key() -> None:
    receipt = Receipt("ab", 1, (), True, 2, datetime.now(UTC), {"faces": 2}, (), (), 3, 4_000, 0)
    done = json.dumps(receipt_json(receipt)).encode()
    working = json.dumps({"type": "urn:face-gallery:still-working", "detail": "wait"}).encode()
    still = (409, {"retry-after": "0"}, working)
    with saying(None, LATER, still, (200, JSON, done)) as (client, asked):
        assert client.forget(1) == receipt
    assert len(asked) == 4 and len({key for _, key in asked}) == 1 and asked[0][1]
    with saying(*[LATER] * 4) as (client, asked), pytest.raises(ServerRefused, match="503"):
        client.forget(1)
    assert len(asked) == 4


@pytest.mark.parametrize(
    "said",
    [
        (200, {"content-type": "text/html"}, b"<html>a captive portal</html>"),
        (200, JSON, b"[]"),
        (502, JSON, b'{"error": "upstream"}'),
        (409, JSON, b'{"error": "upstream"}'),
    ],
)
def test_what_is_no_gallery_is_refused_and_not_a_traceback(said: Said) -> None:
    with saying(said) as (client, _), pytest.raises(ServerRefused):
        client.merges()
    with saying(said) as (client, _), pytest.raises(ServerRefused):
        client.enroll("Grace", b"a photo")


def _job(state: str) -> Said:
    result = {"identities": 0, "faces": 0, "same_people": [], "same_faces": [], "misfiled": []}
    job = {"id": "ab", "state": state, "done": 0, "total": 0, "result": result, "error": None}
    return 200, JSON, json.dumps(job).encode()


def test_only_who_asked_cancels_a_job() -> None:
    with saying(_job("queued"), LATER, None, _job("done")) as (client, asked):
        assert client.dedupe().faces == 0
    assert not any("cancel" in what for what, _ in asked)
    with saying(_job("queued"), *[LATER] * 4) as (client, asked), pytest.raises(ServerRefused):
        client.dedupe()
    assert not any("cancel" in what for what, _ in asked)  # it is others' job as well

    def enough(_done: int, _total: int) -> None:
        raise ZeroDivisionError

    with (
        saying(_job("queued"), (404, JSON, b"{}")) as (client, asked),
        pytest.raises(ZeroDivisionError),
    ):
        client.dedupe(enough)
    assert asked[-1][0] == "POST /v1/jobs/ab/cancel"
