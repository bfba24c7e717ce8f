"""Dates of photos over HTTP and in the client."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import pytest

from gallery import Client
from gallery.errors import DateInvalid, FaceNotFound, GalleryError
from tests.api.requests import is_problem


def post(client: httpx.Client, path: str, photo: Path, **fields: str) -> httpx.Response:
    files = {"photo": (photo.name, photo.read_bytes())}
    return client.post(path, data=fields, files=files)


def test_date_is_a_field_of_enrolment_and_query(
    client: httpx.Client, hopper: Path, collins: Path
) -> None:
    for name, photo, taken in (("Grace", hopper, "1984-01"), ("Eileen", collins, "1999")):
        assert post(client, "/v1/identities", photo, name=name, taken=taken).status_code == 201
    grace = client.get("/v1/identities/1").json()
    assert [face["taken"] for face in grace["enrolled"]] == ["1984-01"]
    assert (grace["years"], grace["undated"]) == ([[1984, 1984]], 0)
    answer = post(client, "/v1/query", hopper, taken="1972-01-16").json()
    assert answer["outcome"] == "match"
    assert [c["years_apart"] for c in answer["candidates"]] == [12.0, 27.5]
    assert answer["reason"].endswith(
        "; the photo nearest in time was taken 12 years after this one"
    )
    (one,) = post(client, "/v1/query?all_faces=true", hopper, taken="1984").json()["answers"]
    assert one["decided_by"]["years_apart"] < 1
    content = base64.b64encode(hopper.read_bytes()).decode()
    from_json = client.post("/v1/query", json={"photo": content, "taken": "1972-01-16"}).json()
    assert from_json["decided_by"]["years_apart"] == 12.0
    undated = client.post("/v1/query", json={"photo": content, "taken": None}).json()
    assert undated["decided_by"]["years_apart"] is None


def test_wrong_date_is_a_problem_and_enrols_nothing(client: httpx.Client, hopper: Path) -> None:
    for path in ("/v1/identities", "/v1/query"):
        wrong = post(client, path, hopper, name="Grace", taken="soon")
        assert is_problem(wrong, 422, "date-invalid")
        assert "'soon' is not the date of a photo" in wrong.json()["detail"]
        assert is_problem(post(client, path, hopper, name="Grace", taken=""), 422, "date-invalid")
    content = base64.b64encode(hopper.read_bytes()).decode()
    for taken in (1998, ["1998"], {"year": 1998}, True):
        wrong = client.post("/v1/query", json={"photo": content, "taken": taken})
        assert is_problem(wrong, 400, "bad-request")
        assert "expected a text such as" in wrong.json()["detail"]
    assert client.get("/v1/identities").json()["total"] == 0


def test_client_has_the_same_dates(client: httpx.Client, hopper: Path) -> None:
    with Client(str(client.base_url)) as remote:
        remote.enroll("Grace", hopper, taken="1984-01-26")
        assert [face.taken for face in remote.identity(1)[1]] == ["1984-01-26"]
        decision = remote.query(hopper, taken="1960-01-26")
        assert decision.decided_by is not None and decision.decided_by.years_apart == 24.0
        (decision,) = remote.query_all(hopper, taken="1983-01-26")
        assert decision.decided_by is not None and decision.decided_by.years_apart == 1.0
        assert remote.query(hopper).candidates[0].years_apart is None
        with pytest.raises(DateInvalid, match="in 2999"):
            remote.query(hopper, taken="2999")
        with pytest.raises(DateInvalid):
            remote.enroll("Grace", hopper, taken="1998-02-30")


def test_date_is_corrected_over_http(client: httpx.Client, hopper: Path) -> None:
    with Client(str(client.base_url)) as remote:
        remote.enroll("Grace", hopper)
        assert remote.set_taken(1, "1984-01").taken == "1984-01"
        assert client.get("/v1/identities/1").json()["years"] == [[1984, 1984]]
        for wrong in ("soon", "2999", "1984/01", "a?b#c"):
            with pytest.raises(DateInvalid if "/" not in wrong else GalleryError):
                remote.set_taken(1, wrong)
        assert remote.identity(1)[1][0].taken == "1984-01"
        assert remote.set_taken(1, None).taken is None
        with pytest.raises(FaceNotFound, match="no face 9"):
            remote.set_taken(9, "1984")
