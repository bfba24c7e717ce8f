"""`/v1/identities`: enrol, list, show, change, merge, forget."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from gallery.api.uploads import photos
from gallery.assembly import Gallery
from gallery.types import EnrolOutcome, Several
from gallery.wire import enrolment_json, face_record_json, identity_json

IdentityId = Annotated[int, Path(ge=1, le=2**63 - 1, description="The identity's number.")]
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "photo"],
                    "properties": {
                        "name": {"type": "string"},
                        "photo": {"type": "array", "items": {"type": "string", "format": "binary"}},
                    },
                }
            }
        },
    }
}


class Changes(BaseModel):
    """What of an identity is to be changed; what is not given stays."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    external_id: str | None = None
    details: dict[str, str] = Field(default_factory=dict)


class Others(BaseModel):
    """Identities to be merged into another one, by number."""

    model_config = ConfigDict(extra="forbid")

    others: Annotated[
        list[Annotated[int, Field(ge=1, le=2**63 - 1)]], Field(min_length=1, max_length=100)
    ]


def routes(gallery: Gallery) -> APIRouter:
    """The routes of keeping."""
    router = APIRouter(prefix="/v1/identities", tags=["identities"])

    @router.post("", openapi_extra=_FORM)
    async def enrol(
        request: Request,
        largest: Annotated[bool, Query(description="Of several faces take the largest.")] = False,
        force: Annotated[
            bool, Query(description="Enrol although the face matches another identity.")
        ] = False,
    ) -> JSONResponse:
        """Enrol one or many photos of a person. 201: some were; 200: all were there already.

        409 when every photo was refused or could not be used; each says why.
        """
        found, fields = await photos(request, "photo")
        if not found or "name" not in fields:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "expected a name and at least one photo")
        several = Several.LARGEST if largest else Several.REFUSE
        enrolments = [
            await request.app.state.work.do(
                lambda photo=photo: gallery.enroll(
                    fields["name"], photo, several=several, force=force
                )
            )
            for photo in found
        ]
        outcomes = {enrolment.outcome for enrolment in enrolments}
        status = HTTPStatus.CONFLICT
        if EnrolOutcome.ENROLLED in outcomes:
            status = HTTPStatus.CREATED
        elif outcomes == {EnrolOutcome.ALREADY}:
            status = HTTPStatus.OK
        return JSONResponse({"enrolments": [enrolment_json(e) for e in enrolments]}, status)

    @router.get("")
    async def list_all(
        request: Request,
        search: Annotated[str, Query(max_length=200, description="A part of the name.")] = "",
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    ) -> dict[str, Any]:
        """Everyone, by name."""
        everyone = await request.app.state.work.do(gallery.identities)
        those = [record for record in everyone if search.casefold() in record.name.casefold()]
        page = those[offset : offset + limit]
        return {"total": len(those), "identities": [identity_json(record) for record in page]}

    @router.get("/{identity}")
    async def show(request: Request, identity: IdentityId) -> dict[str, Any]:
        """One person, each enrolled face."""
        record, faces = await request.app.state.work.do(lambda: gallery.identity(identity))
        return identity_json(record) | {"enrolled": [face_record_json(face) for face in faces]}

    @router.patch("/{identity}")
    async def change(request: Request, identity: IdentityId, changes: Changes) -> dict[str, Any]:
        """Another name, an external id, details."""

        record = await request.app.state.work.do(
            lambda: gallery.describe(
                identity,
                new_name=changes.name,
                external_id=changes.external_id,
                details=changes.details,
            )
        )
        return identity_json(record)

    @router.post("/{identity}/merge")
    async def merge(request: Request, identity: IdentityId, others: Others) -> dict[str, Any]:
        """Give the faces of others to this identity; the others are gone."""
        merged = await request.app.state.work.do(lambda: gallery.merge(identity, others.others))
        return identity_json(merged.identity) | {"merge_id": merged.merge_id}

    @router.delete("/{identity}")
    async def forget(request: Request, identity: IdentityId) -> dict[str, int]:
        """Erase a person, on the disk too. There is no undo."""
        gone = await request.app.state.work.do(lambda: gallery.forget(identity))
        return {"identity_id": gone.identity_id, "faces": gone.faces}

    return router
