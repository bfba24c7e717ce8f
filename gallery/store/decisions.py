"""The user's decisions about faces in photos, on pairs and on sets.

A decision on a set ("not all one person", "keep all copies") is stored with one row per face, whose
first key names the set. It says nothing about any two of the faces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import combinations

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import Session

from gallery.batching import batched
from gallery.store.dedupe_tables import FaceDecisionRow
from gallery.store.photo_cache import FaceDecision
from gallery.store.tables import DistinctRow, FaceRow, PhotoRow
from gallery.types import Box

NOT_ONE_PERSON, KEEP_ALL = "not-one ", "keep-all "
"""Prefixes of the names of sets: faces that are not all one person; copies to keep, all of them."""
_SETS = (NOT_ONE_PERSON, KEEP_ALL)
_KEYS_PER_QUERY = 5_000
_TOLERANCE = 2.0
"""How many pixels a face's box may move when its photo is detected again."""

_KEYS = tuple_(FaceDecisionRow.first, FaceDecisionRow.second)

Pair = tuple[str, str]
"""Two face keys, or the name of a set and a face key, in the order they are stored in."""


def face_key(sha256: str, box: Box) -> str:
    """Return the permanent key of a face in a photo: the photo's SHA-256 and the box, rounded."""
    return f"{sha256} {' '.join(str(round(v)) for v in box.as_list())}"


def pair_of(decision: FaceDecision) -> Pair:
    """Return the keys of a decision, in the order they are stored in."""
    return ordered_pair(decision.first, decision.second)


def ordered_pair(first: str, second: str) -> Pair:
    """Return two keys in the order they are stored in: a set's name, or the smaller key, first."""
    if first.startswith(_SETS) or (first < second and not second.startswith(_SETS)):
        return first, second
    return second, first


def not_one_person(keys: Collection[str]) -> list[FaceDecision]:
    """Return the decision that these faces are not one person, on a pair or on a set.

    For fewer than two faces there is none.
    """
    ordered = sorted(set(keys))
    if len(ordered) < 2:
        return []
    if len(ordered) == 2:
        return [FaceDecision(ordered[0], ordered[1], False, "")]
    return _set(NOT_ONE_PERSON, ordered)


def keep_all(keys: Collection[str]) -> list[FaceDecision]:
    """Return the decision to keep all these copies of a photo."""
    return _set(KEEP_ALL, sorted(set(keys)))


def pair_decisions(decisions: Iterable[FaceDecision]) -> list[FaceDecision]:
    """Return the decisions on pairs, without those on sets."""
    return [decision for decision in decisions if not decision.first.startswith(_SETS)]


def _is_pair() -> ColumnElement[bool]:
    """A condition on decisions: on a pair, not on a set."""
    return and_(*(~FaceDecisionRow.first.startswith(prefix) for prefix in _SETS))


class FaceSets:
    """The decisions on sets of one kind. A set with an erased face is ignored."""

    def __init__(self, decisions: Iterable[FaceDecision], kind: str) -> None:
        members: dict[str, list[str]] = {}
        for decision in decisions:
            if decision.first.startswith(kind):
                members.setdefault(decision.first, []).append(decision.second)
        self._by_lowest_key: dict[str, list[tuple[str, frozenset[str]]]] = {}
        for name, keys in members.items():
            if name == _set_name(kind, sorted(keys)):
                self._by_lowest_key.setdefault(min(keys), []).append((name, frozenset(keys)))

    def within(self, keys: Collection[str]) -> list[FaceDecision]:
        """Return the decisions on sets that are subsets of these faces."""
        faces = frozenset(keys)
        return [
            FaceDecision(name, key, False, "")
            for lowest in faces
            for name, members in self._by_lowest_key.get(lowest, ())
            if members <= faces
            for key in sorted(members)
        ]


def all_sets(session: Session, kind: str) -> FaceSets:
    """Return all stored sets of a kind."""
    return FaceSets(_read(session, FaceDecisionRow.first.startswith(kind)), kind)


def among(session: Session, keys: Collection[str]) -> list[FaceDecision]:
    """Return the decisions on two of these faces, in no particular order."""
    faces = set(keys)
    return [
        decision
        for batch in batched(sorted(faces), _KEYS_PER_QUERY)
        for decision in _read(session, FaceDecisionRow.first.in_(batch))
        if decision.second in faces
    ]


