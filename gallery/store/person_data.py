"""All data stored about a person: what an erasure deletes, and whether traces belong to others."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from sqlalchemy import LargeBinary, Select, cast, func, literal, select, text
from sqlalchemy.orm import Session

from gallery.batching import batched
from gallery.errors import FaceNotFound
from gallery.names import folded, spellings
from gallery.store import faces, identities, recalled
from gallery.store.dedupe_tables import AppliedStepRow
from gallery.store.tables import (
    ENCODING_BYTES,
    IDS_PER_QUERY,
    Base,
    DistinctRow,
    FaceRow,
    IdentityRow,
    KeptImageRow,
    MergeRow,
    OtherEncodingRow,
    PhotoRow,
    ThumbnailRow,
    any_of,
)
from gallery.types import DIMENSION, Float32


@dataclass(frozen=True)
class PersonData:
    """The data of some faces of an identity, or of the whole identity (`whole`).

    merged_ids : of identities merged into it.
    face_ids : enrolled faces.  set_aside : ids of faces that a merge or a plan set aside.
    encodings : float32 (n, 128), by every encoder, of all these faces.
    names : of the person, also folded, see gallery.names.
    texts : external ids, details, photo names and SHA-256s.
    images : thumbnails and images for re-encoding, as files.
    row_counts : number of rows by kind.
    """

    identity_id: int
    merged_ids: tuple[int, ...]
    face_ids: tuple[int, ...]
    set_aside: tuple[int, ...]
    whole: bool
    encodings: Float32
    names: tuple[str, ...]
    texts: tuple[str, ...]
    images: tuple[bytes, ...]
    row_counts: dict[str, int]

    @property
    def all_ids(self) -> frozenset[int]:
        """The ids of the identity and of those merged into it."""
        return frozenset((self.identity_id, *self.merged_ids))

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """A value that changes when the stored data changes."""
        content = hashlib.sha256(self.encodings.tobytes())
        for image in self.images:
            content.update(hashlib.sha256(image).digest())
        return self.face_ids, self.set_aside, self.names, self.texts, content.digest()


def collect(session: Session, identity_id: int, face_ids: Sequence[int] | None) -> PersonData:
    """Return the data of these faces of an identity, or with None of the whole identity.

    With single faces come those from the same photos that a merge or a plan set aside.
    Raises IdentityNotFound or FaceNotFound.
    """
    identity = session.get_one(IdentityRow, identities.get(session, identity_id).id)
    face_query = (
        select(FaceRow.id, FaceRow.encoding, FaceRow.source, PhotoRow.sha256)
        .join(PhotoRow, PhotoRow.id == FaceRow.photo_id)
        .where(FaceRow.identity_id == identity_id)
        .order_by(FaceRow.id)
    )
    merges = session.scalars(select(MergeRow).where(MergeRow.holder_id == identity_id)).all()
    set_aside = [face for merge in merges for other in merge.others for face in other["aside"]]
    set_aside += [step.kept for step in session.scalars(_drop_steps(identity_id)) if step.kept]
    names: list[str] = []
    texts: list[str] = []
    row_counts: dict[str, int] = {}
    if face_ids is None:
        rows = session.execute(face_query).all()
        names += [identity.name, *recalled.names(session, identity_id)]
        texts += [identity.external_id or "", *map(str, identity.details.values())]
        for merge in merges:
            before = merge.before
            texts += [str(before["external_id"] or ""), *map(str, before["details"].values())]
            for other in merge.others:
                names.append(other["name"])
                texts += [other["external_id"] or "", *map(str, other["details"].values())]
        distinct = select(func.count()).where(
            (DistinctRow.first_id == identity_id) | (DistinctRow.second_id == identity_id)
        )
        row_counts = {"merges": len(merges), "distinct": session.scalar(distinct) or 0}
    else:
        rows = session.execute(face_query.where(FaceRow.id.in_(any_of(face_ids)))).all()
        if len(rows) < len(set(face_ids)):
            raise FaceNotFound(
                f"a face of {sorted(face_ids)} was erased or moved to another identity"
            )
        photos = {row.sha256 for row in rows}
        set_aside = [face for face in set_aside if face["photo"]["sha256"] in photos]
    ids = [row.id for row in rows]
    thumbnails: list[bytes] = []
    kept_images: list[bytes] = []
    others: list[bytes] = []
    for batch in batched(ids, IDS_PER_QUERY):
        thumbnails += session.scalars(
            select(ThumbnailRow.jpeg).where(ThumbnailRow.face_id.in_(batch))
        )
        kept_images += session.scalars(
            select(KeptImageRow.content).where(KeptImageRow.face_id.in_(batch))
        )
        others += session.scalars(
            select(OtherEncodingRow.encoding).where(OtherEncodingRow.face_id.in_(batch))
        )
    row_counts = {"faces": len(ids), "thumbnails": len(thumbnails)} | row_counts
    row_counts |= {"kept_pictures": len(kept_images)} if kept_images else {}
    row_counts |= {"other_encodings": len(others)} if others else {}
    encodings = [*(row.encoding for row in rows), *others]
    images = [*thumbnails, *kept_images]
    for face in set_aside:
        packed = [face["encoding"], *(other["encoding"] for other in face.get("others", ()))]
        encodings += [base64.b64decode(encoding) for encoding in packed]
        packed = [face["thumbnail"], (face.get("kept") or {}).get("content")]
        images += [base64.b64decode(image) for image in packed if image]
    texts += [row.source for row in rows] + [face["source"] for face in set_aside]
    texts += [row.sha256 for row in rows] + [face["photo"]["sha256"] for face in set_aside]
    joined = np.frombuffer(b"".join(encodings), dtype="<f4").reshape(-1, DIMENSION)
    return PersonData(
        identity_id=identity_id,
        merged_ids=tuple(sorted({other["id"] for merge in merges for other in merge.others})),
        face_ids=tuple(ids),
        set_aside=tuple(face["id"] for face in set_aside),
        whole=face_ids is None,
        encodings=joined.astype(np.float32),
        names=tuple(dict.fromkeys(chain(names, map(folded, names), *map(spellings, names)))),
        texts=tuple(dict.fromkeys(text for text in texts if text)),
        images=tuple(images),
        row_counts=row_counts,
    )


def _drop_steps(identity_id: int) -> Select[AppliedStepRow]:
    """Select the steps of plans that took a face out of the identity and hold it, packed."""
    is_drop = AppliedStepRow.kind == "drop"
    return select(AppliedStepRow).where(is_drop, AppliedStepRow.first_id == identity_id)


def drop_set_aside(session: Session, data: PersonData) -> None:
    """Delete the faces set aside from the journals of merges and plans."""
    for step in session.scalars(_drop_steps(data.identity_id)):
        if step.number in data.set_aside:
            session.delete(step)
    merges = select(MergeRow).where(MergeRow.holder_id == data.identity_id)
    for merge in session.scalars(merges):
        merge.others = [
            {**other, "aside": [f for f in other["aside"] if f["id"] not in data.set_aside]}
            for other in merge.others
        ]
    session.flush()


def erase_faces(session: Session, data: PersonData) -> None:
    """Delete single faces, and remember their photos, so that these do not come back unnoticed."""
    photos = {
        record.photo_sha256 for record in faces.records_by_id(session, data.face_ids).values()
    }
    identities.delete_faces(session, data.face_ids)
    drop_set_aside(session, data)
    for sha256 in photos:
        recalled.add_photo(session, data.identity_id, sha256)


def is_in_use(session: Session, content: bytes) -> bool:
    """Whether these bytes occur in a current row, or in the schema."""
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
    """Whether a remaining face has this encoding, being enrolled from the same image."""
    content = encoding.astype("<f4").tobytes()
    assert len(content) == ENCODING_BYTES
    queries = (
        select(FaceRow.id).where(FaceRow.encoding == content),
        select(OtherEncodingRow.face_id).where(OtherEncodingRow.encoding == content),
    )
    return any(session.scalar(query.limit(1)) is not None for query in queries)
