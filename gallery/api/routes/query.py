"""`/v1/query`, `/v1/compare`, `/v1/calibration`: who is this, and how sure is that?"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from gallery.api.audit_buffer import AuditBuffer
from gallery.api.metrics import Metrics
from gallery.api.uploads import read_fields
from gallery.gallery import Gallery
from gallery.json_forms.schemas import PROBLEMS, Calibration, Comparison, Decision, Decisions
from gallery.json_forms.to_json import comparison_json, decision_json, promise_json
from gallery.matching.fpir import fpir_statement
from gallery.types import Several

Largest = Annotated[bool, Query(description="Use the largest of several faces in a photo.")]

_BINARY = {"type": "string", "format": "binary"}
_BASE64 = {"type": "string", "contentEncoding": "base64"}


def _object_schema(fields: dict[str, Any]) -> dict[str, Any]:
    required = [field for field in fields if field != "taken"]
    return {"type": "object", "required": required, "properties": fields}


def _request_body(**kinds: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI request body.

    kinds : for `form` and `json` the schema of each field; for `raw` the schema of the whole body,
    which may be sent as image/* as well; OpenAPI cannot express that.
    """
    content = {
        media_type: {"schema": _object_schema(fields)}
        for media_type, fields in (
            ("multipart/form-data", kinds.get("form")),
            ("application/json", kinds.get("json")),
        )
        if fields is not None
    }
    if "raw" in kinds:
        content["application/octet-stream"] = {"schema": kinds["raw"]}
    return {"requestBody": {"required": True, "content": content}}


_NAME = {"type": "string"}
_TAKEN = {
    "type": "string",
    "description": "When the photo was taken: `1998`, `1998-07` or `1998-07-14`; by default, its"
    " EXIF date.",
}
_ONE_PHOTO = _request_body(
    form={"photo": _BINARY, "taken": _TAKEN}, json={"photo": _BASE64, "taken": _TAKEN}, raw=_BINARY
)
_TWO_PHOTOS = _request_body(
    form={"first": _BINARY, "second": _BINARY}, json={"first": _BASE64, "second": _BASE64}
)
NAME_AND_PHOTOS = _request_body(
    form={"name": _NAME, "photo": {"type": "array", "items": _BINARY}, "taken": _TAKEN},
    json={"name": _NAME, "photo": {"type": "array", "items": _BASE64}, "taken": _TAKEN},
)


def routes(gallery: Gallery, audit_buffer: AuditBuffer, metrics: Metrics) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["query"], responses=PROBLEMS)

    @router.post(
        "/query",
        openapi_extra=_ONE_PHOTO,
        response_model=Decision | Decisions,
        summary="Identify the face in a photo",
    )
    async def query(
        request: Request,
        all_faces: Annotated[
            bool, Query(description="Return a decision for each face in the photo.")
        ] = False,
        largest: Largest = False,
        explain: Annotated[bool, Query(description="Include every candidate.")] = True,
    ) -> dict[str, Any]:
        """Return exactly one identity or none, with the reason.

        With `all_faces`, return `{"answers": [...]}`, one decision per face, the largest first.
        """
        fields = await read_fields(request, "photo")
        taken = fields.texts.get("taken")
        (photo,) = fields.single("photo")
        several = Several.LARGEST if largest else Several.REFUSE
        pool = request.app.state.photo_pool
        if all_faces:
            decisions = await pool.run(request, lambda: gallery.query_all(photo, taken=taken))
        else:
            decisions = [
                await pool.run(request, lambda: gallery.query(photo, several=several, taken=taken))
            ]
        for decision in decisions:
            metrics.count_decision(decision.outcome)
            audit_buffer.add("query", decision.outcome)
        answers = [decision_json(photo.name, decision) for decision in decisions]
        if not explain:
            answers = [answer | {"candidates": []} for answer in answers]
        return {"answers": answers} if all_faces else answers[0]

    @router.post(
        "/compare",
        openapi_extra=_TWO_PHOTOS,
        response_model=Comparison,
        summary="Compare two photos",
    )
    async def compare(request: Request, largest: Largest = False) -> dict[str, Any]:
        """Tell whether two photos show the same person: `same` is 1 or 0."""
        fields = await read_fields(request, "first", "second")
        first, second = fields.single("first", "second")
        several = Several.LARGEST if largest else Several.REFUSE
        comparison = await request.app.state.photo_pool.run(
            request, lambda: gallery.compare(first, second, several=several)
        )
        audit_buffer.add("compare", "same" if comparison.same else "different")
        return comparison_json((first.name, second.name), comparison)

    @router.get("/calibration", response_model=Calibration, summary="Get the expected error rates")
    async def calibration(request: Request) -> dict[str, Any]:
        """Return the error rates to expect of the gallery at its present size.

        These are the share of strangers who may get a match, and the share of known people expected
        to be found at that rate, in numbers and in words.
        """
        current = await request.app.state.database_pool.run(
            request, lambda: fpir_statement(gallery.database, gallery.scorer)
        )
        return promise_json(current)

    return router
