"""The JSON forms of what the product answers, the same for every way of asking."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from gallery.store.records import (
    AuditEntry,
    BackupRecord,
    FaceRecord,
    IdentityRecord,
    KeyRecord,
    MergeRecord,
    Receipt,
)
from gallery.types import Candidate, Comparison, Decision, Enrolment, Face, IdentityRef

if TYPE_CHECKING:  # only their shapes are needed, not the networks behind them
    from gallery.dedupe.findings import Findings, FoundFace
    from gallery.matching.fpir import Promise

Json = dict[str, Any]


def decision_json(photo: str, decision: Decision) -> Json:
    """One answer: of a photo, or of one face of it."""
    decided_by, runner_up = decision.decided_by, decision.runner_up
    return {
        "outcome": decision.outcome.value,
        "identity": _ref(decision.identity),
        "probability": _rounded(decision.probability),
        "false_positive_identification_rate": decision.promised_rate,
        "photo": photo,
        "face": None if decision.face is None else face_json(decision.face),
        "candidates": [candidate_json(c) for c in decision.candidates],
        "decided_by": None if decided_by is None else candidate_json(decided_by),
        "runner_up": None if runner_up is None else candidate_json(runner_up),
        "reason": decision.reason,
    }


def error_json(photo: str, reason: str) -> Json:
    """The answer for a photo that cannot be used."""
    return {
        "outcome": "error",
        "identity": None,
        "probability": None,
        "false_positive_identification_rate": None,
        "photo": photo,
        "face": None,
        "candidates": [],
        "decided_by": None,
        "runner_up": None,
        "reason": reason,
    }


def face_json(face: Face) -> Json:
    """box : left, top, right, bottom, in pixels of the upright photo."""
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
        "created_at": record.created_at.isoformat(),
    }


def merge_json(record: MergeRecord) -> Json:
    return {
        "merge_id": record.id,
        "kept": record.kept_id,
        "others": list(record.others),
        "created_at": record.created_at.isoformat(),
    }


def receipt_json(receipt: Receipt) -> Json:
    """Numbers and opaque ids alone, so that it may be kept."""
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


def promise_json(promise: Promise) -> Json:
    used = promise.calibration
    return {
        "false_positive_identification_rate": promise.point.rate,
        "identities": promise.identities,
        "bias": _rounded(promise.point.bias),
        "known_found": _rounded(promise.known_found),
        "expected": [
            {"identities": count, "known_found": _rounded(found)}
            for count, found in promise.expected
        ],
        "calibration": None
        if used is None
        else {
            "version": used.id,
            "created_at": used.created_at.isoformat(),
            "report": used.report,
        },
        "said": promise.said,
    }


def key_json(record: KeyRecord) -> Json:
    """Without its secret, which is nowhere, and without its hash."""
    return {
        "id": record.id,
        "label": record.label,
        "scopes": list(record.scopes),
        "per_minute": record.per_minute,
        "created_at": record.created_at.isoformat(),
        "revoked_at": _time(record.revoked_at),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


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


def findings_json(found: Findings) -> Json:
    """What a dedupe found, one object."""
    return {
        "copies": [
            {
                "photos": list(one.photos),
                "probability": _rounded(one.probability),
                "deciding": list(one.deciding),
                "why": one.why,
            }
            for one in found.copies
        ],
        "people": [
            {
                "id": one.id,
                "faces": [_found_face(face) for face in one.faces],
                "probability": _rounded(one.probability),
                "confirmed": one.confirmed,
                "deciding": [_found_face(face) for face in one.deciding],
                "why": one.why,
            }
            for one in found.people
        ],
        "identities": [
            {
                "names": list(one.names),
                "ids": list(one.ids),
                "probability": _rounded(one.probability),
                "deciding": [_found_face(face) for face in one.deciding],
                "why": one.why,
            }
            for one in found.identities
        ],
        "misfiled": [
            {
                "photo": one.face.photo,
                "identity": one.identity,
                "suggested": one.suggested,
                "probability": _rounded(one.probability),
                "box": one.face.box.as_list(),
                "face_id": one.face.face_id,
                "nearest": _found_face(one.nearest),
                "why": one.why,
            }
            for one in found.misfiled
        ],
        "skipped": [{"photo": photo, "reason": reason} for photo, reason in found.skipped],
        "photos_read": found.photos,
        "faces_found": found.faces,
        "folders_are_people": found.folders_are_people,
    }


def _found_face(face: FoundFace) -> Json:
    return {"photo": face.photo, "box": face.box.as_list()}


def _ref(identity: IdentityRef | None) -> Json | None:
    return None if identity is None else {"id": identity.id, "name": identity.name}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
