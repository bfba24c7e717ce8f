"""Keys give access to their scopes only, at their rate limit, and their use is audited."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from gallery.api.auth import required_scope
from gallery.errors import DatabaseUnusable
from gallery.gallery import Gallery
from gallery.store import api_keys, audit
from gallery.store.api_keys import Scope
from gallery.store.database import Database
from tests.api.conftest import Serve
from tests.api.requests import enrol, is_problem, query

MakeKey = Callable[..., dict[str, str]]

pytestmark = pytest.mark.usefixtures("uncached_keys")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def make_key(home: Path) -> MakeKey:
    """The Authorization header of a new key: make_key("query", ..., per_minute=600)."""

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


def test_key_gives_access_to_its_scopes_only(make_key: MakeKey, client: httpx.Client) -> None:
    keys = {scope: make_key(scope) for scope in Scope}
    for method, path, needed in REQUESTS:
        assert is_problem(client.request(method, path), 401, "key-needed")
        for scope, header in keys.items():
            response = client.request(method, path, headers=header)
            if scope in (needed, Scope.ADMIN):
                assert response.status_code not in (401, 403), (method, path, scope)
            else:
                assert is_problem(response, 403, "scope-needed"), (method, path, scope)
                challenge = response.headers["www-authenticate"]
                assert f'error="insufficient_scope", scope="{needed}"' in challenge


def test_every_route_needs_a_key_besides_health(client: httpx.Client) -> None:
    paths = client.get("/v1/openapi.json").json()["paths"]
    public = {
        path
        for path, item in paths.items()
        for method in item
        if required_scope(method.upper(), path) is None
    }
    assert public == {"/healthz", "/readyz"}
    assert required_scope("GET", "/v1/new") is Scope.ADMIN


def test_access_before_the_first_key_with_it_and_after_its_revocation(
    make_key: MakeKey, client: httpx.Client, home: Path, hopper: Path
) -> None:
    assert query(client, hopper).status_code == 200
    header = make_key("query")
    assert is_problem(query(client, hopper), 401, "key-needed")
    for wrong in (
        "",
        "Bearer",
        "Bearer x",
        f"Basic {header['authorization'][7:]}",
        "Bearer \u00e9",
    ):
        response = client.get("/v1/calibration", headers={"authorization": wrong.encode()})
        assert is_problem(response, 401, "key-needed")
        challenge = response.headers["www-authenticate"]  # RFC 6750, section 3
        assert challenge.startswith('Bearer realm="gallery"')
        assert ("invalid_token" in challenge) == wrong.startswith("Bearer")
    assert client.get("/v1/calibration", headers=header).status_code == 200
    for path in ("/", "/healthz", "/readyz", "/page/page.js"):
        assert client.get(path).status_code == 200
    with Gallery.open(home) as opened, opened.database.writing() as session:
        api_keys.revoke(session, api_keys.active_keys(session)[0].id)
    for revoked in (header, {}):
        response = client.get("/v1/calibration", headers=revoked)
        assert is_problem(response, 401, "key-needed")
    with Gallery.open(home) as opened, opened.database.writing() as session:
        assert api_keys.drop_all(session) == 1
    assert client.get("/v1/calibration").status_code == 200


def test_once_there_are_keys_any_host_and_origin_is_accepted(
    make_key: MakeKey, client: httpx.Client
) -> None:
    page = {"origin": "https://faces.example", "sec-fetch-site": "same-origin"}
    for headers in (page, {"host": "faces.example"}):
        assert client.get("/v1/calibration", headers=headers).status_code in (403, 421)
    key = make_key("query")
    for headers in (page, {"host": "faces.example"}):
        assert client.get("/v1/calibration", headers={**key, **headers}).status_code == 200
        assert client.get("/", headers=headers).status_code == 200
        assert is_problem(client.get("/v1/calibration", headers=headers), 401, "key-needed")


def test_public_server_without_keys_refuses_everyone(serve: Serve, home: Path) -> None:
    with serve(home, app_options={"loopback": False, "open_without_keys": False}) as client:
        assert is_problem(client.get("/v1/calibration"), 401, "key-needed")
        assert client.get("/healthz").status_code == 200


def test_rate_limit_is_per_key(make_key: MakeKey, client: httpx.Client) -> None:
    slow, other = make_key("query", per_minute=3), make_key("query")
    statuses = [client.get("/v1/calibration", headers=slow).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    refused = client.get("/v1/calibration", headers=slow)
    assert is_problem(refused, 429, "too-often") and 1 <= int(refused.headers["retry-after"]) <= 20
    assert client.get("/v1/calibration", headers=other).status_code == 200


def test_audit_trail_has_actors_and_outcomes_but_no_names(
    make_key: MakeKey, serve: Serve, home: Path, hopper: Path, collins: Path
) -> None:
    with serve(home) as client:
        enrol(client, "Grace Hopper", hopper)
        header = make_key("admin")
        with_id = {**header, "x-request-id": "desk-7"}
        client.post("/v1/query", files={"photo": collins.read_bytes()}, headers=with_id)
        client.post("/v1/query", files={"photo": hopper.read_bytes()}, headers=header)
        client.delete("/v1/identities/1", headers=header)
    with Gallery.open(home) as opened, opened.database.reading() as session:
        entries = audit.entries(session, 100)
        assert audit.problems(session) == []
        key = api_keys.active_keys(session)[0].id
    trail = [
        (e.actor, e.action, e.identity_id, "a receipt" if e.action == "forget" else e.outcome)
        for e in entries
    ]
    assert trail[0] == ("this machine", "enrol", 1, None)
    assert sorted(trail[1:], key=str) == sorted(
        [
            (f"key {key}", "query", None, "unknown"),
            (f"key {key}", "query", None, "match"),
            (f"key {key}", "forget", 1, "a receipt"),
        ],
        key=str,
    )
    assert "desk-7" in {e.request_id for e in entries}
    assert "Hopper" not in json.dumps([str(e) for e in entries])


def test_unreadable_database_refuses_everyone(
    serve: Serve, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(home) as client:
        monkeypatch.setattr(Database, "reading", _fail)
        broken = client.get("/v1/identities")
        assert is_problem(broken, 503, "database-unusable")
        assert broken.json()["detail"] == "gallery.db: disk I/O error"  # without the folder
        assert client.get("/healthz").status_code == 200
        monkeypatch.undo()
        assert client.get("/v1/identities").status_code == 200


def _fail(self: Database) -> object:
    raise DatabaseUnusable(f"{self.file}: disk I/O error")