def on_pairs(session: Session, pairs: Iterable[Pair]) -> dict[Pair, FaceDecision]:
    """Return the decisions on those of these pairs that have one."""
    return {
        pair_of(decision): decision
        for batch in batched(pairs, _KEYS_PER_QUERY)
        for decision in _read(session, _KEYS.in_(batch))
    }


def save(session: Session, decisions: Sequence[FaceDecision]) -> None:
    """Store decisions, replacing earlier ones on the same pairs."""
    drop(session, [pair_of(decision) for decision in decisions])
    if decisions:
        rows = [
            {"first": first, "second": second, "same": decision.same, "person": decision.group_id}
            for decision in decisions
            for first, second in [pair_of(decision)]
        ]
        session.execute(insert(FaceDecisionRow), rows)


def drop(session: Session, pairs: Iterable[Pair]) -> None:
    """Delete the decisions on these pairs."""
    for batch in batched(pairs, _KEYS_PER_QUERY):
        query = delete(FaceDecisionRow).where(_KEYS.in_(batch))
        session.execute(query.execution_options(synchronize_session=False))
    session.expire_all()


def _set(kind: str, ordered: Sequence[str]) -> list[FaceDecision]:
    name = _set_name(kind, ordered)
    return [FaceDecision(name, key, False, "") for key in ordered]


def _set_name(kind: str, ordered: Sequence[str]) -> str:
    return kind + hashlib.sha256("\n".join(ordered).encode()).hexdigest()[:16]


def _read(session: Session, condition: ColumnElement[bool]) -> Iterator[FaceDecision]:
    row = FaceDecisionRow
    query = select(row.first, row.second, row.same, row.person).where(condition)
    return (FaceDecision(*columns) for columns in session.execute(query))


_LOW: BindParameter[str] = bindparam("low")
_HIGH: BindParameter[str] = bindparam("high")
_REJECTIONS = select(FaceDecisionRow.first, FaceDecisionRow.second).where(
    FaceDecisionRow.same.is_(False),
    _is_pair(),  # any two faces of a set may be one person
    or_(
        FaceDecisionRow.first.between(_LOW, _HIGH),
        FaceDecisionRow.second.between(_LOW, _HIGH),
    ),
)


def rejected_identities(session: Session, sha256: str, box: Box) -> set[int]:
    """Return the ids of identities that the user rejected for the face in this box of this photo.

    The user decided that an enrolled face of theirs and this face are two people.
    """
    # All keys of this photo and no others: "!" is the character after the space.
    low, high = f"{sha256} ", f"{sha256}!"
    rejected: set[int] = set()
    for pair in session.execute(_REJECTIONS, {"low": low, "high": high}):
        for key, other in ((pair[0], pair[1]), (pair[1], pair[0])):
            if key.startswith(low) and _same_place(key, face_key(sha256, box)):
                rejected |= _owners(session, other)
    return rejected


def are_all_distinct(session: Session, identity_ids: Collection[int]) -> bool:
    """Whether the user decided that these identities are all different people."""
    pairs = list(combinations(sorted(identity_ids), 2))
    query = select(func.count()).select_from(DistinctRow)
    is_distinct = (
        session.scalar(query.where(DistinctRow.first_id == a, DistinctRow.second_id == b))
        for a, b in pairs
    )
    return bool(pairs) and all(is_distinct)


def _owners(session: Session, key: str) -> set[int]:
    """Return the ids of the identities that have the enrolled face with this key."""
    sha256 = key.split(" ")[0]
    query = select(FaceRow).join(PhotoRow).where(PhotoRow.sha256 == sha256)
    return {
        row.identity_id
        for row in session.scalars(query)
        if _same_place(key, face_key(sha256, Box(row.left, row.top, row.right, row.bottom)))
    }


def _same_place(key: str, other: str) -> bool:
    boxes = (map(float, k.split(" ")[1:]) for k in (key, other))
    return all(abs(a - b) <= _TOLERANCE for a, b in zip(*boxes, strict=True))
