"""The API as a client sees it: decisions, identities, invalid requests, overload."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from gallery.api import app
from gallery.errors import TooManyFaces
from gallery.gallery import Gallery
from gallery.vision.pipeline import FacePipeline
from tests.api.conftest import Serve
from tests.api.requests import enrol, is_problem, query


def test_stranger_is_enrolled_and_then_matched(
    client: httpx.Client, hopper: Path, collins: Path
) -> None:
    assert query(client, hopper).json()["outcome"] == "unknown"
    response = enrol(client, "Grace Hopper", hopper)
    assert response.status_code == 201
    (enrolment,) = response.json()["enrolments"]
    assert enrolment["outcome"] == "enrolled" and enrolment["photo"] == hopper.name
    assert enrol(client, "Grace Hopper", hopper).status_code == 200
    decision = query(client, hopper).json()
    assert decision["outcome"] == "match" and decision["identity"]["name"] == "Grace Hopper"
    assert decision["false_positive_identification_rate"] == 0.01 and decision["candidates"]
    assert query(client, hopper, explain=False).json()["candidates"] == []
    assert query(client, collins).json()["outcome"] == "unknown"
    (decision,) = query(client, hopper, all_faces=True).json()["answers"]
    assert decision["identity"]["name"] == "Grace Hopper"


def test_form_json_and_raw_body_get_the_same_answer(client: httpx.Client, hopper: Path) -> None:
    enrol(client, "Grace Hopper", hopper)
    content = hopper.read_bytes()
    answers = [
        query(client, hopper).json(),
        client.post("/v1/query", json={"photo": base64.b64encode(content).decode()}).json(),
        client.post("/v1/query", content=content, headers={"content-type": "image/jpeg"}).json(),
    ]
    assert {answer["outcome"] for answer in answers} == {"match"}
    assert len({answer["probability"] for answer in answers}) == 1


def test_compare_returns_1_or_0(client: httpx.Client, hopper: Path, collins: Path) -> None:
    first, same, other = hopper.read_bytes(), hopper.read_bytes(), collins.read_bytes()
    assert client.post("/v1/compare", files={"first": first, "second": same}).json()["same"] == 1
    assert client.post("/v1/compare", files={"second": other, "first": first}).json()["same"] == 0
    assert is_problem(client.post("/v1/compare", files={"first": first}), 400, "bad-request")


def test_identities_are_listed_changed_merged_and_erased(
    client: httpx.Client, hopper: Path, collins: Path
) -> None:
    enrol(client, "Grace", hopper)
    enrol(client, "Eileen", collins)
    listed = client.get("/v1/identities", params={"search": "gra"}).json()
    assert listed["total"] == 1
    grace = listed["identities"][0]["id"]
    assert client.get(f"/v1/identities/{grace}").json()["enrolled"][0]["photo"] == hopper.name
    path = f"/v1/identities/{grace}"
    changes = {"name": "Grace Hopper", "details": {"rank": "Rear Admiral"}}
    changed = client.patch(path, json=changes).json()
    assert changed["name"] == "Grace Hopper" and changed["details"]["rank"] == "Rear Admiral"
    taken = client.patch(path, json={"name": "Eileen", "details": {"half": "written"}})
    assert is_problem(taken, 409, "identity-exists")
    assert "half" not in client.get(path).json()["details"]
    assert is_problem(client.patch(path, json={"nick": "G"}), 422, "invalid-request")
    everyone = client.get("/v1/identities").json()["identities"]
    (eileen,) = [record["id"] for record in everyone if record["name"] == "Eileen"]
    merged = client.post(f"{path}/merge", json={"others": [eileen]}).json()
    assert merged["faces"] == 2 and client.get("/v1/identities").json()["total"] == 1
    faces = [face["face_id"] for face in client.get(path).json()["enrolled"]]
    receipt = client.delete(f"/v1/faces/{faces[0]}").json()
    assert (receipt["identity_id"], receipt["faces"], receipt["whole"]) == (grace, 1, False)
    assert is_problem(client.delete(f"/v1/faces/{faces[1]}"), 409, "last-face")
    assert is_problem(client.delete(f"/v1/faces/{faces[0]}"), 404, "face-not-found")
    receipt = client.delete(path).json()
    assert (receipt["faces"], receipt["whole"]) == (1, True) and receipt["searched"]["files"]
    assert is_problem(client.get(path), 404, "identity-not-found")
    assert query(client, hopper).json()["outcome"] == "unknown"


def test_photo_without_a_face_and_file_that_is_not_a_photo(
    client: httpx.Client, no_one: list[Path]
) -> None:
    assert query(client, no_one[0]).json()["outcome"] == "no_face"
    text = client.post("/v1/query", files={"photo": b"this is text"})
    assert is_problem(text, 422, "photo-undecodable")
    assert is_problem(client.post("/v1/query", files={"photo": b""}), 400, "bad-request")
    refused = enrol(client, "Cat", no_one[0])
    assert refused.status_code == 409
    assert refused.json()["enrolments"][0]["outcome"] == "refused"
    assert client.get("/v1/identities").json()["total"] == 0


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"photo": 5}', "application/json", 400),
        (b'{"photo": "not base64!"}', "application/json", 400),
        (b"x", "text/plain", 415),
        (b"x", "multipart/form-data", 400),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400),
    ],
)
def test_malformed_request_gets_a_problem(
    client: httpx.Client, body: bytes, content_type: str, status: int
) -> None:
    response = client.post("/v1/query", content=body, headers={"content-type": content_type})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_body_over_the_limit_is_refused_with_and_without_a_length(
    serve: Serve, tmp_path: Path
) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 1024

    with serve(tmp_path / "home", max_request_bytes=20_000) as client:
        kind = {"content-type": "image/jpeg"}
        whole = client.post("/v1/query", content=b"x" * 20_001, headers=kind)
        assert is_problem(whole, 413, "request-too-large")
        streamed = client.post("/v1/query", content=chunks(), headers=kind)
        assert is_problem(streamed, 413, "request-too-large")


def test_other_hosts_and_origins_are_refused(client: httpx.Client) -> None:
    other = client.get("/v1/identities", headers={"host": "gallery.example:8000"})
    assert is_problem(other, 421, "another-host")
    page = client.get("/v1/identities", headers={"origin": "https://evil.example"})
    assert is_problem(page, 403, "another-origin")
    own = client.get("/v1/identities", headers={"origin": str(client.base_url).rstrip("/")})
    assert own.status_code == 200
    assert own.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in own.headers["content-security-policy"]
    assert "access-control-allow-origin" not in own.headers


def test_next_query_sees_what_another_process_enrolled(
    serve: Serve, pipeline: FacePipeline, cache: Path, hopper: Path, tmp_path: Path
) -> None:
    with serve(tmp_path / "home") as client:
        assert query(client, hopper).json()["outcome"] == "unknown"
        with Gallery.open(tmp_path / "home", cache=cache) as other:
            other.enroll("Grace Hopper", hopper)
        assert query(client, hopper).json()["outcome"] == "match"


def test_requests_beyond_the_queue_get_503_and_the_others_an_answer(
    serve: Serve, tmp_path: Path, hopper: Path
) -> None:
    with serve(tmp_path / "home", workers=1, api_queue=2) as client:
        enrol(client, "Grace Hopper", hopper)
        with ThreadPoolExecutor(12) as pool:
            responses = list(pool.map(lambda _: query(client, hopper), range(12)))
        statuses = {response.status_code for response in responses}
        assert statuses == {200, 503}
        for response in responses:
            if response.status_code == 503:
                assert is_problem(response, 503, "service-unavailable")
                assert response.headers["retry-after"]
            else:
                assert response.json()["outcome"] == "match"
        assert client.get("/healthz").json() == {"status": "alive"}


def test_slow_uploads_hold_their_places_only_until_the_deadline(
    serve: Serve, tmp_path: Path
) -> None:
    """17 slow uploads take all places and get 408; the others are refused at once."""

    def slow_chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x"
            time.sleep(0.1)

    def post(_: int) -> int:
        kind = {"content-type": "image/jpeg"}
        return client.post("/v1/query", content=slow_chunks(), headers=kind).status_code

    with serve(tmp_path / "home", workers=1, api_queue=0, api_seconds=3) as client:
        with ThreadPoolExecutor(25) as pool:
            statuses = list(pool.map(post, range(25)))
            assert client.get("/healthz").status_code == 200
        assert set(statuses) == {408, 503} and statuses.count(408) == 17
        assert client.get("/v1/identities").status_code == 200


def test_photo_with_too_many_faces_is_refused(
    cache: Path, hopper: Path, collins: Path, tmp_path: Path
) -> None:
    pair = [np.asarray(Image.open(p).convert("RGB").resize((512, 560))) for p in (hopper, collins)]
    Image.fromarray(np.concatenate(pair, axis=1)).save(tmp_path / "two.png")
    with (
        Gallery.open(tmp_path / "home", cache=cache, threads=1, max_faces=1) as gallery,
        pytest.raises(TooManyFaces, match=r"2 faces.*limit of 1.*GALLERY_MAX_FACES"),
    ):
        gallery.query_all(tmp_path / "two.png")


def test_health_description_and_unknown_paths(client: httpx.Client) -> None:
    assert client.get("/readyz").json() == {"status": "ready"}
    description = client.get("/v1/openapi.json").json()
    assert {"/v1/query", "/v1/compare", "/v1/identities"} <= set(description["paths"])
    assert is_problem(client.get("/nothing"), 404, "not-found")
    assert is_problem(client.put("/v1/query"), 405, "method-not-allowed")


def test_page_loads_nothing_from_other_servers(
    client: httpx.Client,
) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    paths = [f"/{path}" for path in re.findall(r'(?:src|href)="(page/[^"]+)"', page.text)]
    assert len(paths) == 4
    folder = Path(app.__file__).parent / "page"
    paths += [f"/page/{file.name}" for file in folder.glob("*.js")]
    for text in (page.text, *(client.get(path).text for path in paths)):
        assert text
        # A URL has no space after its slashes; a comment has.
        assert not re.search(r"//\S", text.replace("http://www.w3.org/2000/svg", ""))
    assert is_problem(client.get("/page/../app.py"), 404, "not-found")


def test_odd_files_get_a_decision_or_4xx(client: httpx.Client, shared_faces: Path) -> None:
    files = sorted(f for f in (shared_faces / "odd").rglob("*") if f.is_file())
    assert files
    for file in files:
        response = query(client, file)
        assert response.status_code < 500, (file.name, response.text)
        if response.status_code != 200:
            assert response.headers["content-type"] == "application/problem+json"


def test_noise_has_no_face(client: httpx.Client) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    response = client.post("/v1/query", files={"photo": file.getvalue()})
    assert response.json()["outcome"] == "no_face"
