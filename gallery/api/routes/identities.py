"""`/v1/identities`, `/v1/merges`, `/v1/faces`: enrol, list, show, change, merge, forget."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gallery.api import etags
from gallery.api.routes.query import PHOTOS_AND_NAME
from gallery.api.uploads import photos
from gallery.api.worker_pool import NotDone
from gallery.gallery import Gallery
from gallery.json_forms.schemas import (
    PROBLEMS,
    Changes,
    Enrolments,
    Expiry,
    Identities,
    Identity,
    IdentityWithFaces,
    Merged,
    Merges,
    Others,
    Receipt,
)
from gallery.json_forms.to_json import (
    enrolment_json,
    face_record_json,
    identity_json,
    merge_json,
    receipt_json,
)
from gallery.store import kept_images
from gallery.store.records import FaceRecord, IdentityRecord
from gallery.types import Enrolment, EnrolOutcome, Several

_LARGEST_ID = 2**63 - 1
IdentityId = Annotated[int, Path(ge=1, le=_LARGEST_ID, description="An identity's number.")]
OtherId = Annotated[int, Path(ge=1, le=_LARGEST_ID, description="Another identity's number.")]
MergeId = Annotated[int, Path(ge=1, le=_LARGEST_ID, description="A merge's number.")]
FaceId = Annotated[int, Path(ge=1, le=_LARGEST_ID, description="An enrolled face's number.")]
IfNoneMatch = Annotated[str | None, Header(description="ETags that are known already.")]
IfMatch = Annotated[str | None, Header(description="Only if its ETag is still one of these.")]
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "As the ETag says."}}
_ENROLLED: dict[int | str, dict[str, Any]] = {
    200: {"description": "All were enrolled already.", "model": Enrolments},
    201: {"description": "At least one was enrolled.", "model": Enrolments},
    409: {
        "description": "Every photo was refused or could not be used; each says why.",
        "model": Enrolments,
    },
}
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
}


def routes(gallery: Gallery) -> APIRouter:
    """The routes of keeping."""
    router = APIRouter(prefix="/v1", tags=["identities"], responses=PROBLEMS)

    @router.post("/identities", openapi_extra=PHOTOS_AND_NAME, responses=_ENROLLED)
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
        photos_of, fields = await photos(request, "photo")
        if not photos_of["photo"] or "name" not in fields:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "expected a name and at least one photo")
        several = Several.LARGEST if largest else Several.REFUSE
        one = partial(gallery.enroll, fields["name"], several=several, force=force)
        enrolments: list[Enrolment] = []
        for photo in photos_of["photo"]:
            try:
                done = await request.app.state.photos.do(request, partial(one, photo))
            except NotDone as late:
                if not enrolments:
                    raise
                # What is enrolled already is told all the same; sent again, the rest is done.
                request.state.partial = True
                error = EnrolOutcome.ERROR
                done = Enrolment(photo.name, error, None, None, str(late.detail))
            enrolments.append(done)
        outcomes = {enrolment.outcome for enrolment in enrolments}
        status = HTTPStatus.CONFLICT
        if EnrolOutcome.ENROLLED in outcomes:
            status = HTTPStatus.CREATED
        elif outcomes == {EnrolOutcome.ALREADY}:
            status = HTTPStatus.OK
        return JSONResponse({"enrolments": [enrolment_json(e) for e in enrolments]}, status)

    @router.get("/identities", response_model=Identities)
    async def list_identities(
        request: Request,
        search: Annotated[str, Query(max_length=200, description="A part of the name.")] = "",
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    ) -> dict[str, Any]:
        """Everyone, by name."""

        def found() -> dict[str, Any]:
            wanted = search.casefold()
            those = [one for one in gallery.identities() if wanted in one.name.casefold()]
            page = those[offset : offset + limit]
            return {"total": len(those), "identities": [identity_json(one) for one in page]}

        answer: dict[str, Any] = await request.app.state.rows.do(request, found)
        return answer

    @router.get("/identities/{identity}", response_model=IdentityWithFaces, responses=_NOT_MODIFIED)
    async def show_identity(
        request: Request,
        response: Response,
        identity: IdentityId,
        if_none_match: IfNoneMatch = None,
    ) -> Any:
        """One person, each enrolled face."""
        record, faces = await request.app.state.rows.do(request, lambda: gallery.identity(identity))
        shown = _with_faces(record, faces)
        tag = etags.tag(shown)
        if etags.known(if_none_match, tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": tag})
        response.headers["etag"] = tag
        return shown

    @router.patch("/identities/{identity}", response_model=Identity)
    async def change_identity(
        request: Request,
        response: Response,
        identity: IdentityId,
        changes: Changes,
        if_match: IfMatch = None,
    ) -> dict[str, Any]:
        """Another name, an external id, details."""
        enrolled: list[FaceRecord] = []

        def unchanged(record: IdentityRecord, faces: list[FaceRecord]) -> None:
            _require(if_match, record, faces)
            enrolled.extend(faces)

        record: IdentityRecord = await request.app.state.rows.do(
            request,
            lambda: gallery.describe(
                identity,
                new_name=changes.name,
                external_id=changes.external_id,
                details=changes.details,
                first=unchanged,
            ),
        )
        faces = [replace(face, identity=record.ref) for face in enrolled]
        response.headers["etag"] = etags.tag(_with_faces(record, faces))
        return identity_json(record)

    @router.put("/identities/{identity}/expiry", response_model=Identity)
    async def expire_identity(
        request: Request, identity: IdentityId, expiry: Expiry
    ) -> dict[str, Any]:
        """Erase a person from then on: the server does so within a minute after it has come."""
        record = await request.app.state.rows.do(
            request, lambda: gallery.describe(identity, details={}, expires=expiry.expires_at)
        )
        return identity_json(record)

    @router.delete("/identities/{identity}", response_model=Receipt)
    async def forget_identity(
        request: Request, identity: IdentityId, if_match: IfMatch = None
    ) -> dict[str, Any]:
        """Erase a person, on the disk too. There is no undo."""

        def forget() -> dict[str, Any]:
            if if_match is not None:
                _require(if_match, *gallery.identity(identity))
            return receipt_json(gallery.forget(identity))

        answer: dict[str, Any] = await request.app.state.rows.do(request, forget)
        return answer

    @router.delete("/faces/{face}", response_model=Receipt)
    async def forget_face(request: Request, face: FaceId) -> dict[str, Any]:
        """Erase one face of somebody who has others, on the disk too. There is no undo."""
        (receipt,) = await request.app.state.rows.do(request, lambda: gallery.forget_faces([face]))
        return receipt_json(receipt)

    @router.put("/faces/{face}/identity/{identity}", response_model=Identity)
    async def move_face(request: Request, face: FaceId, identity: IdentityId) -> dict[str, Any]:
        """Put a face under another name, whose it is; the identity. Moving it back undoes it."""
        record = await request.app.state.rows.do(request, lambda: gallery.move_face(face, identity))
        return identity_json(record)

    @router.put("/faces/{face}/right", status_code=HTTPStatus.NO_CONTENT)
    async def call_right(request: Request, face: FaceId) -> None:
        """This face is under the right name: a dedupe does not doubt it again."""
        await request.app.state.rows.do(request, lambda: gallery.call_right(face))

    @router.delete("/faces/{face}/right", status_code=HTTPStatus.NO_CONTENT)
    async def doubt_again(request: Request, face: FaceId) -> None:
        """Take that back."""
        await request.app.state.rows.do(request, lambda: gallery.call_right(face, right=False))

    @router.post("/identities/{identity}/merge", response_model=Merged)
    async def merge_identities(
        request: Request, identity: IdentityId, others: Others
    ) -> dict[str, Any]:
        """Give the faces of others to this identity; the others are gone, until it is undone."""
        merged = await request.app.state.rows.do(
            request, lambda: gallery.merge(identity, others.others)
        )
        return identity_json(merged.identity) | {"merge_id": merged.merge_id}

    @router.get("/merges", response_model=Merges)
    async def list_merges(request: Request) -> dict[str, Any]:
        """Every merge that can be undone, the newest first."""
        merges = await request.app.state.rows.do(request, gallery.merges)
        return {"merges": [merge_json(made) for made in merges]}

    @router.post("/merges/{merge}/undo", response_model=Identities)
    async def undo_merge(request: Request, merge: MergeId) -> dict[str, Any]:
        """Take a merge back: the one that was kept, and who is there again."""
        back = await request.app.state.rows.do(request, lambda: gallery.undo_merge(merge))
        return {"total": len(back), "identities": [identity_json(record) for record in back]}

    @router.put("/identities/{identity}/distinct/{other}", status_code=HTTPStatus.NO_CONTENT)
    async def tell_apart(request: Request, identity: IdentityId, other: OtherId) -> None:
        """These are two people: a dedupe does not name them again."""
        await request.app.state.rows.do(request, lambda: gallery.keep_distinct(identity, other))

    @router.delete("/identities/{identity}/distinct/{other}", status_code=HTTPStatus.NO_CONTENT)
    async def compare_again(request: Request, identity: IdentityId, other: OtherId) -> None:
        """Take that back."""
        await request.app.state.rows.do(
            request, lambda: gallery.keep_distinct(identity, other, distinct=False)
        )

    @router.get(
        "/faces/{face}/thumbnail",
        response_class=Response,
        responses={**_JPEG, **_NOT_MODIFIED},
    )
    async def show_thumbnail(
        request: Request, face: FaceId, if_none_match: IfNoneMatch = None
    ) -> Response:
        """A small picture of an enrolled face, when the gallery keeps them."""

        def read() -> bytes:
            with gallery.database.reading() as session:
                return kept_images.thumbnail(session, face)

        jpeg = await request.app.state.rows.do(request, read)
        tag = etags.tag(jpeg)
        headers = {"etag": tag, "cache-control": "private, no-cache"}
        if etags.known(if_none_match, tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    return router


def _with_faces(record: IdentityRecord, faces: list[FaceRecord]) -> dict[str, Any]:
    return identity_json(record) | {"enrolled": [face_record_json(face) for face in faces]}


def _require(if_match: str | None, record: IdentityRecord, faces: list[FaceRecord]) -> None:
    if not etags.unchanged(if_match, etags.tag(_with_faces(record, faces))):
        said = f"identity {record.id} was changed since; get it again"
        raise HTTPException(HTTPStatus.PRECONDITION_FAILED, said)
