"""The gallery itself: identities that are one person, photos under the wrong name, faces enrolled
twice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gallery.dedupe.clustering.merge import near_groups
from gallery.dedupe.findings import GalleryFindings, SameFace, SamePerson, WrongIdentity
from gallery.dedupe.folder import closest
from gallery.dedupe.mislabelled import said, wrong_names
from gallery.matching.lookalikes import SAME_PICTURE_COSINE, near_faces
from gallery.matching.scorer import Scorer
from gallery.store import corrections, decisions, faces, merges, plans
from gallery.store.database import Database
from gallery.store.decisions import face_key
from gallery.store.records import FaceRecord
from gallery.types import Encodings


def dedupe_gallery(
    database: Database,
    judge: Scorer,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> GalleryFindings:
    """Compare everything enrolled with its nearest; bounded by the encodings' size in memory.

    Two identities that are known to be two people are not named, nor faces known to be right.
    progress : called with what is done and what there is to do; what it raises ends the work.
    """
    with database.reading() as session:
        distinct = merges.all_distinct(session)
        right = corrections.known_right(session)
        all_kept = decisions.sets(session, decisions.KEEP_ALL)
        state = plans.state_of(session)
        blocks = list(faces.all_encodings(session))
        records = {r.id: r for r in faces.records(session)}
    face_ids = np.concatenate([np.empty(0, np.int64), *(b.face_ids for b in blocks)])
    owners = np.concatenate([np.empty(0, np.int64), *(b.identity_ids for b in blocks)])
    encodings = Encodings.joined([b.encodings for b in blocks])
    everyone = np.unique(owners)
    count, whole = len(encodings), len(encodings) + 2 * len(everyone)
    point = judge.point()
    edges = near_faces(encodings, judge, point, progress=lambda done: progress(done, whole))
    same_faces = [
        SameFace((records[face_ids[a]], records[face_ids[b]]), cosine)
        for a, b, cosine in zip(
            edges.first.tolist(), edges.second.tolist(), edges.similarities.tolist(), strict=True
        )
        if cosine >= SAME_PICTURE_COSINE
        and not all_kept.within([_key(records[face_ids[a]]), _key(records[face_ids[b]])])
    ]
    wrong = [
        WrongIdentity(
            face=records[int(face_ids[one.row])],
            suggested=None
            if one.suggested is None
            else records[int(face_ids[one.nearest])].identity,
            probability=one.probability,
            nearest=records[int(face_ids[one.nearest])],
            why=said(one.suggested is not None, records[int(face_ids[one.row])].identity.name),
        )
        for one in wrong_names(owners, encodings, judge, point)
        if (int(face_ids[one.row]), one.owner) not in right
    ]
    progress(count + len(everyone), whole)
    out = {one.face.id for one in wrong}
    order = np.argsort(owners, kind="stable")
    people = [
        kept if len(kept := rows[[int(face_ids[row]) not in out for row in rows]]) else rows
        for rows in np.split(order, np.searchsorted(owners[order], everyone)[1:])
    ]
    strict = judge.point_of(max(1, len(everyone)))
    pairs = near_groups(
        encodings,
        people,
        judge,
        strict,
        lambda share: progress(count + round((1 + share) * len(people)), whole),
    )
    same_people: list[SamePerson] = []
    for (i, j), score in pairs.items():
        a, b = closest(encodings, people[i], people[j])
        deciding = records[int(face_ids[a])], records[int(face_ids[b])]
        names = (deciding[0].identity, deciding[1].identity)
        if tuple(sorted(ref.id for ref in names)) not in distinct:
            margin = np.array([score + strict.bias], dtype=np.float32)
            same_people.append(SamePerson(names, float(strict.probabilities(margin)[0]), deciding))
    return GalleryFindings(
        identities=len(everyone),
        faces=len(encodings),
        same_people=tuple(sorted(same_people, key=lambda s: -s.probability)),
        same_faces=tuple(sorted(same_faces, key=lambda s: -s.similarity)),
        misfiled=tuple(wrong),
        state=state,
    )


def _key(record: FaceRecord) -> str:
    return face_key(record.photo_sha256, record.box)
