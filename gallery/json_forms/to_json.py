"""Results as JSON, the same for the command line and the HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gallery.dates import years_covered
from gallery.store.records import (
    AuditEntry,
    BackupRecord,
    FaceRecord,
    IdentityPage,
    IdentityRecord,
    KeyRecord,
    MergeRecord,
    Receipt,
)
from gallery.types import Candidate, Comparison, Decision, Enrolment, Face, IdentityRef

if TYPE_CHECKING:  # at run time these would import the networks
    from gallery.dedupe.findings import Findings, FoundFace
    from gallery.matching.fpir import FpirStatement
    from gallery.vision.folder import LeftOut

Json = dict[str, Any]


def decision_json(photo: str, decision: Decision) -> Json:
    """The decision for a photo, or for one of its faces."""
    decided_by, runner_up = decision.decided_by, decision.runner_up
    return {
        "outcome": decision.outcome.value,
        "identity": _ref(decision.identity),
        "probability": _rounded(decision.probability),
        "false_positive_identification_rate": decision.fpir,
        "photo_false_positive_identification_rate": _rounded(decision.photo_fpir),
        "photo": photo,
        "face": None if decision.face is None else face_json(decision.face),
        "candidates": [candidate_json(c) for c in decision.candidates],
        "decided_by": None if decided_by is None else candidate_json(decided_by),
        "runner_up": None if runner_up is None else candidate_json(runner_up),
        "reason": decision.reason,
    }


def error_json(photo: str, reason: str) -> Json:
    """The answer for a photo that cannot be used, in the form of a decision."""
    return {
        "outcome": "error",
        "identity": None,
        "probability": None,
        "false_positive_identification_rate": None,
        "photo_false_positive_identification_rate": None,
        "photo": photo,
        "face": None,
        "candidates": [],
        "decided_by": None,
        "runner_up": None,
        "reason": reason,
    }


def face_json(face: Face) -> Json:
    """The box is left, top, right, bottom, in pixels of the upright photo."""
    return {
        "box": face.box.as_list(),
        "landmarks": [[round(float(v), 1) for v in point] for point in face.landmarks],
        "probability": _rounded(face.probability),
        "sharpness": round(face.sharpness, 1),
    }


def candidate_json(candidate: Candidate) -> Json:
    return {
        "identity": _ref(candidate.identity),
        "face_id": candidate.face_id,
        "photo": candidate.photo,
        "similarity": _rounded(candidate.similarity),
        "probability": _rounded(candidate.probability),
        "verdict": candidate.verdict.value,
        "margin": round(candidate.margin, 3),
        "years_apart": candidate.years_apart,
    }


def enrolment_json(enrolment: Enrolment) -> Json:
    return {
        "photo": enrolment.photo,
        "outcome": enrolment.outcome.value,
        "identity": _ref(enrolment.identity),
        "face_id": enrolment.face_id,
        "reason": enrolment.reason,
        "refusal": None if enrolment.refusal is None else enrolment.refusal.value,
        "rivals": [_ref(rival) for rival in enrolment.rivals],
        "notes": list(enrolment.notes),
        "faults": [fault.value for fault in enrolment.faults],
    }


def comparison_json(photos: tuple[str, str], comparison: Comparison) -> Json:
    return {
        "same": comparison.same,
        "probability": _rounded(comparison.probability),
        "similarity": _rounded(comparison.similarity),
        "photos": list(photos),
        "faces": [face_json(face) for face in comparison.faces],
    }


def identity_json(record: IdentityRecord) -> Json:
    return {
        "id": record.id,
        "name": record.name,
        "external_id": record.external_id,
        "details": record.details,
        "faces": record.faces,
        "created_at": record.created_at.isoformat(),
        "updated_at": record.updated_at.isoformat(),
        "expires_at": _time(record.expires_at),
    }


def face_record_json(record: FaceRecord) -> Json:
    return {
        "face_id": record.id,
        "identity": _ref(record.identity),
        "photo": record.photo,
        "photo_sha256": record.photo_sha256,
        "box": record.box.as_list(),
        "probability": _rounded(record.probability),
        "sharpness": round(record.sharpness, 1),
        "norm": _rounded(record.norm),
        "faults": [fault.value for fault in record.faults],
        "created_at": record.created_at.isoformat(),
        "taken": record.taken,
    }


def identity_page_json(page: IdentityPage) -> Json:
    last = page.identities[-1] if page.has_more else None
    return {
        "total": page.total,
        "identities": [identity_json(record) for record in page.identities],
        "next": None if last is None else f"{last.id}:{last.name}",
    }


def identity_with_faces_json(record: IdentityRecord, faces: Sequence[FaceRecord]) -> Json:
    """An identity with its faces, the periods that its photos cover, and how many have no date."""
    dates = [face.taken for face in faces if face.taken is not None]
    return {
        **identity_json(record),
        "enrolled": [face_record_json(face) for face in faces],
        "years": [list(period) for period in years_covered(dates)],
        "undated": len(faces) - len(dates),
    }


def merge_json(record: MergeRecord) -> Json:
    return {
        "merge_id": record.id,
        "kept": record.kept_id,
        "kept_name": record.kept_name,
        "others": list(record.others),
        "names": list(record.names),
        "created_at": record.created_at.isoformat(),
    }


def receipt_json(receipt: Receipt) -> Json:
    """Only numbers and opaque ids, so that a receipt may be kept after an erasure."""
    return {
        "receipt": receipt.id,
        "identity_id": receipt.identity_id,
        "also": list(receipt.also),
        "whole": receipt.whole,
        "faces": receipt.faces,
        "erased_at": receipt.erased_at.isoformat(),
        "erased": receipt.erased,
        "learned": list(receipt.learned),
        "backups": [backup_json(backup) for backup in receipt.backups],
        "searched": {
            "files": receipt.searched_files,
            "bytes": receipt.searched_bytes,
            "too_plain": receipt.too_plain,
        },
    }


def backup_json(record: BackupRecord) -> Json:
    return {
        "id": record.id,
        "newest_identity_id": record.newest_identity_id,
        "newest_face_id": record.newest_face_id,
        "created_at": record.created_at.isoformat(),
        "made": record.made,
    }


def promise_json(promise: FpirStatement) -> Json:
    calibration = promise.calibration
    return {
        "false_positive_identification_rate": promise.point.fpir,
        "identities": promise.identities,
        "bias": _rounded(promise.point.bias),
        "known_found": _rounded(promise.expected_found),
        "expected": [
            {"identities": count, "known_found": _rounded(share)}
            for count, share in promise.expected_by_size
        ],
        "calibration": None
        if calibration is None
        else {
            "version": calibration.id,
            "created_at": calibration.created_at.isoformat(),
            "report": calibration.report,
        },
        "said": promise.summary,
    }


def key_json(record: KeyRecord) -> Json:
    """Without the hash of its secret; the secret itself is not stored."""
    return {
        "id": record.id,
        "label": record.label,
        "scopes": list(record.scopes),
        "per_minute": record.per_minute,
        "created_at": record.created_at.isoformat(),
        "revoked_at": _time(record.revoked_at),
    }


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def audit_json(entry: AuditEntry) -> Json:
    return {
        "id": entry.id,
        "at": entry.at.isoformat(),
        "actor": entry.actor,
        "action": entry.action,
        "identity_id": entry.identity_id,
        "outcome": entry.outcome,
        "request_id": entry.request_id,
        "digest": entry.digest,
    }


def findings_json(findings: Findings) -> Json:
    """What a dedupe of a folder found."""
    return {
        "copies": [
            {
                "photos": list(copies.photos),
                "probability": _rounded(copies.probability),
                "deciding": list(copies.deciding),
                "why": copies.why,
            }
            for copies in findings.copies
        ],
        "people": [
            {
                "id": person.id,
                "faces": [_found_face(face) for face in person.faces],
                "probability": _rounded(person.probability),
                "confirmed": person.confirmed,
                "deciding": [_found_face(face) for face in person.deciding],
                "why": person.why,
            }
            for person in findings.people
        ],
        "identities": [
            {
                "names": list(duplicate.names),
                "ids": list(duplicate.ids),
                "probability": _rounded(duplicate.probability),
                "deciding": [_found_face(face) for face in duplicate.deciding],
                "why": duplicate.why,
            }
            for duplicate in findings.identities
        ],
        "misfiled": [
            {
                "photo": wrong.face.photo,
                "identity": wrong.identity,
                "suggested": wrong.suggested,
                "probability": _rounded(wrong.probability),
                "box": wrong.face.box.as_list(),
                "face_id": wrong.face.face_id,
                "nearest": _found_face(wrong.nearest),
                "why": wrong.why,
            }
            for wrong in findings.misfiled
        ],
        "skipped": [{"photo": photo, "reason": reason} for photo, reason in findings.skipped],
        "photos_read": findings.photos,
        "faces_found": findings.faces,
        "folders_are_people": findings.folders_are_people,
        "left_out": [left_out_json(other) for other in findings.left_out],
    }


def left_out_json(other: LeftOut) -> Json:
    return {"path": str(other.path), "why": other.why.value}


def _found_face(face: FoundFace) -> Json:
    return {"photo": face.photo, "box": face.box.as_list()}


def _ref(identity: IdentityRef | None) -> Json | None:
    return None if identity is None else {"id": identity.id, "name": identity.name}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
