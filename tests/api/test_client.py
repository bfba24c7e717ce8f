"""The Python client returns and raises what a Gallery does, and retries."""

from __future__ import annotations

import doctest
import inspect
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from gallery import Client, Gallery
from gallery.errors import (
    IdentityExists,
    IdentityNotFound,
    InvalidName,
    MergeNotFound,
    NameAmbiguous,
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
from tests.api.requests import is_problem


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Iterator[httpx.Client]:
    with serve(tmp_path / "home", thumbnails=True) as opened:
        yield opened


@pytest.fixture
def client(server: httpx.Client) -> Iterator[Client]:
    with Client(str(server.base_url)) as opened:
        yield opened


def test_example_of_query(
    server: httpx.Client, client: Client, hopper: Path, tmp_path: Path, monkeypatch
) -> None:
    client.enroll("Grace Hopper", hopper)
    shutil.copy(hopper, tmp_path / "unknown.jpg")
    monkeypatch.chdir(tmp_path)
    names = {"Client": Client, "url": str(server.base_url)}
    (example,) = doctest.DocTestFinder(recurse=False).find(Client.query, "query", globs=names)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_results_equal_those_of_a_gallery(
    client: Client, tmp_path: Path, pipeline: FacePipeline, cache: Path, hopper: Path, collins: Path
) -> None:
    enrolment = client.enroll("Grace Hopper", hopper)
    assert enrolment.outcome is EnrolOutcome.ENROLLED and enrolment.identity is not None
    assert client.enroll("Grace Hopper", hopper).outcome is EnrolOutcome.ALREADY
    assert client.enroll("Someone", hopper).outcome is EnrolOutcome.REFUSED
    with Gallery.open(tmp_path / "home", cache=cache, threads=1) as gallery:
        for photo in (hopper, collins):
            decision, expected = client.query(photo), gallery.query(photo)
            assert decision_json("", decision) == decision_json("", expected)
            (decision,) = client.query_all(photo.read_bytes())
            assert decision_json("", decision) == decision_json("", expected)
        comparison, expected = client.compare(hopper, collins), gallery.compare(hopper, collins)
        assert comparison_json(("", ""), comparison) == comparison_json(("", ""), expected)
        (record,) = client.identities("grace")
        assert record == gallery.identities()[0]
        identity, faces = client.identity(record.id)
        assert identity_json(identity) == identity_json(gallery.identity(record.id)[0])
        assert [face_record_json(f) for f in faces] == [
            face_record_json(f) for f in gallery.identity(record.id)[1]
        ]
    assert client.thumbnail(faces[0].id)[:2] == b"\xff\xd8"
    assert client.calibration()["identities"] == 1


def test_identities_are_changed_merged_deduplicated_and_erased(
    client: Client, hopper: Path, collins: Path
) -> None:
    client.enroll("Grace", hopper)
    client.enroll("Eileen", collins)
    described = client.describe(1, new_name="Grace Hopper", details={"rank": "admiral"})
    assert (described.name, described.details) == ("Grace Hopper", {"rank": "admiral"})
    merged = client.merge(1, [2])
    assert merged.identity.faces == 2 and client.merges()[0].id == merged.merge_id
    assert [r.name for r in client.undo_merge(merged.merge_id)] == ["Grace Hopper", "Eileen"]
    client.enroll("G. Hopper", hopper, force=True)
    progress = []
    report = client.dedupe(lambda done, total: progress.append((done, total)))
    assert {ref.id for ref in report.same_people[0].identities} == {1, 3}
    client.keep_distinct(1, 3)
    assert client.dedupe().same_people == ()
    client.keep_distinct(1, 3, distinct=False)
    assert client.forget(1).faces == 1
    assert [r.name for r in client.identities()] == ["Eileen", "G. Hopper"]
    assert client.query(hopper).outcome is Outcome.MATCH


def test_methods_of_both_take_and_return_the_same() -> None:
    both = {name for name in vars(Client) if not name.startswith("_") and hasattr(Gallery, name)}
    assert {"enroll", "describe", "expire_at", "forget", "identity", "merge", "query"} <= both
    assert inspect.get_annotations(Client.enroll) == inspect.get_annotations(Gallery.enroll)
    for name in both - {"close"}:
        ours, theirs = (inspect.signature(getattr(c, name)) for c in (Client, Gallery))
        hook = ("first", inspect.Parameter.KEYWORD_ONLY)  # in the transaction: not for a client
        kept = [p for p in theirs.parameters.values() if (p.name, p.kind) != hook]
        assert ours == theirs.replace(parameters=kept), name


def test_people_are_named_as_in_a_gallery(client: Client, hopper: Path, collins: Path) -> None:
    client.enroll("Grace Hopper", hopper)
    client.enroll("7", collins)
    assert client.identity("grace-hopper")[0].id == client.identity("1")[0].id == 1
    assert client.identity("7")[0].id == 2
    with pytest.raises(IdentityNotFound, match="no identity 'grace-hopper'"):
        client.forget("grace-hopper")
    client.enroll("GRACE HOPPER", collins, new=True, force=True)
    with pytest.raises(NameAmbiguous, match=r"may be '.*' or '.*'; give the exact"):
        client.identity("grace-hopper")
    with pytest.raises(InvalidName):
        client.identity("")
    assert client.identity(" Grace Hopper ")[0].id == client.identity(np.int64(1))[0].id == 1
    described = client.describe("Grace Hopper", details={"rank": "admiral"}, expires="2040-01-02")
    assert described.details == {"rank": "admiral"} and described.expires_at is not None
    assert client.expire_at("Grace Hopper", "").expires_at is None
    assert client.merge("Grace Hopper", ["GRACE HOPPER"]).identity.name == "Grace Hopper"
    assert len(client.merges(limit=1)) == 1
    assert client.forget("Grace Hopper").whole


def test_former_spellings_work_with_a_warning(
    client: Client, hopper: Path, collins: Path, cache: Path, tmp_path: Path
) -> None:
    with pytest.warns(DeprecationWarning, match="enroll_photos"):
        first, second = client.enroll("Grace", hopper, hopper)
    assert (first.outcome, second.outcome) == (EnrolOutcome.ENROLLED, EnrolOutcome.ALREADY)
    assert client.enroll_photos("Grace", [hopper]) == [second]
    with pytest.warns(DeprecationWarning, match="returns one Enrolment"):
        (again,) = client.enroll("Grace", hopper)
    with pytest.warns(DeprecationWarning, match="returns one Enrolment"):
        assert client.enroll("Grace", hopper)[0] == again == second
    with pytest.warns(DeprecationWarning, match="identity_id of Client.identity is now"):
        assert client.identity(identity_id=1)[0].name == "Grace"
    assert client.enroll(name="Grace", photo=hopper).outcome is EnrolOutcome.ALREADY


def test_errors_equal_those_of_a_gallery(client: Client, hopper: Path, tmp_path: Path) -> None:
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
        client._requests.json("GET", "/page/page.js/nothing", dict)
    with Client("http://127.0.0.1:1") as nowhere, pytest.raises(ServerUnreachable, match="running"):
        nowhere.query(hopper)


def test_key_is_sent(serve: Serve, tmp_path: Path) -> None:
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


def test_importing_the_client_does_not_import_torch_or_faiss() -> None:
    code = "import sys, gallery; gallery.Client; print({'torch', 'faiss'} & sys.modules.keys())"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


Answer = tuple[int, dict[str, str], bytes]
JSON = {"content-type": "application/json"}
RETRY: Answer = (503, {"retry-after": "0"}, b"{}")


def test_near_names(server: httpx.Client, client: Client, hopper: Path, collins: Path) -> None:
    client.enroll("Mei Lin", hopper)
    same = client.enroll("mei-lin", hopper)
    assert (same.outcome, same.identity.name) == (EnrolOutcome.ALREADY, "Mei Lin")
    assert same.notes == ("'mei-lin' is taken to be 'Mei Lin'; use new if it is another person",)
    other = client.enroll("mei-lin", collins, new=True)
    assert (other.identity.name, other.notes) == ("mei-lin", ())
    with pytest.raises(NameAmbiguous, match="'MEI LIN' may be 'Mei Lin'"):
        client.enroll("MEI LIN", hopper)
    files = {"photo": hopper.read_bytes()}
    refused = server.post("/v1/identities", data={"name": "MEI LIN"}, files=files)
    assert is_problem(refused, 409, "name-ambiguous")
    near = server.get("/v1/identities", params={"near": "MEI_LIN"}).json()
    assert [identity["name"] for identity in near["identities"]] == ["Mei Lin", "mei-lin"]
    client.describe(other.identity.id, new_name="Eileen")
    with pytest.raises(IdentityExists, match="merge them, choose another name, or use `new`"):
        client.describe(other.identity.id, new_name="MEI LIN")
    assert client.describe(other.identity.id, new_name="MEI LIN", new=True).name == "MEI LIN"


@contextmanager
def serving(*answers: Answer | None) -> Iterator[tuple[Client, list[tuple[str, str | None]]]]:
    """A client of a server that gives these answers in turn, and its requests with their keys.

    None stands for a dropped connection.
    """
    remaining, requests = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            requests.append((f"{self.command} {self.path}", self.headers["idempotency-key"]))
            self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = remaining.pop(0)
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = respond

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with Client(f"http://127.0.0.1:{server.server_port}") as client:
                yield client, requests
        finally:
            server.shutdown()


def test_write_is_retried_with_the_same_idempotency_key() -> None:
    receipt = Receipt("ab", 1, (), True, 2, datetime.now(UTC), {"faces": 2}, (), (), 3, 4_000, 0)
    done = json.dumps(receipt_json(receipt)).encode()
    working = json.dumps({"type": "urn:face-gallery:still-working", "detail": "wait"}).encode()
    running = (409, {"retry-after": "0"}, working)
    with serving(None, RETRY, running, (200, JSON, done)) as (client, requests):
        assert client.forget(1) == receipt
    assert len(requests) == 4 and len({key for _, key in requests}) == 1 and requests[0][1]
    with serving(*[RETRY] * 4) as (client, requests), pytest.raises(ServerRefused, match="503"):
        client.forget(1)
    assert len(requests) == 4


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"content-type": "text/html"}, b"<html>a captive portal</html>"),
        (200, JSON, b"[]"),
        (502, JSON, b'{"error": "upstream"}'),
        (409, JSON, b'{"error": "upstream"}'),
    ],
)
def test_answer_of_another_kind_of_server_is_refused(answer: Answer) -> None:
    with serving(answer) as (client, _), pytest.raises(ServerRefused):
        client.merges()
    with serving(answer) as (client, _), pytest.raises(ServerRefused):
        client.enroll("Grace", b"a photo")


