"""The OpenAPI description: what FastAPI makes of the routes, with problems and keys added."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gallery.api.auth import opened_by
from gallery.json_forms.schemas import Problem

_METHODS = ("get", "put", "post", "patch", "delete")
_ABOUT = (
    "Exactly one identity or none, and why. While there are no keys whoever reaches the server's"
    " own machine may ask; from the first key on a request needs one, of the scope that it names."
)
_REPEATABLE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A request sent again with the same key and body has the first one's answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}


def describe(app: FastAPI) -> None:
    """Let the app tell this of itself; made once, when it is first asked for."""

    def made() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _made(app)
        return app.openapi_schema

    app.openapi = made  # type: ignore[method-assign]


def _made(app: FastAPI) -> dict[str, Any]:
    told = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=_ABOUT,
        routes=app.routes,
    )
    parts = told["components"]
    parts["schemas"]["Problem"] = Problem.model_json_schema()
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, item in told["paths"].items():
        for method in _METHODS:
            if method not in item:
                continue
            needed = opened_by(method.upper(), path)
            if needed is not None:
                item[method]["security"] = [{"key": []}, {}]
                scope = f"Needs a key of the scope `{needed}` once there are keys."
                item[method]["description"] = f"{item[method]['description']}\n\n{scope}"
            if method != "get" and needed is not None and path not in ("/v1/query", "/v1/compare"):
                item[method].setdefault("parameters", []).append(_REPEATABLE)
    return told
