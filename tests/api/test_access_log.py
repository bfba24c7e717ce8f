"""Logs and metrics say what happened, and nobody's name."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gallery.api import app, audit_buffer
from gallery.api.access_log import json_log
from gallery.gallery import Gallery
from gallery.store import audit
from gallery.timing import STAGES
from tests.api.requests import enrol, query


def samples(client: httpx.Client) -> dict[tuple[str, tuple[str, ...]], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the server logs."""
    stream = io.StringIO()
    monkeypatch.setattr(app, "json_log", lambda: json_log(stream))
    return stream


def logged(log: io.StringIO, lines: int) -> str:
    """What was logged; a line is written just after its answer was sent."""
    for _ in range(500):
        if log.getvalue().count("\n") >= lines:
            return log.getvalue()
        time.sleep(0.01)
    raise AssertionError(log.getvalue())


def test_metrics_count_what_was_asked(client: httpx.Client, hopper: Path, collins: Path) -> None:
    enrol(client, "Grace Hopper", hopper)
    query(client, hopper)
    query(client, collins)
    client.get("/v1/identities/77")
    client.get("/v1/Grace")
    found = samples(client)
    assert found["gallery_decisions_total", ("match",)] == 1
    assert found["gallery_decisions_total", ("unknown",)] == 1
    assert found["gallery_requests_total", ("POST", "/v1/query", "200")] == 2
    assert found["gallery_requests_total", ("GET", "/v1/identities/{identity}", "404")] == 1
    assert found["gallery_identities", ()] == found["gallery_faces", ()] == 1
    assert found["gallery_queue", ()] == 0
    for stage in STAGES:
        assert found["gallery_stage_seconds_count", (stage,)] >= 2, stage
        assert found["gallery_stage_seconds_sum", (stage,)] > 0
    assert "Grace" not in client.get("/metrics").text


def test_a_request_is_a_line_of_json_without_a_name(
    log: io.StringIO, client: httpx.Client, hopper: Path
) -> None:
    enrol(client, "Grace Hopper", hopper)
    client.get("/v1/identities", params={"search": "Grace"}, headers={"x-request-id": "r.1"})
    strange = client.get("/healthz", headers={"x-request-id": 'x"} injected'})
    assert client.get("/healthz").headers["x-request-id"] != strange.headers["x-request-id"]
    printed = logged(log, 4)
    first, second, *_ = (json.loads(line) for line in printed.splitlines())
    assert (first["route"], first["status"], first["actor"]) == (
        "/v1/identities", 201, "this machine",
    )  # fmt: skip
    assert second["request_id"] == "r.1" and second["seconds"] >= 0
    assert "Grace" not in printed and "injected" not in printed


def test_a_mistake_is_told_to_the_log_and_not_to_the_client(
    log: io.StringIO, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Gallery) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr(Gallery, "identities", broken)
    answer = client.get("/v1/identities")
    assert answer.status_code == 500 and "the secret" not in answer.text
    assert answer.json()["type"] == "urn:face-gallery:mistake-in-the-program"
    assert answer.headers["x-content-type-options"] == "nosniff"
    line = json.loads(logged(log, 1))
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["status"] == 500 and "the secret" in line["exception"]


def test_what_is_noted_while_the_trail_is_written_is_not_dropped_unwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_buffer, "_MOST", 3)
    real = audit.record
    with Gallery.open(tmp_path / "home") as opened:
        noted = audit_buffer.AuditBuffer(opened.database, json_log(io.StringIO()))
        for outcome in ("a", "b", "c"):
            noted.note("query", outcome)

        def while_written(*given: object, **options: object) -> None:
            monkeypatch.setattr(audit, "record", real)
            noted.note("query", "d")  # of a full list the oldest makes room
            noted.note("query", "e")
            real(*given, **options)

        monkeypatch.setattr(audit, "record", while_written)
        noted.write()
        noted.write()
        with opened.database.reading() as session:
            assert [e.outcome for e in audit.entries(session, 9)] == ["a", "b", "c", "d", "e"]
