"""`/v1/query`, `/v1/compare`, `/v1/calibration`: who is this, and how sure is that?"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from gallery.api.audit_buffer import AuditBuffer
from gallery.api.metrics import Metrics
from gallery.api.uploads import exactly, photos
from gallery.gallery import Gallery
from gallery.json_forms.schemas import PROBLEMS, Comparison, Decision, Decisions, Promise
from gallery.json_forms.to_json import comparison_json, decision_json, promise_json
from gallery.matching.fpir import promise
from gallery.types import Several

Largest = Annotated[bool, Query(description="Of several faces take the largest.")]

_BINARY = {"type": "string", "format": "binary"}
_BASE64 = {"type": "string", "contentEncoding": "base64"}


def _body(**kinds: dict[str, Any]) -> dict[str, Any]:
    """What a request must send, one of these kinds: form and json of fields, raw or not.

    Raw bytes may as well be sent as image/*, which a description cannot say.
    """
    content = {
        kind: {"schema": {"type": "object", "required": list(fields), "properties": fields}}
        for kind, fields in (
            ("multipart/form-data", kinds.get("form")),
            ("application/json", kinds.get("json")),
        )
        if fields is not None
    }
    if "raw" in kinds:
        content["application/octet-stream"] = {"schema": kinds["raw"]}
    return {"requestBody": {"required": True, "content": content}}


ONE_PHOTO = _body(form={"photo": _BINARY}, json={"photo": _BASE64}, raw=_BINARY)
TWO_PHOTOS = _body(
    form={"first": _BINARY, "second": _BINARY}, json={"first": _BASE64, "second": _BASE64}
)
PHOTOS_AND_NAME = _body(
    form={"name": {"type": "string"}, "photo": {"type": "array", "items": _BINARY}},
    json={"name": {"type": "string"}, "photo": {"type": "array", "items": _BASE64}},
)


def routes(gallery: Gallery, outcomes: AuditBuffer, metrics: Metrics) -> APIRouter:
    """The routes of asking."""
    router = APIRouter(prefix="/v1", tags=["asking"], responses=PROBLEMS)

    @router.post("/query", openapi_extra=ONE_PHOTO, response_model=Decision | Decisions)
    async def query(
        request: Request,
        all_faces: Annotated[bool, Query(description="Answer for each face.")] = False,
        largest: Largest = False,
        explain: Annotated[bool, Query(description="With every candidate.")] = True,
    ) -> dict[str, Any]:
        """Who is this: exactly one person of the gallery, or none?

        One decision; with all_faces `{"answers": [...]}`, a decision each, the largest face first.
        """
        found, _ = await photos(request, "photo")
        (photo,) = exactly(found, "photo")
        several = Several.LARGEST if largest else Several.REFUSE
        if all_faces:
            decisions = await request.app.state.photos.do(request, lambda: gallery.query_all(photo))
        else:
            decisions = [
                await request.app.state.photos.do(
                    request, lambda: gallery.query(photo, several=several)
                )
            ]
        for decision in decisions:
            metrics.decision(decision.outcome)
            outcomes.note("query", decision.outcome)
        answers = [decision_json(photo.name, decision) for decision in decisions]
        if not explain:
            answers = [answer | {"candidates": []} for answer in answers]
        return {"answers": answers} if all_faces else answers[0]

    @router.post("/compare", openapi_extra=TWO_PHOTOS, response_model=Comparison)
    async def compare(request: Request, largest: Largest = False) -> dict[str, Any]:
        """Are two photos of the same person? `same` is 1 or 0."""
        found, _ = await photos(request, "first", "second")
        first, second = exactly(found, "first", "second")
        several = Several.LARGEST if largest else Several.REFUSE
        comparison = await request.app.state.photos.do(
            request, lambda: gallery.compare(first, second, several=several)
        )
        outcomes.note("compare", "same" if comparison.same else "different")
        return comparison_json((first.name, second.name), comparison)

    @router.get("/calibration", response_model=Promise)
    async def calibration(request: Request) -> dict[str, Any]:
        """The promise about strangers for the gallery as it is now, in numbers and in words."""
        found = await request.app.state.rows.do(
            request, lambda: promise(gallery.database, gallery.scorer)
        )
        return promise_json(found)

    return router
