"""Results from the JSON of the HTTP API: the inverse of `to_json`, besides rounding.

All functions raise KeyError, TypeError or ValueError for JSON of another form.
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
    Fault,
    IdentityRef,
    Outcome,
    Refusal,
    Verdict,
)

Json = dict[str, Any]


def decision(data: Json) -> Decision:
    return Decision(
        outcome=Outcome(data["outcome"]),
        identity=_ref(data["identity"]),
        probability=data["probability"],
        face=None if data["face"] is None else face(data["face"]),
        candidates=tuple(candidate(item) for item in data["candidates"]),
        reason=data["reason"],
        fpir=data["false_positive_identification_rate"],
        photo_fpir=data["photo_false_positive_identification_rate"],
    )


def candidate(data: Json) -> Candidate:
    return Candidate(
        identity=IdentityRef(**data["identity"]),
        face_id=data["face_id"],
        photo=data["photo"],
        similarity=data["similarity"],
        probability=data["probability"],
        verdict=Verdict(data["verdict"]),
        margin=data["margin"],
        years_apart=data["years_apart"],
    )


def face(data: Json) -> Face:
    return Face(
        box=Box(*data["box"]),
        landmarks=np.array(data["landmarks"], dtype=np.float32),
        probability=data["probability"],
        sharpness=data["sharpness"],
    )


def comparison(data: Json) -> Comparison:
    first, second = (face(item) for item in data["faces"])
    return Comparison(data["same"], data["probability"], data["similarity"], (first, second))


def enrolment(data: Json) -> Enrolment:
    return Enrolment(
        photo=data["photo"],
        outcome=EnrolOutcome(data["outcome"]),
        identity=_ref(data["identity"]),
        face_id=data["face_id"],
        reason=data["reason"],
        refusal=None if data["refusal"] is None else Refusal(data["refusal"]),
        rivals=tuple(IdentityRef(**rival) for rival in data["rivals"]),
        notes=tuple(data["notes"]),
        faults=tuple(map(Fault, data["faults"])),
    )


def identity(data: Json) -> IdentityRecord:
    return IdentityRecord(
        id=data["id"],
        name=data["name"],
        external_id=data["external_id"],
        details=data["details"],
        faces=data["faces"],
        created_at=datetime.fromisoformat(data["created_at"]),
        updated_at=datetime.fromisoformat(data["updated_at"]),
        expires_at=data["expires_at"] and datetime.fromisoformat(data["expires_at"]),
    )


def face_record(data: Json) -> FaceRecord:
    return FaceRecord(
        id=data["face_id"],
        identity=IdentityRef(**data["identity"]),
        photo=data["photo"],
        photo_sha256=data["photo_sha256"],
        box=Box(*data["box"]),
        probability=data["probability"],
        sharpness=data["sharpness"],
        norm=data["norm"],
        faults=tuple(map(Fault, data["faults"])),
        created_at=datetime.fromisoformat(data["created_at"]),
        taken=data["taken"],
    )


def receipt(data: Json) -> Receipt:
    return Receipt(
        id=data["receipt"],
        identity_id=data["identity_id"],
        also=tuple(data["also"]),
        whole=data["whole"],
        faces=data["faces"],
        erased_at=datetime.fromisoformat(data["erased_at"]),
        erased=data["erased"],
        learned=tuple(data["learned"]),
        backups=tuple(
            BackupRecord(
                backup["id"],
                backup["newest_identity_id"],
                backup["newest_face_id"],
                datetime.fromisoformat(backup["created_at"]),
                backup["made"],
            )
            for backup in data["backups"]
        ),
        searched_files=data["searched"]["files"],
        searched_bytes=data["searched"]["bytes"],
        too_plain=data["searched"]["too_plain"],
    )


def merge(data: Json) -> MergeRecord:
    return MergeRecord(
        id=data["merge_id"],
        kept_id=data["kept"],
        kept_name=data["kept_name"],
        others=tuple(data["others"]),
        names=tuple(data["names"]),
        created_at=datetime.fromisoformat(data["created_at"]),
    )


def report(data: Json) -> GalleryFindings:
    return GalleryFindings(
        identities=data["identities"],
        faces=data["faces"],
        same_people=tuple(
            SamePerson(
                _identity_pair(pair["identities"]),
                pair["probability"],
                _face_pair(pair["deciding"]),
            )
            for pair in data["same_people"]
        ),
        same_faces=tuple(
            SameFace(_face_pair(pair["faces"]), pair["similarity"]) for pair in data["same_faces"]
        ),
        misfiled=tuple(
            WrongIdentity(
                face_record(wrong["face"]),
                _ref(wrong["suggested"]),
                wrong["probability"],
                face_record(wrong["nearest"]),
                wrong["why"],
            )
            for wrong in data["misfiled"]
        ),
    )


def _face_pair(data: list[Json]) -> tuple[FaceRecord, FaceRecord]:
    first, second = (face_record(item) for item in data)
    return first, second


def _identity_pair(data: list[Json]) -> tuple[IdentityRef, IdentityRef]:
    first, second = (IdentityRef(item["id"], item["name"]) for item in data)
    return first, second


def _ref(data: Json | None) -> IdentityRef | None:
    return None if data is None else IdentityRef(data["id"], data["name"])
