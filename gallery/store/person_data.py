"""What the store holds of a person, in full: what an erasure takes, and what others keep."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import LargeBinary, Select, cast, func, literal, select, text
from sqlalchemy.orm import Session

from gallery.errors import FaceNotFound
from gallery.store import identities
from gallery.store.tables import (
    ENCODING_BYTES,
    AppliedStepRow,
    Base,
    DistinctRow,
    FaceRow,
    IdentityRow,
    KeptRow,
    MergeRow,
    OtherEncodingRow,
    ThumbnailRow,
)
from gallery.types import DIMENSION, Float32

_FACES_A_QUERY = 10_000  # SQLite takes 32,766 parameters


@dataclass(frozen=True)
class Remains:
    """What there is of some faces of an identity, or of all of it (`whole`).

    also : identities that had been merged into it.  aside : faces that a merge or a plan put aside.
    encodings : float32 (n, 128), by every encoder, of the faces and of those put aside.
    names : of the person.  texts : paths, hashes of photos, details.
    pictures : thumbnails, and what is kept of photos.
    counted : rows by kind.
    """

    identity_id: int
    also: tuple[int, ...]
    face_ids: tuple[int, ...]
    aside: tuple[int, ...]
    whole: bool
    encodings: Float32
    names: tuple[str, ...]
    texts: tuple[str, ...]
    pictures: tuple[bytes, ...]
    counted: dict[str, int]

    @property
    def known_as(self) -> frozenset[int]:
        """Every number that the person had."""
        return frozenset((self.identity_id, *self.also))

    @property
    def known_by(self) -> tuple[object, ...]:
        """What changes when there is more, or less, of the person."""
        seen = len(self.encodings), len(self.pictures)
        return self.face_ids, self.aside, self.names, self.texts, seen


def of(session: Session, identity_id: int, face_ids: Sequence[int] | None) -> Remains:
    """Of these faces of an identity alone, or, with None, of the whole person.

    Of single faces also what a merge put aside of the same photos.
    Raises IdentityNotFound or FaceNotFound when it is gone.
    """
    row = session.get_one(IdentityRow, identities.get(session, identity_id).id)
    mine = select(FaceRow).where(FaceRow.identity_id == identity_id).order_by(FaceRow.id)
    notes = session.scalars(select(MergeRow).where(MergeRow.holder_id == identity_id)).all()
    aside = [face for note in notes for other in note.others for face in other["aside"]]
    aside += [step.kept for step in session.scalars(_taken_out(identity_id)) if step.kept]
    names: list[str] = []
    texts: list[str] = []
    counted: dict[str, int] = {}
    if face_ids is None:
        rows = session.scalars(mine).all()
        names.append(row.name)
        texts += [row.external_id or "", *map(str, row.details.values())]
        for note in notes:
            before = note.before
            texts += [str(before["external_id"] or ""), *map(str, before["details"].values())]
            for other in note.others:
                names.append(other["name"])
                texts += [other["external_id"] or "", *map(str, other["details"].values())]
        distinct = select(func.count()).where(
            (DistinctRow.first_id == identity_id) | (DistinctRow.second_id == identity_id)
        )
        counted = {"merges": len(notes), "distinct": session.scalar(distinct) or 0}
    else:
        rows = session.scalars(mine.where(FaceRow.id.in_(face_ids))).all()
        if len(rows) < len(set(face_ids)):
            raise FaceNotFound(f"a face of {sorted(face_ids)} is gone, or somebody else's now")
        photos = {one.photo.sha256 for one in rows}
        aside = [face for face in aside if face["photo"]["sha256"] in photos]
    ids = [one.id for one in rows]
    thumbnails: list[bytes] = []
    kept: list[bytes] = []
    others: list[bytes] = []
    for start in range(0, len(ids), _FACES_A_QUERY):
        some = ids[start : start + _FACES_A_QUERY]
        thumbnails += session.scalars(
            select(ThumbnailRow.jpeg).where(ThumbnailRow.face_id.in_(some))
        )
        kept += session.scalars(select(KeptRow.content).where(KeptRow.face_id.in_(some)))
        others += session.scalars(
            select(OtherEncodingRow.encoding).where(OtherEncodingRow.face_id.in_(some))
        )
    counted = {"faces": len(ids), "thumbnails": len(thumbnails)} | counted
    counted |= {"kept_pictures": len(kept)} if kept else {}
    counted |= {"other_encodings": len(others)} if others else {}
    encodings = [*(one.encoding for one in rows), *others]
    pictures = [*thumbnails, *kept]
    for face in aside:
        seen = [face["encoding"], *(other["encoding"] for other in face.get("others", ()))]
        encodings += [base64.b64decode(one) for one in seen]
        shown = [face["thumbnail"], (face.get("kept") or {}).get("content")]
        pictures += [base64.b64decode(one) for one in shown if one]
    texts += [one.source for one in rows] + [face["source"] for face in aside]
    texts += [one.photo.sha256 for one in rows] + [face["photo"]["sha256"] for face in aside]
    joined = np.frombuffer(b"".join(encodings), dtype="<f4").reshape(-1, DIMENSION)
    return Remains(
        identity_id=identity_id,
        also=tuple(sorted({other["id"] for note in notes for other in note.others})),
        face_ids=tuple(ids),
        aside=tuple(face["id"] for face in aside),
        whole=face_ids is None,
        encodings=joined.astype(np.float32),
        names=tuple(dict.fromkeys(names)),
        texts=tuple(dict.fromkeys(text for text in texts if text)),
        pictures=tuple(pictures),
        counted=counted,
    )


def _taken_out(identity_id: int) -> Select[AppliedStepRow]:
    """Steps of plans that took a face out of the identity, and keep it for a way back."""
    kind = AppliedStepRow.kind == "drop"
    return select(AppliedStepRow).where(kind, AppliedStepRow.first_id == identity_id)


def drop_aside(session: Session, found: Remains) -> None:
    """Let no journal give back what was put aside of single faces that are erased."""
    for step in session.scalars(_taken_out(found.identity_id)):
        if step.number in found.aside:
            session.delete(step)
    notes = select(MergeRow).where(MergeRow.holder_id == found.identity_id)
    for note in session.scalars(notes):
        note.others = [
            {**other, "aside": [f for f in other["aside"] if f["id"] not in found.aside]}
            for other in note.others
        ]
    session.flush()


def is_live(session: Session, content: bytes) -> bool:
    """Whether these bytes are a part of a row that is there, or of the schema itself."""
    schema = text("SELECT 1 FROM sqlite_master WHERE instr(CAST(sql AS BLOB), :content) LIMIT 1")
    if session.scalar(schema, {"content": content}) is not None:
        return True
    return any(
        session.scalar(
            select(literal(1)).where(func.instr(cast(column, LargeBinary), content) > 0).limit(1)
        )
        is not None
        for table in Base.metadata.sorted_tables
        for column in table.columns
    )


def is_anothers_encoding(session: Session, encoding: Float32) -> bool:
    """Whether somebody else was enrolled from the same picture, so that the encoding is theirs."""
    content = encoding.astype("<f4").tobytes()
    assert len(content) == ENCODING_BYTES
    same = (
        select(FaceRow.id).where(FaceRow.encoding == content),
        select(OtherEncodingRow.face_id).where(OtherEncodingRow.encoding == content),
    )
    return any(session.scalar(query.limit(1)) is not None for query in same)
