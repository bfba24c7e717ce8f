"""The access log and the metrics, which contain no names."""

from __future__ import annotations

import io
import json
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gallery.api import app, audit_buffer
from gallery.api.access_log import json_log
from gallery.gallery import Gallery
from gallery.store import audit
from gallery.timing import STAGES
from tests.api.conftest import Serve
from tests.api.requests import enrol, query, wait_until


def samples(client: httpx.Client) -> dict[tuple[str, tuple[str, ...]], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The server's log."""
    stream = io.StringIO()
    monkeypatch.setattr(app, "json_log", lambda: json_log(stream))
    return stream


def wait_for_lines(log: io.StringIO, count: int) -> list[str]:
    """The lines of the log; each is written just after its answer was sent."""
    wait_until(lambda: log.getvalue().count("\n") >= count)
    return log.getvalue().splitlines()


def test_metrics_count_requests_decisions_and_stages(
    client: httpx.Client, hopper: Path, collins: Path
) -> None:
    enrol(client, "Grace Hopper", hopper)
    query(client, hopper)
    query(client, collins)
    client.get("/v1/identities/77")
    client.get("/v1/Grace")
    metrics = samples(client)
    assert metrics["gallery_decisions_total", ("match",)] == 1
    assert metrics["gallery_decisions_total", ("unknown",)] == 1
    assert metrics["gallery_requests_total", ("POST", "/v1/query", "200")] == 2
    assert metrics["gallery_requests_total", ("GET", "/v1/identities/{identity}", "404")] == 1
    assert metrics["gallery_identities", ()] == metrics["gallery_faces", ()] == 1
    assert metrics["gallery_queue", ()] == 0
    for stage in STAGES:
        assert metrics["gallery_stage_seconds_count", (stage,)] >= 2, stage
        assert metrics["gallery_stage_seconds_sum", (stage,)] > 0
    assert "Grace" not in client.get("/metrics").text


def test_request_is_logged_as_json_without_names(
    log: io.StringIO, client: httpx.Client, hopper: Path
) -> None:
    enrol(client, "Grace Hopper", hopper)
    client.get("/v1/identities", params={"search": "Grace"}, headers={"x-request-id": "r.1"})
    invalid = client.get("/healthz", headers={"x-request-id": 'x"} injected'})
    assert client.get("/healthz").headers["x-request-id"] != invalid.headers["x-request-id"]
    lines = wait_for_lines(log, 4)
    first, second, *_ = (json.loads(line) for line in lines)
    assert (first["route"], first["status"], first["actor"]) == (
        "/v1/identities", 201, "this machine",
    )  # fmt: skip
    assert second["request_id"] == "r.1" and second["seconds"] >= 0
    assert not any("Grace" in line or "injected" in line for line in lines)


def test_internal_error_is_logged_but_not_shown_to_the_client(
    log: io.StringIO, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Gallery, search: str, **options: object) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr(Gallery, "identity_page", broken)
    response = client.get("/v1/identities")
    assert response.status_code == 500 and "the secret" not in response.text
    assert response.json()["type"] == "urn:face-gallery:mistake-in-the-program"
    assert response.headers["x-content-type-options"] == "nosniff"
    line = json.loads(wait_for_lines(log, 1)[0])
    assert line["request_id"] == response.headers["x-request-id"]
    assert line["status"] == 500 and "the secret" in line["exception"]


def test_audit_entries_added_during_a_flush_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_buffer, "_CAPACITY", 3)
    real = audit.record
    with Gallery.open(tmp_path / "home") as opened:
        buffer = audit_buffer.AuditBuffer(opened.database, json_log(io.StringIO()))
        for outcome in ("a", "b", "c"):
            buffer.add("query", outcome)

        def record_slowly(*args: object, **options: object) -> None:
            monkeypatch.setattr(audit, "record", real)
            buffer.add("query", "d")  # a full buffer drops its oldest entry
            buffer.add("query", "e")
            real(*args, **options)

        monkeypatch.setattr(audit, "record", record_slowly)
        buffer.flush()
        buffer.flush()
        with opened.database.reading() as session:
            assert [e.outcome for e in audit.entries(session, 9)] == ["a", "b", "c", "d", "e"]


def test_expiry_that_the_server_performs_is_recorded_as_the_servers(
    serve: Serve, tmp_path: Path, cache: Path, hopper: Path
) -> None:
    with Gallery.open(tmp_path / "home", cache=cache, threads=1) as gallery:
        gallery.enroll("Grace Hopper", hopper)
        gallery.describe("Grace Hopper", details={}, expires="2020-01-01")
        with serve(tmp_path / "home"):
            wait_until(lambda: not gallery.identities())
        with gallery.database.reading() as session:
            (entry,) = audit.entries(session, 1)
        assert (entry.action, entry.actor) == ("expire", "server")
