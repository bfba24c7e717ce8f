"""Idempotency keys: a write that is sent again is done once, whatever became of the first."""

from __future__ import annotations

import io
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from gallery.api import app
from gallery.api.access_log import json_log
from gallery.gallery import Gallery
from gallery.types import Enrolment
from tests.api.conftest import Serve
from tests.api.requests import enrol, is_problem

KEY = {"idempotency-key": "once"}


def address(client: httpx.Client) -> tuple[str, int]:
    assert client.base_url.port is not None
    return client.base_url.host, client.base_url.port


def post(client: httpx.Client, name: str, *photos: Path) -> httpx.Response:
    """A request built anew each time, with a boundary of its own, as every client builds it."""
    files = [("photo", (photo.name, photo.read_bytes())) for photo in photos]
    return client.post("/v1/identities", data={"name": name}, files=files, headers=KEY)


def test_a_form_that_is_built_again_is_the_same_request(client: httpx.Client, hopper: Path) -> None:
    first, again = post(client, "Grace", hopper), post(client, "Grace", hopper)
    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotency-replayed"] == "true" and again.content == first.content
    assert is_problem(post(client, "Eileen", hopper), 422, "key-used-before")
    as_json = client.post("/v1/identities", json={"name": "Grace"}, headers=KEY)
    assert is_problem(as_json, 422, "key-used-before")


def test_an_upload_that_breaks_off_is_not_done_and_its_key_is_free(
    client: httpx.Client, hopper: Path
) -> None:
    request = client.build_request(
        "POST",
        "/v1/identities/1/merge",
        headers=KEY,
        json={"others": [2]},
    )
    body = request.read()
    enrol(client, "Grace", hopper)
    head = f"POST {request.url.path} HTTP/1.1\r\nhost: 127.0.0.1\r\nidempotency-key: once\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body) + 9}\r\n\r\n"
    with socket.create_connection(address(client)) as half:
        half.sendall(head.encode() + body)  # valid as it is, but nine bytes are missing
        time.sleep(0.3)
    time.sleep(0.3)
    whole = client.send(request)
    assert "idempotency-replayed" not in whole.headers
    assert is_problem(whole, 404, "identity-not-found")


def test_what_is_answered_too_late_is_not_begun_again_meanwhile(
    serve: Serve, tmp_path: Path, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, begun = threading.Event(), []
    real = Gallery.enroll

    def slow(self: Gallery, *given: object, **options: object) -> Enrolment:
        begun.append(given)
        assert go_on.wait(30)
        return real(self, *given, **options)

    with serve(tmp_path / "home", api_seconds=1) as client:
        monkeypatch.setattr(Gallery, "enroll", slow)
        late = post(client, "Grace", hopper)
        assert is_problem(late, 503, "service-unavailable") and "may yet be done" in late.text
        assert is_problem(post(client, "Grace", hopper), 409, "still-working")
        assert len(begun) == 1
        go_on.set()
        for _ in range(200):
            answer = post(client, "Grace", hopper)
            if answer.status_code != 409:
                break
            time.sleep(0.05)
        assert answer.json()["enrolments"][0]["outcome"] == "already"


def test_of_many_photos_what_is_done_is_told_when_the_time_is_over(
    serve: Serve, tmp_path: Path, hopper: Path, collins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, begun = Gallery.enroll, []

    def slow(self: Gallery, *given: object, **options: object) -> Enrolment:
        begun.append(given)
        done = real(self, *given, **options)
        time.sleep(0 if len(begun) == 1 else 2)
        return done

    with serve(tmp_path / "home", api_seconds=1.5, workers=1) as client:
        enrol(client, "Eileen", collins)  # the first photo of a process is slow
        monkeypatch.setattr(Gallery, "enroll", slow)
        answer = post(client, "Grace", hopper, hopper, hopper)
        assert answer.status_code == 201
        one, two, three = answer.json()["enrolments"]
        assert (one["outcome"], two["outcome"], three["outcome"]) == ("enrolled", "error", "error")
        assert "may yet be done" in two["reason"] and "not reached in time" in three["reason"]
        time.sleep(2.5)
        assert len(begun) == 2  # what was not reached was not begun afterwards
        monkeypatch.undo()
        again = post(client, "Grace", hopper, hopper, hopper).json()["enrolments"]
        assert [one["outcome"] for one in again] == ["already"] * 3


def test_answers_are_forgotten_when_anyone_is_erased_here_or_elsewhere(
    client: httpx.Client, tmp_path: Path, hopper: Path, collins: Path
) -> None:
    assert post(client, "Grace", hopper).status_code == 201
    client.delete("/v1/identities/99")
    assert post(client, "Grace", hopper).headers["idempotency-replayed"] == "true"
    with Gallery.open(tmp_path / "home") as elsewhere:
        elsewhere.forget("Grace")
    assert post(client, "Grace", hopper).json()["enrolments"][0]["identity"]["id"] == 2


def test_an_erasure_whose_answer_was_lost_is_not_said_to_be_of_nobody(
    client: httpx.Client, hopper: Path
) -> None:
    enrol(client, "Grace", hopper)
    first, again = (client.delete("/v1/identities/1", headers=KEY) for _ in range(2))
    assert again.json() == first.json() and first.json()["identity_id"] == 1
    assert again.headers["idempotency-replayed"] == "true"


def test_who_hangs_up_is_no_mistake(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    monkeypatch.setattr(app, "json_log", lambda: json_log(log))
    with serve(tmp_path / "home") as client:
        with socket.create_connection(address(client)) as half:
            half.sendall(
                b"POST /v1/query HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/jpeg\r\n"
                b"content-length: 1000\r\n\r\nxxx"
            )
            time.sleep(0.3)
        for _ in range(100):
            if "/v1/query" in log.getvalue():
                break
            time.sleep(0.02)
    assert '"status": 499' in log.getvalue() and "exception" not in log.getvalue()
