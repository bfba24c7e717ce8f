"""What programs send: base64 in every form, compressed bodies, misspelt fields and parameters."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Serve
from tests.api.requests import enrol, force_enrol, is_problem, query

_JSON = {"content-type": "application/json"}
_GZIP = {"content-encoding": "gzip"}


@pytest.mark.parametrize(
    "write",
    [
        lambda photo: "data:image/jpeg;base64," + base64.b64encode(photo).decode(),
        lambda photo: base64.encodebytes(photo).decode().replace("\n", "\r\n"),
        lambda photo: base64.urlsafe_b64encode(photo).decode().rstrip("="),
        lambda photo: "data:image/jpeg;name=a.jpg;base64,\n" + base64.encodebytes(photo).decode(),
    ],
    ids=["data URL", "wrapped", "URL-safe without padding", "data URL, wrapped"],
)
def test_base64_is_read_as_browsers_and_phones_write_it(
    client: httpx.Client, hopper: Path, write: Callable[[bytes], str]
) -> None:
    text = write(hopper.read_bytes())
    enrolled = client.post("/v1/identities", json={"name": "Grace", "photo": [text]})
    assert enrolled.status_code == 201, enrolled.text
    assert client.post("/v1/query", json={"photo": text}).json()["outcome"] == "match"
    compared = client.post("/v1/compare", json={"first": text, "second": text})
    assert compared.json()["same"] == 1
    # The same bytes, so the same photo.
    again = enrol(client, "Grace", hopper)
    assert again.json()["enrolments"][0]["outcome"] == "already"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("data:image/svg+xml,<svg/>", "without ;base64"),
        ("ab=cd", "padding"),
        ("YWJj!", "base64"),
        (None, "got null"),
        (7, "got 7"),
        ("\u00e9", "base64"),
    ],
)
def test_what_is_not_base64_is_refused(client: httpx.Client, value: object, reason: str) -> None:
    response = client.post("/v1/query", json={"photo": value})
    assert is_problem(response, 400, "bad-request"), response.text
    assert "photo is not valid base64" in response.text and reason in response.text


def test_gzip_bodies_get_the_same_answer(client: httpx.Client, hopper: Path) -> None:
    enrol(client, "Grace", hopper)
    photo = hopper.read_bytes()
    body = json.dumps({"photo": base64.b64encode(photo).decode()}).encode()
    plain = client.post("/v1/query", content=body, headers=_JSON).json()
    halves = gzip.compress(body[:1000]) + gzip.compress(body[1000:])  # two members
    for packed in (gzip.compress(body), halves):
        answer = client.post("/v1/query", content=packed, headers=_JSON | _GZIP)
        assert answer.json() == plain
    raw = {"content-type": "image/jpeg"} | _GZIP
    assert client.post("/v1/query", content=gzip.compress(photo), headers=raw).json() == plain
    path = f"/v1/identities/{plain['identity']['id']}"
    change = gzip.compress(b'{"name": "Grace Hopper"}')
    changed = client.patch(path, content=change, headers=_JSON | _GZIP)
    assert changed.json()["name"] == "Grace Hopper"


def test_broken_gzip_and_other_encodings_are_refused(client: httpx.Client) -> None:
    packed = gzip.compress(b'{"photo": "eA=="}')
    for broken in (b"not gzip", packed[:-4], packed + b"x"):
        response = client.post("/v1/query", content=broken, headers=_JSON | _GZIP)
        assert is_problem(response, 400, "bad-request") and "gzip" in response.text
    for name in ("br", "deflate", "gzip, gzip"):
        headers = _JSON | {"content-encoding": name}
        response = client.post("/v1/query", content=packed, headers=headers)
        assert is_problem(response, 415, "unsupported-media-type")
        assert name in response.text and response.headers["accept-encoding"] == "gzip"


def test_inflated_bodies_have_the_limits_of_others(serve: Serve, tmp_path: Path) -> None:
    zeros = zlib.compressobj(9, wbits=31)
    bomb = zeros.compress(bytes(2**27)) + zeros.flush()
    headers = {"content-type": "image/jpeg"} | _GZIP
    with serve(tmp_path / "home", max_request_bytes=2**21) as client:
        tracemalloc.start()
        response = client.post("/v1/query", content=bomb, headers=headers)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert is_problem(response, 413, "request-too-large")
        assert peak < 2**24
        response = client.post("/v1/identities/1/merge", content=bomb, headers=_JSON | _GZIP)
        assert is_problem(response, 413, "request-too-large")
        assert client.get("/v1/identities").status_code == 200


def test_unknown_parameters_are_refused_on_every_route(client: httpx.Client, hopper: Path) -> None:
    response = query(client, hopper, all_face="true")
    assert is_problem(response, 422, "invalid-request")
    assert response.json()["detail"] == (
        "unknown query parameter 'all_face'; did you mean all_faces? this request takes all_faces,"
        " largest, explain"
    )
    for path, item in client.get("/v1/openapi.json").json()["paths"].items():
        for method in item:
            concrete = path.replace("{date}", "1998").replace("{job}", "ab")
            concrete = concrete.format(identity=1, other=2, face=1, merge=1)
            body = {"name": "Grace"} if method == "patch" else {"others": [2], "expires_at": ""}
            content = json.dumps(body) if method in ("patch", "post", "put") else None
            response = client.request(
                method, concrete, params={"limt": "1"}, content=content, headers=_JSON
            )
            assert is_problem(response, 422, "invalid-request"), (method, path)
            assert "limt" in response.text and "this request takes" in response.text
    assert client.get("/", params={"utm_source": "mail"}).status_code == 200
    assert client.get("/guide", params={"utm_source": "mail"}).status_code == 200


def test_missing_photo_names_the_fields_that_came(client: httpx.Client, hopper: Path) -> None:
    photo = hopper.read_bytes()
    response = client.post("/v1/query", files={"image": photo}, data={"photo": "unknown.jpg"})
    assert is_problem(response, 400, "bad-request")
    assert response.json()["detail"] == (
        "expected one photo in the field photo, as a file, but got 0; the request has the fields"
        " 'photo' (text), 'image'"
    )
    response = client.post("/v1/identities", files={"file": photo}, data={"names": "Grace"})
    assert "has the fields 'names' (text), 'file'" in response.json()["detail"]
    response = client.post("/v1/identities", json={"name": 5, "photo": "eA=="})
    assert "name is 5, expected a text" in response.json()["detail"]
    response = client.post("/v1/compare", json={})
    assert "no field came" in response.json()["detail"]


def test_search_ignores_case_and_accents(client: httpx.Client, hopper: Path) -> None:
    enrol(client, "J\u00fcrgen M\u00fcller", hopper)
    found = client.get("/v1/identities", params={"search": "muller"}).json()
    assert [identity["name"] for identity in found["identities"]] == ["J\u00fcrgen M\u00fcller"]
    assert client.get("/v1/identities", params={"search": "miller"}).json()["total"] == 0


def test_pages_follow_each_other(client: httpx.Client, hopper: Path) -> None:
    for name in ("Cleo", "ada", "B: \u00e9 & b"):
        force_enrol(client, name, hopper, "hopper.jpg")
    names, params = [], {"limit": "1"}
    while True:
        page = client.get("/v1/identities", params=params).json()
        names += [identity["name"] for identity in page["identities"]]
        assert page["total"] == 3
        if page["next"] is None:
            break
        params["after"] = page["next"]
    assert names == ["ada", "B: \u00e9 & b", "Cleo"]
    for after in ("Cleo", "0:Cleo", "-1:Cleo", "9" * 19 + ":Cleo", "1:" + "x" * 300):
        response = client.get("/v1/identities", params={"after": after})
        assert is_problem(response, 422, "invalid-request"), after
