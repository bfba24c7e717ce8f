"""Keys open what their scopes say and nothing else, at their rate, and what they did is noted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from gallery.api.auth import opened_by
from gallery.gallery import Gallery
from gallery.store import api_keys, audit
from gallery.store.api_keys import Scope
from gallery.store.database import Database
from tests.api.conftest import Serve
from tests.api.requests import enrol, is_problem, query

MakeKey = Callable[..., dict[str, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def make_key(home: Path) -> MakeKey:
    """The header of a new key: make_key("query", ..., per_minute=600)."""

    def make(*scopes: str, per_minute: int = 600) -> dict[str, str]:
        with Gallery.open(home) as opened, opened.database.writing() as session:
            _, text = api_keys.create(session, "a key", scopes, per_minute)
        return {"authorization": f"Bearer {text}"}

    return make


@pytest.fixture
def client(serve: Serve, home: Path) -> Iterator[httpx.Client]:
    with serve(home) as opened:
        yield opened


REQUESTS = [
    ("GET", "/v1/calibration", Scope.QUERY),
    ("GET", "/v1/identities", Scope.ENROL),
    ("GET", "/v1/merges", Scope.ENROL),
    ("GET", "/v1/faces/1/thumbnail", Scope.ENROL),
    ("PATCH", "/v1/identities/1", Scope.ENROL),
    ("DELETE", "/v1/identities/1", Scope.ADMIN),
    ("DELETE", "/v1/faces/1", Scope.ADMIN),
    ("PUT", "/v1/identities/1/expiry", Scope.ADMIN),
    ("POST", "/v1/dedupe", Scope.ADMIN),
    ("GET", "/v1/jobs/ab", Scope.ADMIN),
    ("GET", "/metrics", Scope.METRICS),
]


def test_a_key_opens_its_scope_and_no_more(make_key: MakeKey, client: httpx.Client) -> None:
    made = {scope: make_key(scope) for scope in Scope}
    time.sleep(1.1)
    for method, path, needed in REQUESTS:
        assert is_problem(client.request(method, path), 401, "key-needed")
        for scope, header in made.items():
            answer = client.request(method, path, headers=header)
            if scope in (needed, Scope.ADMIN):
                assert answer.status_code not in (401, 403), (method, path, scope)
            else:
                assert is_problem(answer, 403, "scope-needed"), (method, path, scope)
                challenge = answer.headers["www-authenticate"]
                assert f'error="insufficient_scope", scope="{needed}"' in challenge


def test_every_route_is_behind_a_door_but_the_page_and_health(client: httpx.Client) -> None:
    paths = client.get("/v1/openapi.json").json()["paths"]
    open_ones = {
        path for path, item in paths.items() for m in item if opened_by(m.upper(), path) is None
    }
    assert open_ones == {"/healthz", "/readyz"}
    assert opened_by("GET", "/v1/new") is Scope.ADMIN


def test_no_key_then_one_that_is_revoked_then_none_again(
    make_key: MakeKey, client: httpx.Client, home: Path, hopper: Path
) -> None:
    assert query(client, hopper).status_code == 200
    header = make_key("query")
    time.sleep(1.1)
    assert is_problem(query(client, hopper), 401, "key-needed")
    for wrong in (
        "",
        "Bearer",
        "Bearer x",
        f"Basic {header['authorization'][7:]}",
        "Bearer \u00e9",
    ):
        answer = client.get("/v1/calibration", headers={"authorization": wrong.encode()})
        assert is_problem(answer, 401, "key-needed")
        challenge = answer.headers["www-authenticate"]  # RFC 6750, section 3
        assert challenge.startswith('Bearer realm="gallery"')
        assert ("invalid_token" in challenge) == wrong.startswith("Bearer")
    assert client.get("/v1/calibration", headers=header).status_code == 200
    for free in ("/", "/healthz", "/readyz", "/page/page.js"):
        assert client.get(free).status_code == 200
    with Gallery.open(home) as opened, opened.database.writing() as session:
        api_keys.revoke(session, api_keys.live(session)[0].id)
    time.sleep(1.1)
    for revoked in (header, {}):
        answer = client.get("/v1/calibration", headers=revoked)
        assert is_problem(answer, 401, "key-needed")
    with Gallery.open(home) as opened, opened.database.writing() as session:
        assert api_keys.drop_all(session) == 1
    time.sleep(1.1)
    assert client.get("/v1/calibration").status_code == 200


def test_with_keys_a_proxy_may_pass_any_host_and_its_own_page_may_ask(
    make_key: MakeKey, client: httpx.Client
) -> None:
    page = {"origin": "https://faces.example", "sec-fetch-site": "same-origin"}
    for headers in (page, {"host": "faces.example"}):
        assert client.get("/v1/calibration", headers=headers).status_code in (403, 421)
    key = make_key("query")
    time.sleep(1.1)
    for headers in (page, {"host": "faces.example"}):
        assert client.get("/v1/calibration", headers={**key, **headers}).status_code == 200
        assert client.get("/", headers=headers).status_code == 200
        assert is_problem(client.get("/v1/calibration", headers=headers), 401, "key-needed")


def test_beyond_this_machine_no_key_lets_no_one_in(serve: Serve, home: Path) -> None:
    with serve(home, doors={"loopback": False, "open_without_keys": False}) as client:
        assert is_problem(client.get("/v1/calibration"), 401, "key-needed")
        assert client.get("/healthz").status_code == 200


def test_a_key_may_ask_so_often(make_key: MakeKey, client: httpx.Client) -> None:
    slow, other = make_key("query", per_minute=3), make_key("query")
    time.sleep(1.1)
    statuses = [client.get("/v1/calibration", headers=slow).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    refused = client.get("/v1/calibration", headers=slow)
    assert is_problem(refused, 429, "too-often") and 1 <= int(refused.headers["retry-after"]) <= 20
    assert client.get("/v1/calibration", headers=other).status_code == 200


def test_the_audit_trail_knows_who_asked_and_the_outcome_alone(
    make_key: MakeKey, serve: Serve, home: Path, hopper: Path, collins: Path
) -> None:
    with serve(home) as client:
        enrol(client, "Grace Hopper", hopper)
        header = make_key("admin")
        time.sleep(1.1)
        asked = {**header, "x-request-id": "desk-7"}
        client.post("/v1/query", files={"photo": collins.read_bytes()}, headers=asked)
        client.post("/v1/query", files={"photo": hopper.read_bytes()}, headers=header)
        client.delete("/v1/identities/1", headers=header)
    with Gallery.open(home) as opened, opened.database.reading() as session:
        entries = audit.entries(session, 100)
        assert audit.problems(session) == []
        key = api_keys.live(session)[0].id
    told = [
        (e.actor, e.action, e.identity_id, "a receipt" if e.action == "forget" else e.outcome)
        for e in entries
    ]
    assert told[0] == ("this machine", "enrol", 1, None)
    assert sorted(told[1:], key=str) == sorted(
        [
            (f"key {key}", "query", None, "unknown"),
            (f"key {key}", "query", None, "match"),
            (f"key {key}", "forget", 1, "a receipt"),
        ],
        key=str,
    )
    assert "desk-7" in {e.request_id for e in entries}
    assert "Hopper" not in json.dumps([str(e) for e in entries])


def test_a_database_that_cannot_be_read_lets_no_one_in(
    serve: Serve, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(home) as client:
        monkeypatch.setattr(Database, "reading", _broken)
        time.sleep(1.1)
        broken = client.get("/v1/identities")
        assert is_problem(broken, 503, "database-unusable")
        assert broken.json()["detail"] == "gallery.db: disk I/O error"  # not where it lies
        assert client.get("/healthz").status_code == 200
        monkeypatch.undo()
        assert client.get("/v1/identities").status_code == 200


def _broken(self: Database) -> object:
    from gallery.errors import DatabaseUnusable

    raise DatabaseUnusable(f"{self.file}: disk I/O error")
