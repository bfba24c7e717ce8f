"""Writes that are sent twice, changed meanwhile, taken back; long work; pictures of faces."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from gallery.gallery import Gallery
from gallery.store import jobs
from gallery.store.jobs import JobState
from tests.api.conftest import Serve
from tests.api.requests import enrol, is_problem, misfile, query


def ended(client: httpx.Client, job: str) -> dict[str, object]:
    for _ in range(200):
        found = client.get(f"/v1/jobs/{job}").json()
        if found["state"] in ("done", "failed", "cancelled"):
            return dict(found)
        time.sleep(0.05)
    raise AssertionError(found)


def test_a_merge_is_taken_back(client: httpx.Client, hopper: Path, collins: Path) -> None:
    enrol(client, "Grace", hopper)
    enrol(client, "Eileen", collins)
    merged = client.post("/v1/identities/1/merge", json={"others": [2]}).json()
    assert merged["faces"] == 2
    (listed,) = client.get("/v1/merges").json()["merges"]
    assert (listed["merge_id"], listed["kept"], listed["others"]) == (merged["merge_id"], 1, [2])
    assert query(client, collins).json()["identity"]["name"] == "Grace"
    undo = f"/v1/merges/{merged['merge_id']}/undo"
    back = client.post(undo).json()["identities"]
    assert [(one["name"], one["faces"]) for one in back] == [("Grace", 1), ("Eileen", 1)]
    assert query(client, collins).json()["identity"]["name"] == "Eileen"
    assert is_problem(client.post(undo), 404, "merge-not-found")
    itself = client.post("/v1/identities/1/merge", json={"others": [1]})
    assert is_problem(itself, 422, "merge-empty")


def test_an_etag_says_whether_someone_else_was_quicker(client: httpx.Client, hopper: Path) -> None:
    enrol(client, "Grace", hopper)
    path = "/v1/identities/1"
    tag = client.get(path).headers["etag"]
    assert client.get(path, headers={"if-none-match": tag}).status_code == 304
    changes = {"details": {"rank": "admiral"}}
    changed = client.patch(path, json=changes, headers={"if-match": f'"other", {tag}'})
    assert changed.status_code == 200
    assert changed.headers["etag"] == client.get(path).headers["etag"] != tag
    late = client.patch(path, json={"name": "Late"}, headers={"if-match": tag})
    assert is_problem(late, 412, "precondition-failed")
    gone = client.delete(path, headers={"if-match": tag})
    assert is_problem(gone, 412, "precondition-failed")
    assert client.get(path).json()["name"] == "Grace"
    assert client.get(path, headers={"if-none-match": tag}).status_code == 200


def test_conditions_are_lists_and_a_weak_tag_is_enough_to_know_it(
    client: httpx.Client, hopper: Path
) -> None:
    enrol(client, "Grace", hopper)
    path = "/v1/identities/1"
    tag = client.get(path).headers["etag"]
    for known in ("*", f"W/{tag}", f'"a", W/"b,c", {tag}'):
        assert client.get(path, headers={"if-none-match": known}).status_code == 304, known
    assert client.get(path, headers={"if-none-match": f"x{tag[1:-1]}"}).status_code == 200
    weak = client.patch(path, json={}, headers={"if-match": f"W/{tag}"})
    assert is_problem(weak, 412, "precondition-failed")
    renamed = client.patch(path, json={"name": "G."}, headers={"if-match": "*"})
    assert renamed.headers["etag"] == client.get(path).headers["etag"]
    assert client.delete(path, headers={"if-match": renamed.headers["etag"]}).status_code == 200


def test_a_refusal_is_told_to_programs_too(
    client: httpx.Client, hopper: Path, no_one: list[Path]
) -> None:
    enrol(client, "Grace", hopper)
    (refused,) = enrol(client, "Someone", hopper).json()["enrolments"]
    assert refused["refusal"] == "matches_another" and "--" not in refused["reason"]
    assert refused["rivals"] == [{"id": 1, "name": "Grace"}]
    (refused,) = enrol(client, "Cat", no_one[0]).json()["enrolments"]
    assert refused["refusal"] == "no_face" and refused["rivals"] == []


def test_a_write_sent_again_is_done_once(client: httpx.Client, hopper: Path, collins: Path) -> None:
    key = {"idempotency-key": "once"}
    body = {"data": {"name": "Grace"}, "files": {"photo": ("a.jpg", hopper.read_bytes())}}
    request = client.build_request("POST", "/v1/identities", headers=key, **body)
    request.read()
    first = client.send(request)
    again = client.send(request)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content and again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    other = client.post("/v1/identities", json={"name": "Other"}, headers=key)
    assert is_problem(other, 422, "key-used-before")
    assert is_problem(
        client.patch("/v1/identities/1", json={}, headers={"idempotency-key": "x" * 201}),
        400,
        "bad-request",
    )
    client.delete("/v1/identities/1")  # what was answered bears a name: it is forgotten too
    assert client.send(request).json()["enrolments"][0]["identity"]["id"] == 2


def test_one_of_many_at_once_is_done(client: httpx.Client, hopper: Path) -> None:
    body = {"data": {"name": "Grace"}, "files": {"photo": ("a.jpg", hopper.read_bytes())}}
    key = {"idempotency-key": "race"}
    request = client.build_request("POST", "/v1/identities", headers=key, **body)
    request.read()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.send(request), range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert sum("idempotency-replayed" not in a.headers for a in answers if a.is_success) == 1
    assert client.get("/v1/identities").json()["total"] == 1


def test_duplicates_are_found_by_a_job_and_decided(client: httpx.Client, hopper: Path) -> None:
    enrol(client, "Grace", hopper)
    client.post(
        "/v1/identities?force=true",
        data={"name": "G. Hopper"},
        files={"photo": ("b.jpg", hopper.read_bytes())},
    )
    begun = client.post("/v1/dedupe")
    assert begun.status_code == 202
    path = begun.headers["location"]
    job = ended(client, begun.json()["id"])
    assert job["state"] == "done" and job["done"] == job["total"] == 4
    (pair,) = client.get(path).json()["result"]["same_people"]
    assert {one["name"] for one in pair["identities"]} == {"Grace", "G. Hopper"}
    assert len(client.get(path).json()["result"]["same_faces"]) == 1
    client.patch("/v1/identities/1", json={"name": "Grace Hopper"})
    (pair,) = client.get(path).json()["result"]["same_people"]
    assert "Grace Hopper" in {one["name"] for one in pair["identities"]}
    assert client.put("/v1/identities/1/distinct/2").status_code == 204
    assert client.get(path).json()["result"]["same_people"] == []
    client.delete("/v1/identities/1/distinct/2")
    assert len(client.get(path).json()["result"]["same_people"]) == 1
    client.delete("/v1/identities/2")
    assert client.get(path).json()["result"]["same_people"] == []
    assert client.get(path).json()["result"]["same_faces"] == []
    assert is_problem(client.get("/v1/jobs/abc"), 404, "job-not-found")


def test_a_face_under_a_wrong_name_is_found_moved_and_moved_back(
    client: httpx.Client, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    misfile(client, tmp_path, hopper, collins)
    path = f"/v1/jobs/{ended(client, client.post('/v1/dedupe').json()['id'])['id']}"

    def wrong() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.get(path).json()["result"]["misfiled"]
        return found

    (found,) = wrong()
    face, owner, suggested = found["face"], found["face"]["identity"], found["suggested"]
    assert (owner["name"], suggested["name"]) == ("Eileen", "Grace")
    assert face["photo"] == "wrong.jpg" and 0.5 < found["probability"] <= 1.0
    right = f"/v1/faces/{face['face_id']}/right"
    assert client.put(right).status_code == 204 and wrong() == []
    assert client.delete(right).status_code == 204 and len(wrong()) == 1
    place = f"/v1/faces/{face['face_id']}/identity"
    moved = client.put(f"{place}/{suggested['id']}")
    assert moved.status_code == 200 and moved.json()["faces"] == 4 and wrong() == []
    assert client.put(f"{place}/{owner['id']}").json()["faces"] == 4 and len(wrong()) == 1
    assert is_problem(client.put(f"{place}/99"), 404, "identity-not-found")
    assert is_problem(client.put("/v1/faces/99/right"), 404, "face-not-found")
    assert is_problem(client.put("/v1/faces/99/identity/1"), 404, "face-not-found")


def test_a_face_is_not_moved_where_it_would_leave_nobody_or_be_twice(
    client: httpx.Client, hopper: Path, collins: Path
) -> None:
    enrol(client, "Grace", hopper)
    enrol(client, "Eileen", collins)
    assert is_problem(client.put("/v1/faces/1/identity/2"), 409, "last-face")
    client.post(
        "/v1/identities?force=true",
        data={"name": "Eileen"},
        files={"photo": ("again.jpg", hopper.read_bytes())},
    )
    assert is_problem(client.put("/v1/faces/3/identity/1"), 409, "face-there")


def test_a_job_is_cancelled(
    client: httpx.Client, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = []

    def slow(self: Gallery, progress) -> None:
        began.append(True)
        while True:  # as the real work does: a cancelled job ends at its next note of progress
            progress(1, 2)
            time.sleep(0.05)

    monkeypatch.setattr(Gallery, "dedupe", slow)
    first = client.post("/v1/dedupe").json()
    assert client.post("/v1/dedupe").json()["id"] == first["id"]
    while not began:
        time.sleep(0.01)
    assert client.post(f"/v1/jobs/{first['id']}/cancel").json()["state"] == "cancelled"
    monkeypatch.undo()
    second = client.post("/v1/dedupe").json()
    assert second["id"] != first["id"]
    assert ended(client, second["id"])["state"] == "done"
    assert client.get(f"/v1/jobs/{first['id']}").json()["state"] == "cancelled"


def test_a_job_goes_on_after_a_restart(serve: Serve, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "home") as opened, opened.database.writing() as session:
        job = jobs.add(session, "dedupe").id
        jobs.change(session, job, state=JobState.RUNNING, done=5, total=9)
    with serve(tmp_path / "home") as client:
        assert ended(client, job)["state"] == "done"


def test_two_servers_of_one_gallery_do_a_job_once(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = []
    real = Gallery.dedupe

    def slow(self: Gallery, progress) -> object:
        began.append(self)
        for _ in range(20):  # long enough for the other one to look
            progress(1, 2)
            time.sleep(0.1)
        return real(self, progress)

    monkeypatch.setattr(Gallery, "dedupe", slow)
    with serve(tmp_path / "home") as one, serve(tmp_path / "home") as other:
        job = one.post("/v1/dedupe").json()["id"]
        assert other.post("/v1/dedupe").json()["id"] == job
        assert ended(other, job)["state"] == "done"
    assert len(began) == 1
    assert (tmp_path / "home" / "jobs.lock").stat().st_mode & 0o777 == 0o600


def test_a_job_that_fails_says_why(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Gallery, progress) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Gallery, "dedupe", broken)
    job = ended(client, client.post("/v1/dedupe").json()["id"])
    assert job["state"] == "failed" and job["error"] == "a mistake in the program: RuntimeError"


def test_pictures_are_there_when_they_are_kept(
    serve: Serve, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    with serve(tmp_path / "home") as client:
        enrol(client, "Grace", hopper)
        assert is_problem(client.get("/v1/faces/1/thumbnail"), 404, "thumbnail-not-found")
    with serve(tmp_path / "home", thumbnails=True) as client:
        enrol(client, "Eileen", collins)
        picture = client.get("/v1/faces/2/thumbnail")
        assert picture.headers["content-type"] == "image/jpeg"
        assert max(Image.open(io.BytesIO(picture.content)).size) == 160
        known = {"if-none-match": picture.headers["etag"]}
        assert client.get("/v1/faces/2/thumbnail", headers=known).status_code == 304
        client.delete("/v1/identities/2")
        assert client.get("/v1/faces/2/thumbnail", headers=known).status_code == 404
