"""The gallery itself: identities that seem to be one person, and faces enrolled twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit

from gallery.alike import face_graph
from gallery.dedupe.copies import SAME_FACE_COSINE
from gallery.dedupe.grouping import near_groups
from gallery.dedupe.reports import GalleryReport, SameFace, SamePerson
from gallery.judge import Judge
from gallery.store import faces, merging
from gallery.store.database import Database
from gallery.types import Encodings


def dedupe_gallery(
    database: Database,
    judge: Judge,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> GalleryReport:
    """Compare everything enrolled with its nearest; bounded by the encodings' size in memory.

    Two identities that are known to be two people are not named.
    progress : called with what is done and what there is to do; what it raises ends the work.
    """
    with database.reading() as session:
        distinct = merging.all_distinct(session)
        blocks = list(faces.all_encodings(session))
        records = {r.id: r for r in faces.records(session)}
    face_ids = np.concatenate([np.empty(0, np.int64), *(b.face_ids for b in blocks)])
    owners = np.concatenate([np.empty(0, np.int64), *(b.identity_ids for b in blocks)])
    encodings = Encodings.joined([b.encodings for b in blocks])
    people = [np.flatnonzero(owners == owner) for owner in np.unique(owners)]
    count, whole = len(encodings), len(encodings) + len(people)
    edges = face_graph(encodings, lambda done: progress(done, whole))
    same_faces = [
        SameFace((records[face_ids[a]], records[face_ids[b]]), cosine)
        for a, b, cosine in zip(
            edges.first.tolist(), edges.second.tolist(), edges.similarities.tolist(), strict=True
        )
        if cosine >= SAME_FACE_COSINE
    ]
    point = judge.point_of(len(encodings))
    same_people: list[SamePerson] = []
    pairs = near_groups(
        encodings,
        people,
        judge,
        point,
        lambda share: progress(count + round(share * len(people)), whole),
    )
    for (i, j), mean in pairs.items():
        cosines = encodings.vectors[people[i]] @ encodings.vectors[people[j]].T
        a, b = np.unravel_index(int(cosines.argmax()), cosines.shape)
        deciding = (
            records[int(face_ids[people[i][a]])],
            records[int(face_ids[people[j][b]])],
        )
        names = (deciding[0].identity, deciding[1].identity)
        if tuple(sorted(ref.id for ref in names)) not in distinct:
            same_people.append(SamePerson(names, float(expit(mean)), deciding))
    return GalleryReport(
        identities=len(np.unique(owners)),
        faces=len(encodings),
        same_people=tuple(sorted(same_people, key=lambda s: -s.probability)),
        same_faces=tuple(sorted(same_faces, key=lambda s: -s.similarity)),
    )
