"""Decisions about faces of photos, many at once: what is kept, what stood before, and what is said
of a whole group as a set rather than as all its pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import combinations, islice
from typing import TypeVar

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, tuple_
from sqlalchemy.orm import Session

from gallery.store.photo_cache import FaceDecision
from gallery.store.tables import DistinctRow, FaceDecisionRow, FaceRow, PhotoRow
from gallery.types import Box

NOT_ONE, KEEP_ALL = "not-one ", "keep-all "
"""What the first of a set's decisions begins with, where a pair has a face's key: these faces are
not one person; these are copies and all of them are kept.
"""
_SETS = (NOT_ONE, KEEP_ALL)
_AT_ONCE = 5_000

_BOTH = tuple_(FaceDecisionRow.first, FaceDecisionRow.second)

Pair = tuple[str, str]
_Thing = TypeVar("_Thing")


def pair_of(one: FaceDecision) -> Pair:
    """As it is stored: the smaller key first, and a set's name before its face."""
    return name_pair(one.first, one.second)


def name_pair(first: str, second: str) -> Pair:
    """The same of two keys."""
    if first.startswith(_SETS) or (first < second and not second.startswith(_SETS)):
        return first, second
    return second, first


def not_one(keys: Collection[str]) -> list[FaceDecision]:
    """That these faces are not one person: a pair, or a set, which says nothing of any two."""
    ordered = sorted(set(keys))
    if len(ordered) < 2:
        return []
    if len(ordered) == 2:
        return [FaceDecision(ordered[0], ordered[1], False, "")]
    return _set(NOT_ONE, ordered)


def keep_all(keys: Collection[str]) -> list[FaceDecision]:
    """That these copies of one picture are all kept."""
    return _set(KEEP_ALL, sorted(set(keys)))


def pairs_in(decisions: Iterable[FaceDecision]) -> list[FaceDecision]:
    """Those on two faces."""
    return [one for one in decisions if not one.first.startswith(_SETS)]


def on_faces() -> ColumnElement[bool]:
    """The same as a condition."""
    return and_(*(~FaceDecisionRow.first.startswith(prefix) for prefix in _SETS))


class Sets:
    """Sets of one kind. One of which a face was erased is none any more."""

    def __init__(self, decisions: Iterable[FaceDecision], kind: str) -> None:
        inside: dict[str, list[str]] = {}
        for one in decisions:
            if one.first.startswith(kind):
                inside.setdefault(one.first, []).append(one.second)
        self._of: dict[str, list[tuple[str, frozenset[str]]]] = {}
        for name, keys in inside.items():
            if name == _set_name(kind, sorted(keys)):
                self._of.setdefault(min(keys), []).append((name, frozenset(keys)))

    def within(self, keys: Collection[str]) -> list[FaceDecision]:
        """The decisions of the sets that lie whole among these faces."""
        there = frozenset(keys)
        return [
            FaceDecision(name, key, False, "")
            for low in there
            for name, whole in self._of.get(low, ())
            if whole <= there
            for key in sorted(whole)
        ]


def sets(session: Session, kind: str) -> Sets:
    """All of a kind that are kept."""
    return Sets(_read(session, FaceDecisionRow.first.startswith(kind)), kind)


def among(session: Session, keys: Collection[str]) -> list[FaceDecision]:
    """What was decided on two faces that are both of these, in no order."""
    there = set(keys)
    return [
        one
        for some in _batches(sorted(there))
        for one in _read(session, FaceDecisionRow.first.in_(some))
        if one.second in there
    ]


def now(session: Session, pairs: Iterable[Pair]) -> dict[Pair, FaceDecision]:
    """What is decided on these pairs; one that is not is left out."""
    return {
        pair_of(one): one for some in _batches(pairs) for one in _read(session, _BOTH.in_(some))
    }


def put(session: Session, decisions: Sequence[FaceDecision]) -> None:
    """Keep decisions, over what stood before."""
    drop(session, [pair_of(one) for one in decisions])
    if decisions:
        rows = [
            {"first": first, "second": second, "same": one.same, "person": one.person}
            for one in decisions
            for first, second in [pair_of(one)]
        ]
        session.execute(insert(FaceDecisionRow), rows)


def drop(session: Session, pairs: Iterable[Pair]) -> None:
    """Forget decisions."""
    for some in _batches(pairs):
        query = delete(FaceDecisionRow).where(_BOTH.in_(some))
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
    return (FaceDecision(*found) for found in session.execute(query))


def _batches(things: Iterable[_Thing]) -> Iterator[list[_Thing]]:
    remaining = iter(things)
    while some := list(islice(remaining, _AT_ONCE)):
        yield some


_STRAY = 2.0
"""Pixels that one face's box may be moved by when a photo is looked at again."""


def face_key(sha256: str, box: Box) -> str:
    """What names a face of a photo for ever: the photo's hash and the box in whole pixels."""
    return f"{sha256} {' '.join(str(round(v)) for v in box.as_list())}"


def not_of(session: Session, sha256: str, box: Box) -> set[int]:
    """The identities, by id, of which the user said that a face of theirs is someone else than the
    face in this box of this photo.
    """
    # All keys of the photo and no others: what comes after a blank is an exclamation mark.
    low, high = f"{sha256} ", f"{sha256}!"
    first, second = FaceDecisionRow.first, FaceDecisionRow.second
    query = select(first, second).where(
        FaceDecisionRow.same.is_(False),
        on_faces(),  # of a set that is not one person any two may be
        or_(first.between(low, high), second.between(low, high)),
    )
    found: set[int] = set()
    for pair in session.execute(query):
        for mine, other in ((pair[0], pair[1]), (pair[1], pair[0])):
            if mine.startswith(low) and _one_place(mine, face_key(sha256, box)):
                found |= _owners(session, other)
    return found


def are_two(session: Session, identity_ids: Collection[int]) -> bool:
    """Whether the user said of every two of these that they are two people."""
    pairs = list(combinations(sorted(identity_ids), 2))
    query = select(func.count()).select_from(DistinctRow)
    known = (
        session.scalar(query.where(DistinctRow.first_id == a, DistinctRow.second_id == b))
        for a, b in pairs
    )
    return bool(pairs) and all(known)


def _owners(session: Session, key: str) -> set[int]:
    """Whose enrolled face has this key."""
    query = select(FaceRow).join(PhotoRow).where(PhotoRow.sha256 == key.split(" ")[0])
    return {
        row.identity_id
        for row in session.scalars(query)
        if _one_place(
            key, face_key(key.split(" ")[0], Box(row.left, row.top, row.right, row.bottom))
        )
    }


def _one_place(key: str, other: str) -> bool:
    places = (map(float, k.split(" ")[1:]) for k in (key, other))
    return all(abs(a - b) <= _STRAY for a, b in zip(*places, strict=True))
