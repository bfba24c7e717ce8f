"""The JSON of the HTTP API back into what the product answers with; `to_json` the other way.

What the JSON rounds stays rounded. Raises KeyError, TypeError or ValueError for other JSON.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from gallery.dedupe.findings import GalleryFindings, SameFace, SamePerson, WrongIdentity
from gallery.store.records import BackupRecord, FaceRecord, IdentityRecord, MergeRecord, Receipt
from gallery.types import (
    Box,
    Candidate,
    Comparison,
    Decision,
    Enrolment,
    EnrolOutcome,
    Face,
    IdentityRef,
    Outcome,
    Refusal,
    Verdict,
)

Json = dict[str, Any]


def decision(told: Json) -> Decision:
    return Decision(
        outcome=Outcome(told["outcome"]),
        identity=_ref(told["identity"]),
        probability=told["probability"],
        face=None if told["face"] is None else face(told["face"]),
        candidates=tuple(candidate(one) for one in told["candidates"]),
        reason=told["reason"],
        promised_rate=told["false_positive_identification_rate"],
    )


def candidate(told: Json) -> Candidate:
    return Candidate(
        identity=IdentityRef(**told["identity"]),
        face_id=told["face_id"],
        photo=told["photo"],
        similarity=told["similarity"],
        probability=told["probability"],
        verdict=Verdict(told["verdict"]),
    )


def face(told: Json) -> Face:
    return Face(
        box=Box(*told["box"]),
        landmarks=np.array(told["landmarks"], dtype=np.float32),
        probability=told["probability"],
        sharpness=told["sharpness"],
    )


def comparison(told: Json) -> Comparison:
    first, second = (face(one) for one in told["faces"])
    return Comparison(told["same"], told["probability"], told["similarity"], (first, second))


def enrolment(told: Json) -> Enrolment:
    return Enrolment(
        photo=told["photo"],
        outcome=EnrolOutcome(told["outcome"]),
        identity=_ref(told["identity"]),
        face_id=told["face_id"],
        reason=told["reason"],
        refusal=None if told["refusal"] is None else Refusal(told["refusal"]),
        rivals=tuple(IdentityRef(**rival) for rival in told["rivals"]),
    )


def identity(told: Json) -> IdentityRecord:
    return IdentityRecord(
        id=told["id"],
        name=told["name"],
        external_id=told["external_id"],
        details=told["details"],
        faces=told["faces"],
        created_at=datetime.fromisoformat(told["created_at"]),
        updated_at=datetime.fromisoformat(told["updated_at"]),
        expires_at=told["expires_at"] and datetime.fromisoformat(told["expires_at"]),
    )


def face_record(told: Json) -> FaceRecord:
    return FaceRecord(
        id=told["face_id"],
        identity=IdentityRef(**told["identity"]),
        photo=told["photo"],
        photo_sha256=told["photo_sha256"],
        box=Box(*told["box"]),
        probability=told["probability"],
        sharpness=told["sharpness"],
        norm=told["norm"],
        created_at=datetime.fromisoformat(told["created_at"]),
    )


def receipt(told: Json) -> Receipt:
    return Receipt(
        id=told["receipt"],
        identity_id=told["identity_id"],
        also=tuple(told["also"]),
        whole=told["whole"],
        faces=told["faces"],
        erased_at=datetime.fromisoformat(told["erased_at"]),
        erased=told["erased"],
        learned=tuple(told["learned"]),
        backups=tuple(
            BackupRecord(
                one["id"],
                one["newest_identity_id"],
                one["newest_face_id"],
                datetime.fromisoformat(one["created_at"]),
                one["made"],
            )
            for one in told["backups"]
        ),
        searched_files=told["searched"]["files"],
        searched_bytes=told["searched"]["bytes"],
        too_plain=told["searched"]["too_plain"],
    )


def merge(told: Json) -> MergeRecord:
    return MergeRecord(
        id=told["merge_id"],
        kept_id=told["kept"],
        others=tuple(told["others"]),
        created_at=datetime.fromisoformat(told["created_at"]),
    )


def report(told: Json) -> GalleryFindings:
    return GalleryFindings(
        identities=told["identities"],
        faces=told["faces"],
        same_people=tuple(
            SamePerson(_two_refs(one["identities"]), one["probability"], _two(one["deciding"]))
            for one in told["same_people"]
        ),
        same_faces=tuple(
            SameFace(_two(one["faces"]), one["similarity"]) for one in told["same_faces"]
        ),
        misfiled=tuple(
            WrongIdentity(
                face_record(one["face"]),
                None
                if one["suggested"] is None
                else IdentityRef(one["suggested"]["id"], one["suggested"]["name"]),
                one["probability"],
                face_record(one["nearest"]),
                one["why"],
            )
            for one in told["misfiled"]
        ),
    )


def _two(told: list[Json]) -> tuple[FaceRecord, FaceRecord]:
    first, second = (face_record(one) for one in told)
    return first, second


def _two_refs(told: list[Json]) -> tuple[IdentityRef, IdentityRef]:
    first, second = (IdentityRef(one["id"], one["name"]) for one in told)
    return first, second


def _ref(told: Json | None) -> IdentityRef | None:
    return None if told is None else IdentityRef(told["id"], told["name"])
