"""`/v1/identities`, `/v1/faces`: enrol, list, change, erase."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gallery.api import etags
from gallery.api.routes.query import NAME_AND_PHOTOS, Largest
from gallery.api.uploads import read_fields
from gallery.api.worker_pool import Unavailable
from gallery.gallery import Gallery
from gallery.json_forms.schemas import (
    PROBLEMS,
    EnrolledFace,
    Enrolments,
    Expiry,
    Identities,
    Identity,
    IdentityChanges,
    IdentityWithFaces,
    Receipt,
)
from gallery.json_forms.to_json import (
    enrolment_json,
    face_record_json,
    identity_json,
    identity_page_json,
    identity_with_faces_json,
    receipt_json,
)
from gallery.names import LONGEST_NAME
from gallery.store import kept_images
from gallery.store.records import FaceRecord, IdentityPage, IdentityRecord
from gallery.types import Enrolment, EnrolOutcome, Several

MAX_ID = 2**63 - 1
IdentityId = Annotated[int, Path(ge=1, le=MAX_ID, description="The id of an identity.")]
FaceId = Annotated[int, Path(ge=1, le=MAX_ID, description="The id of an enrolled face.")]
New = Annotated[
    bool,
    Query(
        description="A name that differs from another's only in case, accents or spacing is another"
        " person's."
    ),
]
IfNoneMatch = Annotated[
    str | None, Header(description="ETags the client has; if one is current, the answer is 304.")
]
IfMatch = Annotated[
    str | None, Header(description="ETags to accept; if none is current, the answer is 412.")
]
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "Not modified."}}
_ENROLLED: dict[int | str, dict[str, Any]] = {
    200: {"description": "All photos were already enrolled.", "model": Enrolments},
    201: {"description": "At least one photo was enrolled.", "model": Enrolments},
    409: {
        "description": "No photo was enrolled, and at least one was refused or unusable.",
        "model": Enrolments,
    },
}
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
}


def routes(gallery: Gallery) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["identities"], responses=PROBLEMS)

    @router.post(
        "/identities",
        openapi_extra=NAME_AND_PHOTOS,
        responses=_ENROLLED,
        summary="Enrol photos of a person",
    )
    async def enrol(
        request: Request,
        largest: Largest = False,
        force: Annotated[
            bool, Query(description="Enrol even if the face matches another identity.")
        ] = False,
        distinct: Annotated[
            bool,
            Query(description="As `force`, and mark the people who match as different people."),
        ] = False,
        new: New = False,
        strict: Annotated[
            bool, Query(description="Refuse faces that make poor examples of the person.")
        ] = False,
    ) -> JSONResponse:
        """Enrol one or more photos under a name, and return the outcome of each.

        A new name creates an identity. A name that differs from an enrolled person's only in case,
        accents, spaces, hyphens or underscores means that person, and `notes` say so.
        """
        fields = await read_fields(request, "photo")
        name, photos = fields.named_photos()
        several = Several.LARGEST if largest else Several.REFUSE
        enrol_photo = partial(
            gallery.enroll,
            name,
            several=several,
            force=force,
            distinct=distinct,
            new=new,
            strict=strict,
            taken=fields.texts.get("taken"),
        )
        enrolments: list[Enrolment] = []
        for photo in photos:
            try:
                enrolment = await request.app.state.photo_pool.run(
                    request, partial(enrol_photo, photo)
                )
            except Unavailable as error:
                if not enrolments:
                    raise
                # Report what is enrolled; a retry must do the rest, so do not remember this answer.
                request.state.is_partial = True
                failed = EnrolOutcome.ERROR
                enrolment = Enrolment(photo.name, failed, None, None, str(error.detail))
            enrolments.append(enrolment)
        outcomes = {enrolment.outcome for enrolment in enrolments}
        status = HTTPStatus.CONFLICT
        if EnrolOutcome.ENROLLED in outcomes:
            status = HTTPStatus.CREATED
        elif outcomes == {EnrolOutcome.ALREADY}:
            status = HTTPStatus.OK
        return JSONResponse({"enrolments": [enrolment_json(e) for e in enrolments]}, status)

    @router.get("/identities", response_model=Identities, summary="List identities")
    async def list_identities(
        request: Request,
        search: Annotated[
            str,
            Query(max_length=200, description="Part of the name; case and accents are ignored."),
        ] = "",
        near: Annotated[
            str,
            Query(
                max_length=200,
                description="A name: only those that are it but for case, accents and spacing.",
            ),
        ] = "",
        limit: Annotated[int, Query(ge=1, le=1_000, description="Identities per page.")] = 100,
        offset: Annotated[int, Query(ge=0, le=10**9, description="Identities to skip.")] = 0,
        after: Annotated[
            str | None,
            Query(
                pattern=r"^[1-9][0-9]{0,17}:",
                max_length=LONGEST_NAME + 19,
                description="`next` of the page before: identities added or removed since do not"
                " shift this page.",
            ),
        ] = None,
    ) -> dict[str, Any]:
        """Return a page of the identities, by name; case and accents do not count."""
        last_id, _, last_name = (after or "").partition(":")
        page: IdentityPage = await request.app.state.database_pool.run(
            request,
            lambda: gallery.identity_page(
                search,
                near=near or None,
                after=(last_name, int(last_id)) if last_id else None,
                limit=limit,
                offset=offset,
            ),
        )
        return identity_page_json(page)

    @router.get(
        "/identities/{identity}",
        response_model=IdentityWithFaces,
        responses=_NOT_MODIFIED,
        summary="Get an identity",
    )
    async def show_identity(
        request: Request,
        response: Response,
        identity: IdentityId,
        if_none_match: IfNoneMatch = None,
    ) -> Any:
        """Return an identity with its enrolled faces."""
        record, faces = await request.app.state.database_pool.run(
            request, lambda: gallery.identity(identity)
        )
        body = identity_with_faces_json(record, faces)
        etag = etags.etag(body)
        if etags.none_match_fails(if_none_match, etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": etag})
        response.headers["etag"] = etag
        return body

    @router.patch("/identities/{identity}", response_model=Identity, summary="Change an identity")
    async def change_identity(
        request: Request,
        response: Response,
        identity: IdentityId,
        changes: IdentityChanges,
        new: New = False,
        if_match: IfMatch = None,
    ) -> dict[str, Any]:
        """Change the name, the external id or details; fields not given stay as they are."""
        enrolled: list[FaceRecord] = []

        def check(record: IdentityRecord, faces: list[FaceRecord]) -> None:
            _require_match(if_match, record, faces)
            enrolled.extend(faces)

        record: IdentityRecord = await request.app.state.database_pool.run(
            request,
            lambda: gallery.describe(
                identity,
                new_name=changes.name,
                new=new,
                external_id=changes.external_id,
                details=changes.details,
                first=check,
            ),
        )
        faces = [replace(face, identity=record.ref) for face in enrolled]
        response.headers["etag"] = etags.etag(identity_with_faces_json(record, faces))
        return identity_json(record)

    @router.put(
        "/identities/{identity}/expiry", response_model=Identity, summary="Set an expiry date"
    )
    async def expire_identity(
        request: Request, identity: IdentityId, expiry: Expiry
    ) -> dict[str, Any]:
        """Set when the identity is to be erased; the server does so within a minute."""
        record = await request.app.state.database_pool.run(
            request, lambda: gallery.expire_at(identity, expiry.expires_at)
        )
        return identity_json(record)

    @router.delete("/identities/{identity}", response_model=Receipt, summary="Erase an identity")
    async def forget_identity(
        request: Request, identity: IdentityId, if_match: IfMatch = None
    ) -> dict[str, Any]:
        """Erase an identity with all its faces, also from the disk. This cannot be undone."""

        def forget() -> dict[str, Any]:
            check = None if if_match is None else partial(_require_match, if_match)
            return receipt_json(gallery.forget(identity, first=check))

        answer: dict[str, Any] = await request.app.state.database_pool.run(request, forget)
        return answer

    @router.delete("/faces/{face}", response_model=Receipt, summary="Erase a face")
    async def forget_face(request: Request, face: FaceId) -> dict[str, Any]:
        """Erase one of several faces of an identity, also from the disk. This cannot be undone."""
        (receipt,) = await request.app.state.database_pool.run(
            request, lambda: gallery.forget_faces([face])
        )
        return receipt_json(receipt)

    @router.put(
        "/faces/{face}/identity/{identity}",
        response_model=Identity,
        summary="Move a face to another identity",
    )
    async def move_face(request: Request, face: FaceId, identity: IdentityId) -> dict[str, Any]:
        """Move a face, and return the identity it now belongs to. To undo this, move it back."""
        record = await request.app.state.database_pool.run(
            request, lambda: gallery.move_face(face, identity)
        )
        return identity_json(record)

    @router.put(
        "/faces/{face}/taken/{date}",
        response_model=EnrolledFace,
        summary="Set the date of a face's photo",
    )
    async def date_face(
        request: Request,
        face: FaceId,
        date: Annotated[str, Path(description="`1998`, `1998-07` or `1998-07-14`.")],
    ) -> dict[str, Any]:
        """Set when the photo was taken: `1998`, `1998-07` or `1998-07-14`. Return the face."""
        record = await request.app.state.database_pool.run(
            request, lambda: gallery.set_taken(face, date)
        )
        return face_record_json(record)

    @router.delete(
        "/faces/{face}/taken", response_model=EnrolledFace, summary="Remove a photo's date"
    )
    async def undate_face(request: Request, face: FaceId) -> dict[str, Any]:
        """Let the date of the photo be unknown. Return the face."""
        record = await request.app.state.database_pool.run(
            request, lambda: gallery.set_taken(face, None)
        )
        return face_record_json(record)

    @router.put(
        "/faces/{face}/right",
        status_code=HTTPStatus.NO_CONTENT,
        summary="Confirm the identity of a face",
    )
    async def call_right(request: Request, face: FaceId) -> None:
        """Mark the face as correctly labelled, so that dedupe no longer reports it."""
        await request.app.state.database_pool.run(request, lambda: gallery.call_right(face))

    @router.delete(
        "/faces/{face}/right",
        status_code=HTTPStatus.NO_CONTENT,
        summary="Withdraw the confirmation of a face",
    )
    async def doubt_again(request: Request, face: FaceId) -> None:
        """Let dedupe report the face again."""
        await request.app.state.database_pool.run(
            request, lambda: gallery.call_right(face, right=False)
        )

    @router.get(
        "/faces/{face}/thumbnail",
        response_class=Response,
        responses={**_JPEG, **_NOT_MODIFIED},
        summary="Get the thumbnail of a face",
    )
    async def show_thumbnail(
        request: Request, face: FaceId, if_none_match: IfNoneMatch = None
    ) -> Response:
        """Return a small JPEG of an enrolled face, if the gallery keeps thumbnails."""

        def read() -> bytes:
            with gallery.database.reading() as session:
                return kept_images.thumbnail(session, face)

        jpeg = await request.app.state.database_pool.run(request, read)
        etag = etags.etag(jpeg)
        headers = {"etag": etag, "cache-control": "private, no-cache"}
        if etags.none_match_fails(if_none_match, etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    return router


def _require_match(if_match: str | None, record: IdentityRecord, faces: list[FaceRecord]) -> None:
    if not etags.match_holds(if_match, etags.etag(identity_with_faces_json(record, faces))):
        detail = f"identity {record.id} has changed since; get it again"
        raise HTTPException(HTTPStatus.PRECONDITION_FAILED, detail)
