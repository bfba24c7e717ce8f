"""Faces of a folder that are one person: clusters as findings, and the user's earlier decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from gallery.dedupe.clustering.cluster import Cluster
from gallery.dedupe.clustering.constraints import Constraints
from gallery.dedupe.findings import Person
from gallery.dedupe.scan import FolderScan
from gallery.store import photo_cache
from gallery.store.database import Database
from gallery.store.decisions import NOT_ONE_PERSON, FaceSets, pair_decisions

_ID_LENGTH = 16


@dataclass(frozen=True)
class UserDecisions:
    """What the user decided about the faces of a scan.

    constraints : decided pairs, as rows.  confirmed : each confirmed face's group id, by face key.
    not_one_person : sets of faces that are not one person.
    """

    constraints: Constraints
    confirmed: dict[str, str]
    not_one_person: FaceSets

    @classmethod
    def on(cls, scan: FolderScan, database: Database) -> UserDecisions:
        with database.reading() as session:
            decisions = photo_cache.all_decisions(session)
        pairs = pair_decisions(decisions)
        rows_of = _rows_by_key(scan, {key for pair in pairs for key in (pair.first, pair.second)})
        apart: set[tuple[int, int]] = set()
        confirmed: dict[str, str] = {}
        for pair in pairs:
            if pair.same:
                confirmed[pair.first] = confirmed[pair.second] = pair.group_id
            else:
                rows = product(rows_of.get(pair.first, ()), rows_of.get(pair.second, ()))
                apart |= {(min(a, b), max(a, b)) for a, b in rows if a != b}
        # The faces of a group are chained here, even if the face that links them has no photo here.
        members: dict[str, list[int]] = {}
        for key, person in confirmed.items():
            members.setdefault(person, []).extend(rows_of.get(key, ()))
        together = {pair for rows in members.values() for pair in pairwise(sorted(rows))}
        constraints = Constraints(scan.owners, frozenset(apart), frozenset(together))
        return cls(constraints, confirmed, FaceSets(decisions, NOT_ONE_PERSON))


def _rows_by_key(scan: FolderScan, keys: Collection[str]) -> dict[str, list[int]]:
    """The rows of the faces with these keys; several, where the same file is there twice."""
    hashes = {key.split(" ", 1)[0] for key in keys}
    rows_of: dict[str, list[int]] = {}
    for row, photo in enumerate(scan.owners.tolist()):
        if scan.photos[photo].sha256 in hashes:
            rows_of.setdefault(scan.face(row).key, []).append(row)
    return rows_of


def people_findings(
    clusters: Sequence[Cluster], scan: FolderScan, decisions: UserDecisions
) -> tuple[Person, ...]:
    """The clusters that the user has not rejected.

    Ids are stable when photos are added. A cluster with confirmed faces has their group's id; it
    is confirmed when all of its faces are.
    """
    confirmed = decisions.confirmed
    reserved = set(confirmed.values())
    people: dict[str, Person] = {}
    for cluster in clusters:
        faces = tuple(scan.face(row) for row in cluster.rows)
        keys = [face.key for face in faces]
        groups = sorted(confirmed[key] for key in keys if key in confirmed)
        person_id = max(groups, key=groups.count) if groups else _unused_id(keys, reserved)
        if person_id in people:  # the group's faces are in two clusters, after a later decision
            person_id = _unused_id(keys, reserved | people.keys())
        people[person_id] = Person(
            id=person_id,
            faces=faces,
            probability=cluster.probability,
            deciding=(scan.face(cluster.deciding[0]), scan.face(cluster.deciding[1])),
            why=cluster.why,
            confirmed=len(groups) == len(faces) and len(set(groups)) == 1,
        )
    return tuple(
        person
        for person in people.values()
        if not decisions.not_one_person.within([face.key for face in person.faces])
    )


def _unused_id(keys: Sequence[str], used: Collection[str]) -> str:
    """An id derived from one of the faces, so that it is the same in the next scan."""
    ids = (hashlib.sha256(key.encode()).hexdigest()[:_ID_LENGTH] for key in sorted(keys))
    return next(person_id for person_id in ids if person_id not in used)