def _job(state: str) -> Answer:
    result = {"identities": 0, "faces": 0, "same_people": [], "same_faces": [], "misfiled": []}
    job = {"id": "ab", "state": state, "done": 0, "total": 0, "result": result, "error": None}
    return 200, JSON, json.dumps(job).encode()


def test_client_cancels_a_job_only_when_interrupted() -> None:
    with serving(_job("queued"), RETRY, None, _job("done")) as (client, requests):
        assert client.dedupe().faces == 0
    assert not any("cancel" in request for request, _ in requests)
    with serving(_job("queued"), *[RETRY] * 4) as (client, requests), pytest.raises(ServerRefused):
        client.dedupe()
    assert not any(
        "cancel" in request for request, _ in requests
    )  # another client may be waiting for it

    def interrupt(_done: int, _total: int) -> None:
        raise ZeroDivisionError

    with (
        serving(_job("queued"), (404, JSON, b"{}")) as (client, requests),
        pytest.raises(ZeroDivisionError),
    ):
        client.dedupe(interrupt)
    assert requests[-1][0] == "POST /v1/jobs/ab/cancel"


def test_photos_are_arrays_images_open_files_bytes_and_paths(
    client: Client, hopper: Path, tmp_path: Path, cache: Path
) -> None:
    with Image.open(hopper) as image, hopper.open("rb") as opened:
        pixels = np.asarray(image)
        enrolment = client.enroll("Grace", pixels, several="largest")
        assert enrolment.outcome == EnrolOutcome.ENROLLED and enrolment.photo == "(array)"
        for photo in (pixels, image, opened, hopper, hopper.read_bytes()):
            assert client.query(photo, several="largest").outcome == Outcome.MATCH
        assert client.query_all(image)[0].outcome == Outcome.MATCH
        assert client.compare(pixels, opened).same == 1
    # A gallery in this process recognises the same array.
    with Gallery.open(tmp_path / "home", cache=cache, threads=1) as gallery:
        assert gallery.enroll("Grace", pixels).outcome == EnrolOutcome.ALREADY
    with pytest.raises(PhotoUndecodable, match="type float64"):
        client.query(np.zeros((9, 9, 3)))
    with pytest.raises(PhotoUnreadable, match="dict is not a kind of photo"):
        client.query({})  # type: ignore[arg-type]
    with pytest.raises(SettingInvalid, match="'biggest'"):
        client.query(hopper, several="biggest")
