"""`/v1/merges`: merge identities and undo it; mark two as different people."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from gallery.api.routes.identities import MAX_ID, IdentityId
from gallery.gallery import Gallery
from gallery.json_forms.schemas import PROBLEMS, Identities, MergedIdentity, MergeRequest, Merges
from gallery.json_forms.to_json import identity_json, merge_json

OtherId = Annotated[int, Path(ge=1, le=MAX_ID, description="The id of another identity.")]
MergeId = Annotated[int, Path(ge=1, le=MAX_ID, description="The id of a merge.")]


def routes(gallery: Gallery) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["identities"], responses=PROBLEMS)

    @router.post(
        "/identities/{identity}/merge",
        response_model=MergedIdentity,
        summary="Merge identities into this one",
    )
    async def merge_identities(
        request: Request, identity: IdentityId, others: MergeRequest
    ) -> dict[str, Any]:
        """Move the faces of the others to this identity and remove the others. Can be undone."""
        merge = await request.app.state.database_pool.run(
            request, lambda: gallery.merge(identity, others.others)
        )
        return identity_json(merge.identity) | {"merge_id": merge.merge_id}

    @router.get("/merges", response_model=Merges, summary="List merges")
    async def list_merges(
        request: Request,
        limit: Annotated[
            int | None, Query(ge=1, le=1_000, description="The newest; all if not given.")
        ] = None,
    ) -> dict[str, Any]:
        """Return the merges that can be undone, the newest first."""
        merges = await request.app.state.database_pool.run(request, lambda: gallery.merges(limit))
        return {"merges": [merge_json(merge) for merge in merges]}

    @router.post("/merges/{merge}/undo", response_model=Identities, summary="Undo a merge")
    async def undo_merge(request: Request, merge: MergeId) -> dict[str, Any]:
        """Undo a merge, and return the identity that was kept and those restored."""
        records = await request.app.state.database_pool.run(
            request, lambda: gallery.undo_merge(merge)
        )
        return {"total": len(records), "identities": [identity_json(record) for record in records]}

    @router.put(
        "/identities/{identity}/distinct/{other}",
        status_code=HTTPStatus.NO_CONTENT,
        summary="Mark two identities as different people",
    )
    async def tell_apart(request: Request, identity: IdentityId, other: OtherId) -> None:
        """Mark the two as different people, so that dedupe no longer reports them."""
        await request.app.state.database_pool.run(
            request, lambda: gallery.keep_distinct(identity, other)
        )

    @router.delete(
        "/identities/{identity}/distinct/{other}",
        status_code=HTTPStatus.NO_CONTENT,
        summary="Unmark two identities as different people",
    )
    async def compare_again(request: Request, identity: IdentityId, other: OtherId) -> None:
        """Let dedupe report the two identities as the same person again."""
        await request.app.state.database_pool.run(
            request, lambda: gallery.keep_distinct(identity, other, distinct=False)
        )

    return router
