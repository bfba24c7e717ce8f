"""Duplicates in the gallery: identities that are one person, faces under the wrong name, and faces
enrolled twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gallery.dedupe.clustering.merge import matching_pairs, rows_of_each
from gallery.dedupe.findings import GalleryFindings, SameFace, SamePerson, WrongIdentity, key_of
from gallery.dedupe.mislabelled import WrongName, mislabelled_reason, wrong_names
from gallery.matching.lookalikes import SAME_PICTURE_COSINE, candidate_pairs
from gallery.matching.photo_quality import judged
from gallery.matching.scorer import Scorer
from gallery.progress import Progress, no_progress
from gallery.store import corrections, decisions, faces, merges, plans
from gallery.store.database import Database
from gallery.store.decisions import FaceSets
from gallery.store.records import FaceRecord
from gallery.types import Encodings, Int64
from indexer import Edges


def dedupe_gallery(
    database: Database,
    scorer: Scorer,
    progress: Progress = no_progress,
) -> GalleryFindings:
    """Compare every enrolled face with its nearest. Memory is bounded by the encodings.

    Leaves out identities that are known to be two people, and faces known to be right.
    progress : called with work done and work in all; an exception it raises stops the dedupe.
    """
    with database.reading() as session:
        distinct = merges.distinct_pairs(session)
        known_right = corrections.confirmed_faces(session)
        kept_copies = decisions.all_sets(session, decisions.KEEP_ALL)
        state = plans.state_of(session)
        blocks = list(faces.all_encodings(session))
        record_of = {record.id: record for record in judged(session, faces.records(session))}
    face_ids = np.concatenate([np.empty(0, np.int64), *(b.face_ids for b in blocks)])
    owners = np.concatenate([np.empty(0, np.int64), *(b.identity_ids for b in blocks)])
    encodings = Encodings.joined([b.encodings for b in blocks])
    records = [record_of[face_id] for face_id in face_ids.tolist()]
    identity_ids = np.unique(owners)
    count, total = len(encodings), len(encodings) + 2 * len(identity_ids)

    point = scorer.operating_point()
    edges = candidate_pairs(encodings, scorer, point, progress=lambda done: progress(done, total))
    same_faces = _same_faces(edges, records, kept_copies)
    wrong = [
        finding
        for finding in wrong_names(owners, encodings, scorer, point)
        if (int(face_ids[finding.row]), finding.owner) not in known_right
    ]
    progress(count + len(identity_ids), total)
    same_people = _same_people(
        owners,
        encodings,
        records,
        {finding.row for finding in wrong},
        distinct,
        scorer,
        lambda share: progress(count + round((1 + share) * len(identity_ids)), total),
    )
    return GalleryFindings(
        identities=len(identity_ids),
        faces=count,
        same_people=tuple(sorted(same_people, key=lambda finding: -finding.probability)),
        same_faces=tuple(sorted(same_faces, key=lambda finding: -finding.similarity)),
        misfiled=tuple(_wrong_identity(finding, records) for finding in wrong),
        state=state,
    )


def _same_faces(
    edges: Edges, records: Sequence[FaceRecord], kept_copies: FaceSets
) -> list[SameFace]:
    """kept_copies : sets of copies that the user decided to keep."""
    return [
        SameFace((records[a], records[b]), cosine)
        for a, b, cosine in zip(
            edges.first.tolist(), edges.second.tolist(), edges.similarities.tolist(), strict=True
        )
        if cosine >= SAME_PICTURE_COSINE
        and not kept_copies.within([key_of(records[a]), key_of(records[b])])
    ]


def _same_people(
    owners: Int64,
    encodings: Encodings,
    records: Sequence[FaceRecord],
    wrong_rows: set[int],
    distinct: set[tuple[int, int]],
    scorer: Scorer,
    progress: Callable[[float], None],
) -> list[SamePerson]:
    """wrong_rows : faces left out, where their identity has others.
    distinct : pairs of identities, by id, that are two people.
    """
    is_right = np.array([row not in wrong_rows for row in range(len(owners))], dtype=np.bool_)
    groups = [
        rows[is_right[rows]] if is_right[rows].any() else rows for rows in rows_of_each(owners)
    ]
    point = scorer.operating_point_for(max(1, len(groups)))
    findings = []
    for pair in matching_pairs(encodings, groups, scorer, point, progress):
        deciding = records[pair.deciding[0]], records[pair.deciding[1]]
        identities = deciding[0].identity, deciding[1].identity
        if tuple(sorted(identity.id for identity in identities)) not in distinct:
            findings.append(SamePerson(identities, pair.probability, deciding))
    return findings


def _wrong_identity(finding: WrongName, records: Sequence[FaceRecord]) -> WrongIdentity:
    face, nearest = records[finding.row], records[finding.nearest]
    has_suggestion = finding.suggested is not None
    return WrongIdentity(
        face=face,
        suggested=nearest.identity if has_suggestion else None,
        probability=finding.probability,
        nearest=nearest,
        why=mislabelled_reason(has_suggestion, face.identity.name),
    )
