"""The OpenAPI description: FastAPI's own, plus problems, key scopes and Idempotency-Key."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gallery.api.auth import required_scope
from gallery.api.idempotency import is_repeatable_write
from gallery.json_forms.schemas import Problem

_METHODS = ("get", "put", "post", "patch", "delete")
_DESCRIPTION = (
    "Answers a photo with exactly one identity or none, and the reason. As long as no key has been"
    " created, requests from the server's own machine need none. After that, every request needs a"
    " key with the scope given in its description."
)
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes retries safe: a second request with the same key and body is not executed"
    " but gets the first one's answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}


def add_openapi(app: FastAPI) -> None:
    """Make the app serve this description, built on the first request for it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _description(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=_DESCRIPTION,
        routes=app.routes,
    )
    components = document["components"]
    components["schemas"]["Problem"] = Problem.model_json_schema()
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method not in item:
                continue
            operation = item[method]
            scope = required_scope(method.upper(), path)
            if scope is not None:
                operation["security"] = [{"key": []}, {}]
                note = f"Once a key exists: needs a key with the scope `{scope}`."
                operation["description"] = f"{operation['description']}\n\n{note}"
            if is_repeatable_write(method.upper(), path):
                operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    return document
