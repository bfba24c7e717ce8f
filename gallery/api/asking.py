"""`/v1/query` and `/v1/compare`: who is this, and are these two the same?"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from gallery.api.uploads import exactly, photos
from gallery.assembly import Gallery
from gallery.types import Several
from gallery.wire import comparison_json, decision_json

Largest = Annotated[bool, Query(description="Of several faces take the largest.")]

_ONE_PHOTO: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo"],
                    "properties": {"photo": {"type": "string", "format": "binary"}},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["photo"],
                    "properties": {"photo": {"type": "string", "contentEncoding": "base64"}},
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_PHOTO = {"type": "string", "format": "binary"}
_TWO_PHOTOS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["first", "second"],
                    "properties": {"first": _PHOTO, "second": _PHOTO},
                }
            }
        },
    }
}


def routes(gallery: Gallery) -> APIRouter:
    """The routes of asking."""
    router = APIRouter(prefix="/v1", tags=["asking"])

    @router.post("/query", openapi_extra=_ONE_PHOTO)
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
        (photo,) = exactly(found, 1, "photo")
        several = Several.LARGEST if largest else Several.REFUSE
        if all_faces:
            decisions = await request.app.state.work.do(lambda: gallery.query_all(photo))
        else:
            decisions = [
                await request.app.state.work.do(lambda: gallery.query(photo, several=several))
            ]
        answers = [decision_json(photo.name, decision) for decision in decisions]
        if not explain:
            answers = [answer | {"candidates": []} for answer in answers]
        return {"answers": answers} if all_faces else answers[0]

    @router.post("/compare", openapi_extra=_TWO_PHOTOS)
    async def compare(request: Request, largest: Largest = False) -> dict[str, Any]:
        """Are two photos of the same person? `same` is 1 or 0."""
        found, _ = await photos(request, "first", "second")
        first, second = exactly(found, 2, "first and second")
        several = Several.LARGEST if largest else Several.REFUSE
        comparison = await request.app.state.work.do(
            lambda: gallery.compare(first, second, several=several)
        )
        return comparison_json((first.name, second.name), comparison)

    return router
