"""Merges, conditional and repeated writes, dedupe jobs, thumbnails."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from gallery.errors import HomeUnusable
from gallery.gallery import Gallery
from gallery.store import jobs
from gallery.store.jobs import JobState
from tests.api.conftest import Serve
from tests.api.requests import (
    enrol,
    enrol_mislabelled,
    force_enrol,
    is_problem,
    query,
    wait_until,
)


def wait_for_job(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """The job, once it has ended."""

    def job() -> dict[str, Any]:
        return dict(client.get(f"/v1/jobs/{job_id}").json())

    wait_until(lambda: job()["state"] in ("done", "failed", "cancelled"))
    return job()


def test_merge_is_undone(client: httpx.Client, hopper: Path, collins: Path) -> None:
    enrol(client, "Grace", hopper)
    enrol(client, "Eileen", collins)
    merged = client.post("/v1/identities/1/merge", json={"others": [2]}).json()
    assert merged["faces"] == 2
    (listed,) = client.get("/v1/merges").json()["merges"]
    assert (listed["merge_id"], listed["kept"], listed["others"]) == (merged["merge_id"], 1, [2])
    assert query(client, collins).json()["identity"]["name"] == "Grace"
    undo = f"/v1/merges/{merged['merge_id']}/undo"
    restored = client.post(undo).json()["identities"]
    assert [(identity["name"], identity["faces"]) for identity in restored] == [
        ("Grace", 1),
        ("Eileen", 1),
    ]
    assert query(client, collins).json()["identity"]["name"] == "Eileen"
    assert is_problem(client.post(undo), 404, "merge-not-found")
    itself = client.post("/v1/identities/1/merge", json={"others": [1]})
    assert is_problem(itself, 422, "merge-empty")


def test_stale_etag_is_refused(client: httpx.Client, hopper: Path) -> None:
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
    erased = client.delete(path, headers={"if-match": tag})
    assert is_problem(erased, 412, "precondition-failed")
    assert client.get(path).json()["name"] == "Grace"
    assert client.get(path, headers={"if-none-match": tag}).status_code == 200


def test_etag_lists_and_weak_etags(client: httpx.Client, hopper: Path) -> None:
    enrol(client, "Grace", hopper)
    path = "/v1/identities/1"
    tag = client.get(path).headers["etag"]
    for tags in ("*", f"W/{tag}", f'"a", W/"b,c", {tag}'):
        assert client.get(path, headers={"if-none-match": tags}).status_code == 304, tags
    assert client.get(path, headers={"if-none-match": f"x{tag[1:-1]}"}).status_code == 200
    weak = client.patch(path, json={}, headers={"if-match": f"W/{tag}"})
    assert is_problem(weak, 412, "precondition-failed")
    renamed = client.patch(path, json={"name": "G."}, headers={"if-match": "*"})
    assert renamed.headers["etag"] == client.get(path).headers["etag"]
    assert client.delete(path, headers={"if-match": renamed.headers["etag"]}).status_code == 200


def test_refusal_is_machine_readable(
    client: httpx.Client, hopper: Path, no_one: list[Path]
) -> None:
    enrol(client, "Grace", hopper)
    (refused,) = enrol(client, "Someone", hopper).json()["enrolments"]
    assert refused["refusal"] == "matches_another" and "--" not in refused["reason"]
    assert refused["rivals"] == [{"id": 1, "name": "Grace"}]
    (refused,) = enrol(client, "Cat", no_one[0]).json()["enrolments"]
    assert refused["refusal"] == "no_face" and refused["rivals"] == []


def test_retried_write_is_executed_once(client: httpx.Client, hopper: Path, collins: Path) -> None:
    key = {"idempotency-key": "once"}
    body = {"data": {"name": "Grace"}, "files": {"photo": ("a.jpg", hopper.read_bytes())}}
    request = client.build_request("POST", "/v1/identities", headers=key, **body)
    request.read()
    first = client.send(request)
    retry = client.send(request)
    assert (first.status_code, retry.status_code) == (201, 201)
    assert retry.content == first.content and retry.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    other = client.post("/v1/identities", json={"name": "Other"}, headers=key)
    assert is_problem(other, 422, "key-used-before")
    assert is_problem(
        client.patch("/v1/identities/1", json={}, headers={"idempotency-key": "x" * 201}),
        400,
        "bad-request",
    )
    client.delete("/v1/identities/1")  # the stored answer has a name, so it is dropped
    assert client.send(request).json()["enrolments"][0]["identity"]["id"] == 2


def test_concurrent_retries_are_executed_once(client: httpx.Client, hopper: Path) -> None:
    body = {"data": {"name": "Grace"}, "files": {"photo": ("a.jpg", hopper.read_bytes())}}
    key = {"idempotency-key": "race"}
    request = client.build_request("POST", "/v1/identities", headers=key, **body)
    request.read()
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: client.send(request), range(8)))
    assert {response.status_code for response in responses} <= {201, 409}
    assert sum("idempotency-replayed" not in r.headers for r in responses if r.is_success) == 1
    assert client.get("/v1/identities").json()["total"] == 1


def test_dedupe_job_finds_duplicates_and_follows_later_changes(
    client: httpx.Client, hopper: Path
) -> None:
    enrol(client, "Grace", hopper)
    force_enrol(client, "G. Hopper", hopper, "b.jpg")
    started = client.post("/v1/dedupe")
    assert started.status_code == 202
    path = started.headers["location"]
    job = wait_for_job(client, started.json()["id"])
    assert job["state"] == "done" and job["done"] == job["total"] == 4
    (pair,) = client.get(path).json()["result"]["same_people"]
    assert {identity["name"] for identity in pair["identities"]} == {"Grace", "G. Hopper"}
    assert len(client.get(path).json()["result"]["same_faces"]) == 1
    client.patch("/v1/identities/1", json={"name": "Grace Hopper"})
    (pair,) = client.get(path).json()["result"]["same_people"]
    assert "Grace Hopper" in {identity["name"] for identity in pair["identities"]}
    assert client.put("/v1/identities/1/distinct/2").status_code == 204
    assert client.get(path).json()["result"]["same_people"] == []
    client.delete("/v1/identities/1/distinct/2")
    assert len(client.get(path).json()["result"]["same_people"]) == 1
    client.delete("/v1/identities/2")
    assert client.get(path).json()["result"]["same_people"] == []
    assert client.get(path).json()["result"]["same_faces"] == []
    assert is_problem(client.get("/v1/jobs/abc"), 404, "job-not-found")


def test_mislabelled_face_is_found_moved_and_moved_back(
    client: httpx.Client, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    enrol_mislabelled(client, tmp_path, hopper, collins)
    path = f"/v1/jobs/{wait_for_job(client, client.post('/v1/dedupe').json()['id'])['id']}"

    def mislabelled() -> list[dict[str, Any]]:
        findings: list[dict[str, Any]] = client.get(path).json()["result"]["misfiled"]
        return findings

    (finding,) = mislabelled()
    face, owner, suggested = finding["face"], finding["face"]["identity"], finding["suggested"]
    assert (owner["name"], suggested["name"]) == ("Eileen", "Grace")
    assert face["photo"] == "wrong.jpg" and 0.5 < finding["probability"] <= 1.0
    right = f"/v1/faces/{face['face_id']}/right"
    assert client.put(right).status_code == 204 and mislabelled() == []
    assert client.delete(right).status_code == 204 and len(mislabelled()) == 1
    place = f"/v1/faces/{face['face_id']}/identity"
    moved = client.put(f"{place}/{suggested['id']}")
    assert moved.status_code == 200 and moved.json()["faces"] == 4 and mislabelled() == []
    assert client.put(f"{place}/{owner['id']}").json()["faces"] == 4 and len(mislabelled()) == 1
    assert is_problem(client.put(f"{place}/99"), 404, "identity-not-found")
    assert is_problem(client.put("/v1/faces/99/right"), 404, "face-not-found")
    assert is_problem(client.put("/v1/faces/99/identity/1"), 404, "face-not-found")


def test_last_face_or_face_already_enrolled_is_not_moved(
    client: httpx.Client, hopper: Path, collins: Path
) -> None:
    enrol(client, "Grace", hopper)
    enrol(client, "Eileen", collins)
    assert is_problem(client.put("/v1/faces/1/identity/2"), 409, "last-face")
    force_enrol(client, "Eileen", hopper, "again.jpg")
    assert is_problem(client.put("/v1/faces/3/identity/1"), 409, "face-there")


def test_job_is_cancelled(
    client: httpx.Client, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def slow(self: Gallery, progress) -> None:
        calls.append(True)
        while True:  # as in the real work: a cancelled job ends at its next progress
            progress(1, 2)
            time.sleep(0.05)

    monkeypatch.setattr(Gallery, "dedupe", slow)
    first = client.post("/v1/dedupe").json()
    assert client.post("/v1/dedupe").json()["id"] == first["id"]
    wait_until(lambda: bool(calls))
    assert client.post(f"/v1/jobs/{first['id']}/cancel").json()["state"] == "cancelled"
    monkeypatch.undo()
    second = client.post("/v1/dedupe").json()
    assert second["id"] != first["id"]
    assert wait_for_job(client, second["id"])["state"] == "done"
    assert client.get(f"/v1/jobs/{first['id']}").json()["state"] == "cancelled"


def test_job_is_resumed_after_a_restart(serve: Serve, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "home") as opened, opened.database.writing() as session:
        job = jobs.add(session, "dedupe").id
        jobs.change(session, job, state=JobState.RUNNING, done=5, total=9)
    with serve(tmp_path / "home") as client:
        assert wait_for_job(client, job)["state"] == "done"


def test_job_that_ends_the_process_is_not_started_for_ever(serve: Serve, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "home") as opened, opened.database.writing() as session:
        job = jobs.add(session, "dedupe").id
        for _ in range(jobs.MOST_TRIES):  # as servers do that never get further
            assert jobs.begin(session, job)
    with serve(tmp_path / "home") as client:
        ended = wait_for_job(client, job)
        assert ended["state"] == "failed" and "started 3 times" in ended["error"]
        assert wait_for_job(client, client.post("/v1/dedupe").json()["id"])["state"] == "done"


def test_stopping_the_server_is_no_try_of_its_job(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def slow(self: Gallery, progress) -> None:
        calls.append(True)
        while True:
            progress(1, 2)
            time.sleep(0.05)

    monkeypatch.setattr(Gallery, "dedupe", slow)
    for number in range(jobs.MOST_TRIES + 1):
        with serve(tmp_path / "home") as client:
            job = client.post("/v1/dedupe").json()["id"]
            wait_until(lambda number=number: len(calls) > number)  # type: ignore[misc]
    monkeypatch.undo()
    with serve(tmp_path / "home") as client:
        assert wait_for_job(client, job)["state"] == "done"


def test_two_servers_of_one_gallery_run_a_job_once(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = Gallery.dedupe

    def slow(self: Gallery, progress) -> object:
        calls.append(self)
        for _ in range(20):  # long enough for the other server to look for jobs
            progress(1, 2)
            time.sleep(0.1)
        return real(self, progress)

    monkeypatch.setattr(Gallery, "dedupe", slow)
    with serve(tmp_path / "home") as first, serve(tmp_path / "home") as other:
        job = first.post("/v1/dedupe").json()["id"]
        assert other.post("/v1/dedupe").json()["id"] == job
        assert wait_for_job(other, job)["state"] == "done"
    assert len(calls) == 1
    assert (tmp_path / "home" / "jobs.lock").stat().st_mode & 0o777 == 0o600


def test_failed_job_reports_its_error(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Gallery, progress) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Gallery, "dedupe", fail)
    job = wait_for_job(client, client.post("/v1/dedupe").json()["id"])
    assert job["state"] == "failed" and job["error"] == "internal error (RuntimeError)"


def test_failed_job_does_not_name_the_servers_folders(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Gallery, progress) -> None:
        raise HomeUnusable("/srv/private/home/faces.index cannot be written")

    monkeypatch.setattr(Gallery, "dedupe", fail)
    job = wait_for_job(client, client.post("/v1/dedupe").json()["id"])
    assert job["error"] == "faces.index cannot be written"


def test_thumbnails_exist_only_if_kept_and_until_erased(
    serve: Serve, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    with serve(tmp_path / "home") as client:
        enrol(client, "Grace", hopper)
        assert is_problem(client.get("/v1/faces/1/thumbnail"), 404, "thumbnail-not-found")
    with serve(tmp_path / "home", thumbnails=True) as client:
        enrol(client, "Eileen", collins)
        thumbnail = client.get("/v1/faces/2/thumbnail")
        assert thumbnail.headers["content-type"] == "image/jpeg"
        assert max(Image.open(io.BytesIO(thumbnail.content)).size) == 160
        known = {"if-none-match": thumbnail.headers["etag"]}
        assert client.get("/v1/faces/2/thumbnail", headers=known).status_code == 304
        client.delete("/v1/identities/2")
        assert client.get("/v1/faces/2/thumbnail", headers=known).status_code == 404
